"""`/patient`: the clinician's page, one patient's month from the EHR with the clinician's own token.

The address names the launch and never a patient: whose page it is stands in the session alone. What writes is a form
of two steps, shows name and birth date on both, and is refused if the patient or the month's outcome is not the one
that was shown.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from bhi_fhir.delivery.settle import release
from bhi_fhir.domain.record import Attestation
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.attesting import basis
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.month_work import MonthWork, PatientMonth
from bhi_fhir.jobs.one_patient import decide_patient
from bhi_fhir.jobs.patient_record import ServerRecord
from bhi_fhir.jobs.telling import label
from bhi_fhir.web import asked, launch, service
from bhi_fhir.web.granted import Granted
from bhi_fhir.web.launch import Launches, read_form, same_origin
from bhi_fhir.web.pages import month as months
from bhi_fhir.web.pages import style
from bhi_fhir.web.pages.course import ticks
from bhi_fhir.web.pages.shown import PageRoute, frames, page, told
from bhi_fhir.web.people import Patient
from bhi_fhir.web.session import Session
from bhi_fhir.web.signed_in import PersonsOffice, office_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_BACK = 12
"""So many months back can be looked at: so long does Medicare take a claim."""
_LONGEST = 500


@dataclass(frozen=True)
class Place:
    """Where a request stands: the launch and the month."""

    shared: service.Service
    launches: Launches
    session: Session
    desk: Desk

    @property
    def patient(self) -> str:
        return str(self.session.data["patient"])

    @property
    def month(self) -> str:
        return str(self.desk.month)

    def address(self, path: str, **more: str) -> str:
        query = "".join(f"&{name}={value}" for name, value in more.items())
        return f"{path}?at={self.session.name}&month={self.month}{query}"


async def _place(request: Request, given: Any) -> Place:
    """Told with 401 for a launch that this browser does not have."""
    launches, shared = launch.of(request), service.of(request)
    found = await launches.find(request, given.get("at", ""))
    if found is None:
        raise told(
            401, "Nobody is signed in here", "The page was closed, or not used for a while. Open it again from the EHR."
        )
    now = ServiceMonth.parse(f"{shared.today():%Y-%m}", shared.site.zone)
    wanted = asked.month(given.get("month") or str(now))
    if not str(now.shifted(-_BACK)) <= wanted <= str(now):
        raise told(400, "This month is not shown", "Choose this month or one of the twelve before it.")
    return Place(shared, launches, found, shared.desk_for(wanted))


@router.get("/patient")
async def patient(request: Request) -> Response:
    place = await _place(request, request.query_params)
    async with office_of(place.shared, place.launches, place.session, place.desk) as office:
        with office.heard_for(place.patient) as audit:
            try:
                done = await decide_patient(office, place.patient, place.shared.pool.run)
                lines = await office.to_thread(office.ledger.lines, place.patient, place.month)
            finally:
                await office.to_thread(audit.viewed, office.person, f"/patient {place.month}")
        who = _who(office, place)
        context = {
            **_context(place, who, office),
            "title": "Behavioral health integration",
            "shown": months.shown(done, place.shared.today(), office.reader.names),
            "set_aside": len(done.set_aside),
            "drafts": months.drafts(lines),
            "ticks": ticks,
            "write": _why_not(place, office, who),
            "may_prepare": not _too_early(place),
            "missing_scopes": Granted.read(place.session.data["scope"]).unread(office.reader.types()),
        }
    return page("patient.html", context, frames=frames(request))


def _who(office: PersonsOffice, place: Place) -> Patient:
    found = office.reader.names.patient
    if found.reference != place.patient:
        raise told(409, "This is another patient", "The server gave somebody else's record. Nothing is shown.")
    return found


def _context(place: Place, who: Patient, office: PersonsOffice) -> dict[str, Any]:
    now = ServiceMonth.parse(f"{place.shared.today():%Y-%m}", place.shared.site.zone)
    before, after = place.desk.month.shifted(-1), place.desk.month.shifted(1)
    return {
        "place": place,
        "who": who,
        "banner_full": place.session.data["banner"],
        "person": office.person.name if office.is_named else "",
        "site": place.shared.site.name,
        "style": f"/patient/style.css?at={place.session.name}" if place.session.data["style"] else "",
        "csrf": place.session.data["csrf"],
        "before": str(before) if before.index >= now.index - _BACK else "",
        "after": str(after) if after.index <= now.index else "",
        "month_name": f"{place.desk.month.first_day:%B %Y}",
    }


def _why_not(place: Place, office: PersonsOffice, who: Patient) -> str:
    """Why nothing can be written from here; "" if it can."""
    if not office.is_named:
        return "The EHR did not say who you are, so nothing can be written under your name."
    if not Granted.read(place.session.data["scope"]).may_write:
        return "The EHR did not grant this launch to write charges. Drafts are prepared by the nightly run."
    if not who.is_told_apart:
        return "The record has no name or no birth date, so nothing is written from here."
    return ""


@router.get("/patient/style.css")
async def style_sheet(request: Request) -> Response:
    found = await launch.of(request).find(request, request.query_params.get("at", ""))
    return Response(style.sheet(found.data["style"]) if found else "", media_type="text/css")


@router.get("/pages/page.css")
async def page_css() -> Response:
    return Response(style.own(), media_type="text/css", headers={"cache-control": "max-age=600"})


# -- preparing drafts --------------------------------------------------------------------------------


class _OneMonth(MonthWork):
    """A month of one patient without the bookkeeping of a run: what the page writes, no sync resumes."""

    async def of(self, record: ServerRecord) -> PatientMonth:
        return await self._month(self.office.desk, record)


@router.get("/patient/prepare")
async def prepare(request: Request) -> Response:
    place = await _place(request, request.query_params)
    return await _prepare(request, place, None)


@router.post("/patient/prepare")
async def prepare_confirmed(request: Request) -> Response:
    place, form = await _written(request)
    return await _prepare(request, place, form)


async def _prepare(request: Request, place: Place, form: dict[str, str] | None) -> Response:
    async with office_of(place.shared, place.launches, place.session, place.desk) as office:
        with office.heard_for(place.patient) as audit:
            record = await office.reader.read(place.patient)
            who = _who(office, place)
            _may(place, office, who)
            foreseen = await _OneMonth(office, "", (), write=False).of(record)
            if form is not None:
                _same(form, who, _mark(foreseen))
                foreseen = await _OneMonth(office, "", (), write=True).of(record)
            await office.to_thread(audit.viewed, office.person, f"/patient/prepare {place.month}")
        context = {
            **_context(place, who, office),
            "title": "Drafts are prepared" if form is not None else "Prepare drafts",
            "done": form is not None,
            "outcomes": [d for d in foreseen.delivered if d.resource_type == "ChargeItem"],
            "others": [d for d in foreseen.delivered if d.resource_type != "ChargeItem" and d.reason],
            "failed": foreseen.failed,
            "mark": _mark(foreseen),
        }
    return page("prepare.html", context, frames=frames(request))


def _mark(month: PatientMonth) -> str:
    """A digest of what would be done, so that what is confirmed is what was shown."""
    lines = month.decision.lines if month.decision else ()
    said = (month.patient, month.month, lines, [(d.identifier, d.outcome) for d in month.delivered])
    return hashlib.sha256(repr(said).encode()).hexdigest()


def _may(place: Place, office: PersonsOffice, who: Patient) -> None:
    if why := _why_not(place, office, who):
        raise told(403, "Nothing can be written here", why)
    if _too_early(place):
        raise told(403, "This month has not ended", f"Drafts are prepared once {place.month} is over.")


def _too_early(place: Place) -> bool:
    """As for a sync with --write."""
    return place.shared.now() < place.desk.month.span[1] and not place.desk.site.delivery.write_open_month


async def _written(request: Request) -> tuple[Place, dict[str, str]]:
    """A form that writes: of this browser, this page and this launch."""
    form = await read_form(request)
    place = await _place(request, form)
    same_origin(request, place.session, form)
    if form.get("patient") != place.patient:
        raise told(409, "This is another patient", "The form was for somebody else. Nothing was done.")
    return place, form


def _same(form: dict[str, str], who: Patient, mark: str) -> None:
    if (form.get("name"), form.get("born")) != (who.name, who.born):
        raise told(
            409, "This is another patient", "Name or birth date is not the one that was shown. Nothing was done."
        )
    if form.get("mark") != mark:
        raise told(
            409, "The record has changed", "What would be done is not what was shown. Nothing was done: look again."
        )


# -- approving ---------------------------------------------------------------------------------------


@router.get("/patient/approve")
async def approve(request: Request) -> Response:
    return await _approve(request, await _place(request, request.query_params), None)


@router.post("/patient/approve")
async def approve_confirmed(request: Request) -> Response:
    place, form = await _written(request)
    return await _approve(request, place, form)


async def _approve(request: Request, place: Place, form: dict[str, str] | None) -> Response:
    async with office_of(place.shared, place.launches, place.session, place.desk) as office:
        with office.heard_for(place.patient) as audit:
            who = await _read_patient(office, place)
            if why := _why_not(place, office, who):
                raise told(403, "Nothing can be written here", why)
            lines = months.drafts(await office.to_thread(office.ledger.lines, place.patient, place.month))
            free = [each for each in lines if each.can_be_approved]
            outcomes = None
            if form is not None:
                _same(form, who, "approve")
                chosen = [each.identifier for each in free if each.identifier in form.get("line", "").split()]
                if not chosen:
                    raise told(400, "No line was chosen", "Choose the lines to approve. Nothing was done.")
                outcomes = await release(office.delivery, place.patient, place.month, chosen, office.person, audit)
            await office.to_thread(audit.viewed, office.person, f"/patient/approve {place.month}")
        context = {
            **_context(place, who, office),
            "title": "Lines are approved" if outcomes is not None else "Approve lines",
            "free": free,
            "outcomes": outcomes,
            "mark": "approve",
        }
    return page("approve.html", context, frames=frames(request))


async def _read_patient(office: PersonsOffice, place: Place) -> Patient:
    await office.reader.know(place.patient)
    return _who(office, place)


# -- attesting ---------------------------------------------------------------------------------------


@router.get("/patient/attest")
async def attest(request: Request) -> Response:
    return await _attest(request, await _place(request, request.query_params), request.query_params, confirmed=False)


@router.post("/patient/attest")
async def attest_confirmed(request: Request) -> Response:
    place, form = await _written(request)
    return await _attest(request, place, form, confirmed=True)


async def _attest(request: Request, place: Place, given: Any, *, confirmed: bool) -> Response:
    requirement = str(given.get("requirement", ""))[:60]
    async with office_of(place.shared, place.launches, place.session, place.desk) as office:
        with office.heard_for(place.patient) as audit:
            record = await office.reader.read(place.patient)
            who = _who(office, place)
            if why := _why_not(place, office, who):
                raise told(403, "Nothing can be written here", why)
            decided = place.desk.decide(record.sources, record.withheld)
            decision = next((d for d, _ in decided.decisions if d.patient == place.patient), None)
            if decision is None:
                raise told(409, "Nothing can be attested", "The record is merged or not readable.")
            because, reference = (str(given.get(name, "")).strip()[:_LONGEST] for name in ("because", "reference"))
            if confirmed:
                _same(dict(given), who, "attest")
                if not because or not reference:
                    raise told(
                        400, "Something is missing", "Give a reason and where it can be found. Nothing was done."
                    )
            try:
                rests_on = await basis(office.client, decision, requirement, reference if confirmed else "")
            except UsageError as error:
                raise told(400, "This cannot be attested", str(error)) from None
            if confirmed:
                said = Attestation(requirement, office.person.name, place.shared.today(), because, reference)
                await office.to_thread(audit.attested, office.person, requirement, because)
                await office.to_thread(office.ledger.attest, place.patient, place.month, said, rests_on)
            await office.to_thread(audit.viewed, office.person, f"/patient/attest {place.month}")
        context = {
            **_context(place, who, office),
            "title": "It is attested" if confirmed else "Attest a requirement",
            "done": confirmed,
            "requirement": requirement,
            "label": label(requirement),
            "mark": "attest",
        }
    return page("attest.html", context, frames=frames(request))
