"""One patient's month shown, and what a named person does to it: the same from the EHR and from the caseload.

What writes is a form of two steps, shows name and birth date on both, and is refused if the patient or the month's
outcome is not the one that was shown.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import Response

from bhi_fhir.delivery.settle import release
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.attesting import attest, basis
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.month_work import MonthWork, PatientMonth
from bhi_fhir.jobs.one_patient import decide_patient
from bhi_fhir.jobs.people import Patient
from bhi_fhir.jobs.telling import label
from bhi_fhir.web import asked
from bhi_fhir.web.forms import read_form, same_origin
from bhi_fhir.web.pages import month as months
from bhi_fhir.web.pages.course import ticks
from bhi_fhir.web.pages.html import page
from bhi_fhir.web.pages.shown import told
from bhi_fhir.web.service import Service
from bhi_fhir.web.session import Session
from bhi_fhir.web.signed_in import PersonsOffice

_LONGEST = 500

Act = Literal["prepare", "approve", "attest"]
Form = dict[str, str]


@dataclass(frozen=True)
class Place(ABC):
    """Where a request stands: whose month, in which session. `base`: the path; `fields`: what every address carries."""

    shared: Service
    session: Session
    desk: Desk
    patient: str
    base: str
    fields: Mapping[str, str]
    frames: tuple[str, ...] = ()

    @property
    def month(self) -> str:
        return str(self.desk.month)

    @property
    def hidden(self) -> dict[str, str]:
        return {**self.fields, "month": self.month, "csrf": self.session.data["csrf"], "patient": self.patient}

    def address(self, path: str = "", **more: str) -> str:
        return f"{self.base}{path}?{urlencode({**self.fields, 'month': self.month, **more})}"

    @abstractmethod
    def office(self) -> AbstractAsyncContextManager[PersonsOffice]:
        """The site's server, asked for whoever is signed in."""

    @abstractmethod
    def forbids(self, act: Act, office: PersonsOffice) -> str:
        """Why this person may not; "" if they may."""

    @abstractmethod
    def context(self) -> dict[str, Any]:
        """What only this kind of place shows: how it is left, the EHR's style, whether the banner is full."""


Step = Callable[[Place, Mapping[str, str], Form | None], Awaitable[Response]]
"""An act at a place, with the fields of the address; without a form: what would be done."""

Find = Callable[[Request, Mapping[str, str]], Awaitable[Place]]
"""The place that a request names; Told for whoever may not be there."""


def routes(router: APIRouter, base: str, find: Find, acts: Iterable[Act]) -> None:
    """The page under `base`, and for each act its two steps: shown to a GET, done by the form that it holds."""

    async def look(request: Request) -> Response:
        return await show(await find(request, request.query_params))

    router.add_api_route(base, look, methods=["GET"])
    for each in acts:
        _steps(router, f"{base}/{each}", find, _DONE_BY[each])


def _steps(router: APIRouter, path: str, find: Find, act: Step) -> None:
    async def shown(request: Request) -> Response:
        return await act(await find(request, request.query_params), request.query_params, None)

    async def done(request: Request) -> Response:
        form = await read_form(request)
        place = await find(request, form)
        same_origin(request, place.session, form)
        _confirmed_for(place, form)
        return await act(place, form, form)

    router.add_api_route(path, shown, methods=["GET"])
    router.add_api_route(path, done, methods=["POST"])


def months_shown(shared: Service) -> tuple[str, str]:
    """The first, whose claims Medicare may still take, and the last: the month that runs."""
    desk = shared.desk_for(f"{shared.today():%Y-%m}")
    return str(desk.month.shifted(-desk.rules.values["filing_months"])), str(desk.month)


def month_asked(shared: Service, text: str | None) -> Desk:
    """The desk of the month that an address names, this one if none; Told for one that is not shown."""
    first, last = months_shown(shared)
    wanted = asked.month(text or last)
    if not first <= wanted <= last:
        raise told(400, "This month is not shown", f"Choose a month from {first} to {last}.")
    return shared.desk_for(wanted)


def _context(place: Place, who: Patient, office: PersonsOffice) -> dict[str, Any]:
    first, last = months_shown(place.shared)
    before, after = str(place.desk.month.shifted(-1)), str(place.desk.month.shifted(1))
    return {
        "place": place,
        "who": who,
        "person": office.person.name if office.is_named else "",
        "site": place.shared.site.name,
        "before": before if first <= before else "",
        "after": after if after <= last else "",
        "month_name": f"{place.desk.month.first_day:%B %Y}",
        **place.context(),
    }


def _who(office: PersonsOffice, place: Place) -> Patient:
    found = office.reader.names.patient
    if found.reference != place.patient:
        raise told(409, "This is another patient", "The server gave somebody else's record. Nothing is shown.")
    return found


def _why_not(place: Place, act: Act, office: PersonsOffice, who: Patient) -> str:
    """Why this cannot be done from here; "" if it can."""
    if not office.is_named:
        return "Nobody said who you are, so nothing can be written under your name."
    if not who.is_told_apart:
        return "The record has no name or no birth date, so nothing is written from here."
    if act == "prepare" and _too_early(place):
        return f"Drafts are prepared once {place.month} is over."
    return place.forbids(act, office)


def _too_early(place: Place) -> bool:
    """As for a sync with --write."""
    return place.shared.now() < place.desk.month.span[1] and not place.desk.site.delivery.write_open_month


def _may(place: Place, act: Act, office: PersonsOffice, who: Patient) -> None:
    if why := _why_not(place, act, office, who):
        raise told(403, "Nothing can be written here", why)


def _confirmed_for(place: Place, form: Form) -> None:
    if form.get("patient") != place.patient:
        raise told(409, "This is another patient", "The form was for somebody else. Nothing was done.")


def _same(form: Form, who: Patient, mark: str) -> None:
    if (form.get("name"), form.get("born")) != (who.name, who.born):
        raise told(409, "This is another patient", "Name or birth date is not as it was shown. Nothing was done.")
    if form.get("mark") != mark:
        raise told(
            409, "The record has changed", "What would be done is not what was shown. Nothing was done: look again."
        )


# -- looking -----------------------------------------------------------------------------------------


async def show(place: Place) -> Response:
    async with place.office() as office:
        with office.heard_for(place.patient) as audit:
            try:
                done = await decide_patient(office, place.patient, place.shared.pool.run)
                lines = await office.to_thread(office.ledger.lines, place.patient, place.month)
            finally:
                await office.to_thread(audit.viewed, office.person, f"{place.base} {place.month}")
        who = _who(office, place)
        acts: tuple[Act, ...] = ("prepare", "approve", "attest")
        context = {
            **_context(place, who, office),
            "title": "Behavioral health integration",
            "shown": await place.shared.pool.run(months.shown, done, place.shared.today(), office.reader.names),
            "set_aside": len(done.set_aside),
            "drafts": months.drafts(lines),
            "ticks": ticks,
            "why_not": {act: _why_not(place, act, office, who) for act in acts},
            "missing_scopes": office.reader.granted.unread(office.reader.types()),
        }
    return page("patient.html", context, frames=place.frames)


# -- preparing drafts --------------------------------------------------------------------------------


async def _prepare(place: Place, given: Mapping[str, str], form: Form | None) -> Response:
    async with place.office() as office:
        with office.heard_for(place.patient) as audit:
            record = await office.reader.read(place.patient)
            who = _who(office, place)
            _may(place, "prepare", office, who)
            foreseen = await _worked(place, office, write=False).month(place.desk, record)
            if form is not None:
                _same(form, who, _mark(foreseen))
                foreseen = await _worked(place, office, write=True).month(place.desk, record)
            await office.to_thread(audit.viewed, office.person, f"{place.base}/prepare {place.month}")
        context = {
            **_context(place, who, office),
            "title": "Drafts are prepared" if form is not None else "Prepare drafts",
            "done": form is not None,
            "outcomes": [d for d in foreseen.delivered if d.resource_type == "ChargeItem"],
            "others": [d for d in foreseen.delivered if d.resource_type != "ChargeItem" and d.reason],
            "failed": foreseen.failed,
            "mark": _mark(foreseen),
        }
    return page("prepare.html", context, frames=place.frames)


def _worked(place: Place, office: PersonsOffice, *, write: bool) -> MonthWork:
    return MonthWork(office, "", (), write=write, beside=place.shared.pool.run)


def _mark(month: PatientMonth) -> str:
    lines = month.decision.lines if month.decision else ()
    return _digest(month.patient, month.month, lines, [(d.identifier, d.outcome) for d in month.delivered])


def _digest(*shown: object) -> str:
    """Of what would be done, so that what is confirmed is what was shown."""
    return hashlib.sha256(repr(shown).encode()).hexdigest()


# -- approving and attesting -------------------------------------------------------------------------


async def _approve(place: Place, given: Mapping[str, str], form: Form | None) -> Response:
    async with place.office() as office:
        with office.heard_for(place.patient) as audit:
            await office.reader.know(place.patient)
            who = _who(office, place)
            _may(place, "approve", office, who)
            lines = await office.to_thread(office.ledger.lines, place.patient, place.month)
            free = [each for each in months.drafts(lines) if each.can_be_approved]
            mark = _digest(place.patient, [(line.identifier, line.state, line.draft.content) for line in lines])
            outcomes = None
            if form is not None:
                _same(form, who, mark)
                chosen = [each.identifier for each in free if each.identifier in form.get("line", "").split()]
                if not chosen:
                    raise told(400, "No line was chosen", "Choose the lines to approve. Nothing was done.")
                outcomes = await release(office.delivery, place.patient, place.month, chosen, office.person, audit)
            await office.to_thread(audit.viewed, office.person, f"{place.base}/approve {place.month}")
        context = {
            **_context(place, who, office),
            "title": "Lines are approved" if outcomes is not None else "Approve lines",
            "free": free,
            "outcomes": outcomes,
            "mark": mark,
        }
    return page("approve.html", context, frames=place.frames)


async def _attest(place: Place, given: Mapping[str, str], form: Form | None) -> Response:
    requirement = given.get("requirement", "")[:60]
    async with place.office() as office:
        with office.heard_for(place.patient) as audit:
            record = await office.reader.read(place.patient)
            who = _who(office, place)
            _may(place, "attest", office, who)
            decided = await place.shared.pool.run(place.desk.decide, record.sources, record.withheld)
            decision = next((d for d, _ in decided.decisions if d.patient == place.patient), None)
            if decision is None:
                raise told(409, "Nothing can be attested", "The record is merged or not readable.")
            try:
                mark = _digest(place.patient, await basis(office.client, decision, requirement, ""))
                if form is not None:
                    because, reference = _reason(form, who, mark)
                    await attest(office, audit, office.person, decision, requirement, because, reference)
            except UsageError as error:
                raise told(400, "This cannot be attested", str(error)) from None
            await office.to_thread(audit.viewed, office.person, f"{place.base}/attest {place.month}")
        context = {
            **_context(place, who, office),
            "title": "It is attested" if form is not None else "Attest a requirement",
            "done": form is not None,
            "requirement": requirement,
            "label": label(requirement),
            "mark": mark,
        }
    return page("attest.html", context, frames=place.frames)


def _reason(form: Form, who: Patient, mark: str) -> tuple[str, str]:
    _same(form, who, mark)
    because, reference = (form.get(name, "").strip()[:_LONGEST] for name in ("because", "reference"))
    if not because or not reference:
        raise told(400, "Something is missing", "Give a reason and where it can be found. Nothing was done.")
    return because, reference


_DONE_BY: dict[Act, Step] = {"prepare": _prepare, "approve": _approve, "attest": _attest}
