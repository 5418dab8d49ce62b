"""The wire: everything that leaves this machine for a FHIR server, and nothing else.

    connection.py    the facts of a connection, TLS and proxy, and the three simplest ways to sign in
    oauth.py         SMART Backend Services: a signed assertion or a secret for an access token
    scopes.py        SMART scopes, of version 2 or 1: what is granted, and what that covers
    exchange.py      one request to an authorization server, bounded
    gate.py          the one gate: no request goes to an address that it did not admit
    manners.py       the site's pace, and leaving a site alone that fails
    carrier.py       one pool of connections, by aiohttp or by httpx; the limit of bytes
    client.py        BhiClient: all of these, retries, deadlines, errors as errors.ServerError
    outcome.py       OperationOutcome -> codes and sentences without patient data
    reading.py       search with paging, read, find_by_identifier
    shared.py        answers that several wait for, asked for once
    writing.py       create and update, each once; transactions, answer by answer
    capabilities.py  /metadata

Reading keeps the raw bytes of every resource: `views` parses them once. What could not be read is said in
`SearchResult.withheld`; a search is never believed to be whole when it is not.

Why fhirpy's own transport is not used (2.3.1, measured): it opens a new aiohttp session for each request,
retries nothing, hides Retry-After, drops the OperationOutcome entries in which Epic reports break-the-glass,
and sends the bearer token to any host whose URL merely contains the base URL. fhirpy stays the query builder:
`client.resources("Encounter").search(patient="x", date__ge="2026-03-01").params` is what `search` takes, and
what else fhirpy does goes through the gate and the pool of `BhiClient`.

Why fhirpy's get_or_create is never used for a charge: it posts `Type?params` without If-None-Exist, which is
no conditional create, so two runs make two charges. `transact` with `request.ifNoneExist` makes one.
"""
