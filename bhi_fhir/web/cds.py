"""CDS Hooks 2.0, `patient-view`: the month of the patient whose chart is opened, as the last sync left it.

Nothing is read from the FHIR server: a chart that opens waits half a second at most. What is not known is said: a
patient of the roster whose month is undecided gets a card that says so, a month without any sync is 412, and for
a patient who is in no BHI program there is no card.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from bhi_fhir.audit import AuditLog, Person
from bhi_fhir.errors import ServerError, SiteError
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import audit_of
from bhi_fhir.views.common import UNREADABLE
from bhi_fhir.web import cds_cards, documents, logs, service
from bhi_fhir.web.callers import TOO_OFTEN
from bhi_fhir.web.cds_call import CdsCall, CdsFeedback
from bhi_fhir.web.cds_callers import CdsCallers
from bhi_fhir.web.kept import Kept, LastSync
from bhi_fhir.web.media import sent_json
from bhi_fhir.web.problems import Issue, Problem, bad
from bhi_fhir.web.session import Sessions
from bhi_fhir.web.tokens import Refusal

router = APIRouter(tags=["CDS Hooks"])

ID = "bhi-month"
_BASE = "/cds-services"
_T = TypeVar("_T")
DEADLINE_S = 0.4
"""CDS Hooks: "on the order of 500 ms"; the rest is the network's."""


@dataclass
class Cds:
    """The CDS service of a site."""

    callers: CdsCallers
    last: LastSync
    log: AuditLog

    @classmethod
    def of(cls, desk: Desk, sessions: Sessions, last: LastSync) -> Cds | None:
        """None where the site has no clients. SiteError for anything wrong."""
        site = desk.site
        if not site.cds.clients:
            return None
        if not site.serve.public_url:
            raise SiteError("serve.public_url is missing: the address that EHRs call, which their tokens name (aud)")
        return cls(CdsCallers(site.cds, sessions), last, audit_of(desk))


def of(request: Request) -> Cds:
    found = getattr(request.app.state, "cds", None)
    if found is None:
        raise bad("not-found", "This site has no CDS clients: give [[cds.clients]] in site.toml.", status=404)
    return cast(Cds, found)


@router.get(_BASE, summary="What there is", responses=documents.CDS_SERVICES)
async def services(request: Request) -> dict[str, Any]:
    of(request)
    described = {
        "hook": "patient-view",
        "id": ID,
        "title": "Behavioral health integration: the month",
        "description": "How many minutes count this month, what the next code lacks and what is not documented.",
        "usageRequirements": "Answers from the service's last sync of the site's own FHIR server.",
    }
    return {"services": [described]}


@router.post(
    f"{_BASE}/{ID}",
    summary="The card of the patient whose chart is opened",
    response_class=Response,
    responses=documents.CDS_CARDS,
    openapi_extra=documents.cds_body("CdsCall", documents.CDS_CALL),
)
async def patient_view(request: Request) -> Response:
    found, shared = of(request), service.of(request)
    until = asyncio.get_running_loop().time() + DEADLINE_S
    try:
        async with asyncio.timeout_at(until):
            claims = await _caller(found, request)
    except TimeoutError:
        raise _no_keys() from None
    sent_json(request)
    call = _read(await request.body(), CdsCall)
    if call.hook != "patient-view":
        raise bad("not-supported", "This service is for the hook patient-view.")
    site = shared.site
    ours = {each.rstrip("/") for each in (site.fhir.base_url, *site.fhir.aliases, *site.smart.iss)}
    if call.fhir_server and call.fhir_server.rstrip("/") not in ours:
        raise bad("conflict", "The chart is of another FHIR server than this site's.", status=412)
    desk = shared.desk_for(f"{shared.today():%Y-%m}")
    board = cds_cards.Board(
        month=str(desk.month),
        last_day=desk.month.last_day,
        today=shared.today(),
        zone=site.zone,
        launch=f"{site.serve.public_url.rstrip('/')}/launch" if site.smart.client_id else "",
        label=f"bhi-fhir, {site.name}",
    )
    patient = f"Patient/{call.context.patient_id.removeprefix('Patient/')}"
    person = Person(
        call.context.user_id[:200] or claims["iss"], call.context.user_id[:200], claims["iss"], claims["jti"][:200]
    )
    try:
        async with asyncio.timeout_at(until):
            cards = await asyncio.to_thread(_cards, found, patient, board, person)
    except TimeoutError:
        cards = [cds_cards.unknown(board, "The answer would have come too late to wait for it.")]
    return JSONResponse({"cards": cards})


def _cards(found: Cds, patient: str, board: cds_cards.Board, person: Person) -> list[dict[str, Any]]:
    """At most one. What is shown is in the audit first."""
    kept: Kept | None = found.last.one(found.last.key(patient), board.month)
    if kept is None:
        if not found.last.has_run(board.month):
            raise bad("incomplete", f"No sync of {board.month} has run yet.", status=412)
        return []
    found.log.patient(patient, person).viewed(person, f"{_BASE}/{ID} {board.month}")
    return [cds_cards.card(board, kept)]


@router.post(
    f"{_BASE}/{ID}/feedback",
    summary="What became of cards",
    response_class=Response,
    responses=documents.CDS_FEEDBACK,
    openapi_extra=documents.cds_body("CdsFeedback", documents.CDS_SAID),
)
async def feedback(request: Request) -> Response:
    """What became of cards: counted in the log, by outcome only."""
    await _caller(of(request), request)
    sent_json(request)
    sent = _read(await request.body(), CdsFeedback).feedback
    accepted = sum(each.outcome == "accepted" for each in sent)
    logs.event("cds feedback", because=f"{accepted} accepted, {len(sent) - accepted} overridden")
    return Response(status_code=200)


async def _caller(found: Cds, request: Request) -> dict[str, Any]:
    """Problem 401 for a token that does not count here."""
    site = service.of(request).site
    endpoint = f"{site.serve.public_url.rstrip('/')}{request.scope['path']}"
    try:
        claims = await found.callers.claims(request.headers.get("authorization", ""), endpoint)
    except Refusal as refusal:
        issue = Issue("login", f"The client's token is refused: {refusal}.")
        raise Problem(401, issue, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'}) from None
    except ServerError:
        raise _no_keys() from None
    request.state.caller = "cds client"
    await request.app.state.callers.rates.admit(f"EHR {claims['iss']}", TOO_OFTEN)
    return claims


def _no_keys() -> Problem:
    issue = Issue("transient", "The keys of the client cannot be had at the moment.")
    return Problem(503, issue, headers={"Retry-After": "30"})


def _read(body: bytes, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(body, type=kind)
    except UNREADABLE:
        raise bad("structure", "The body is not what CDS Hooks says.") from None
