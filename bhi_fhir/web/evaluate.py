"""`$evaluate-bhi`: a record that was sent, or one of the site's server; a Bundle of drafts or the decision as JSON."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from bhi_fhir.domain.value import replace
from bhi_fhir.jobs.bundle import bundle
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.evaluate import Evaluation, Result
from bhi_fhir.jobs.one_patient import decide_patient
from bhi_fhir.web import asked, documents, metrics, service
from bhi_fhir.web.callers import WHOLE_RECORD, Caller, may
from bhi_fhir.web.media import sent_json, wanted
from bhi_fhir.web.problems import FHIR, JSON, Issue, Problem, bad

router = APIRouter(prefix="/fhir", tags=["evaluate"])

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")


@router.post(
    "/$evaluate-bhi",
    summary="Decide the record that is sent",
    response_class=Response,
    responses=documents.ANSWERS,
    openapi_extra=documents.body(documents.WHOLE, required=True),
)
async def evaluate(request: Request, _caller: Annotated[Caller, Depends(may("system/Patient.r"))]) -> Response:
    sent_json(request)
    kind = wanted(request, FHIR, JSON)
    shared = service.of(request)
    body = await request.body()
    month = request.query_params.get("month")
    return Response(await shared.pool.run(_stateless, shared, body, month, kind), media_type=kind)


@router.post(
    "/Patient/{patient}/$evaluate-bhi",
    summary="Decide a patient of the site's server",
    response_class=Response,
    responses=documents.ANSWERS | documents.SERVER_ANSWERS,
    openapi_extra=documents.body(documents.MONTH_ONLY, required=False),
)
async def evaluate_patient(
    request: Request, patient: str, caller: Annotated[Caller, Depends(may(*WHOLE_RECORD))]
) -> Response:
    kind = wanted(request, FHIR, JSON)
    shared = service.of(request)
    body = await request.body()
    if body:
        sent_json(request)
    if not _ID.fullmatch(patient):
        raise bad("value", "That is no FHIR id.")
    desk = shared.desk_for(
        asked.read(body, request.query_params.get("month"), shared.site.serve.max_entries, whole=False).month
    )
    office = await shared.office_for(desk)
    with office.heard_for(f"Patient/{patient}", caller.person) as audit:
        try:
            done = await decide_patient(office, f"Patient/{patient}", shared.pool.run)
        finally:
            await office.to_thread(audit.commit)  # nothing is shown that is not written down
    _somebody(done, "Bundle")
    return Response(await shared.pool.run(_shown, done, kind, shared.today()), media_type=kind)


def _stateless(shared: service.Service, body: bytes, month: str | None, kind: str) -> bytes:
    found = asked.read(body, month, shared.site.serve.max_entries, whole=True)
    done = _decide(shared.desk_for(found.month), found)
    _somebody(done, found.at)
    return _shown(done, kind, shared.today())


def _decide(desk: Desk, found: asked.Asked) -> Evaluation:
    decided = desk.decide(found.sources)
    results = sorted((Result(asked.RECORD, *each) for each in decided.decisions), key=lambda r: r.decision.patient)
    return Evaluation(desk, tuple(results), tuple(replace(s, file=asked.RECORD) for s in decided.set_aside))


def _shown(done: Evaluation, kind: str, today: date) -> bytes:
    metrics.decided(len(done.results), len(done.set_aside))
    return done.json() if kind == JSON else bundle(done, today)


def _somebody(done: Evaluation, at: str) -> None:
    """422 where there is nobody to decide about: what was set aside says why."""
    if done.results:
        return
    issues = [Issue("invalid", each.reason, (f"{at}.{each.at}" if each.at else at,)) for each in done.set_aside]
    raise Problem(422, *(issues[:_MOST_ISSUES] or [Issue("required", "The record holds no patient.", (at,))]))


_MOST_ISSUES = 100
