"""The HTTP service: contract section 6.

    serve.py         may it start here, and under uvicorn with one worker or many
    app.py           the app: its routers, and what stands around them
    service.py       what requests share: the site's desks, its server and ledger, the pool
    door.py          around every request: size and time limit, security headers; logs.py, metrics.py: what is noted
    callers.py       who calls, and what they may (SMART v2 system scopes); tokens.py: bearer tokens and public keys
    rates.py         how often, of all workers together
    problems.py      errors as statuses, OperationOutcomes and pages
    pool.py          Python work beside the event loop
    media.py         content types; asked.py: what an evaluation is asked with
    evaluate.py conformance.py operations.py     the routers; documents.py: what OpenAPI says of them
    oauth_client.py  this service as a client of an authorization server; session.py: who is signed in
    signing_in.py    a sign-in on its way, and out; cookies.py: in which browser; forms.py: our own pages' forms
    launch.py        SMART App Launch; granted.py: what its scopes allow; signed_in.py: work with the person's token
    page.py          /patient; caseload.py: /caseload by kept.py (the last sync); acting.py: what both do
    cds.py           CDS Hooks; cds_call.py: what is sent; cds_callers.py: whose; cds_cards.py: what it says
    pages/           what the pages show, templates and styles; visitors.py: what these open once

A new router is one module with `router = APIRouter(...)` and one name in `app.ROUTERS`. It takes what it needs from
`service.of(request)`, says who may call with `Depends(callers.may("system/Patient.r"))`, and raises `Problem`.
"""
