"""One patient's months, from record to delivery."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.hand import Wanted
from bhi_fhir.delivery.line import Draft
from bhi_fhir.delivery.settle import foresee, settle
from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, Role, SetAside
from bhi_fhir.domain.time import ServiceMonth, local_day
from bhi_fhir.drafts.identity import SYSTEM
from bhi_fhir.drafts.models import PatientDrafts, draft
from bhi_fhir.errors import ServerError
from bhi_fhir.jobs.attesting import still_attested, with_attestations
from bhi_fhir.jobs.desk import Decided, Desk
from bhi_fhir.jobs.drafting import delivery_drafts
from bhi_fhir.jobs.office import Office
from bhi_fhir.jobs.one_patient import Beside, at_once
from bhi_fhir.jobs.patient_record import ServerRecord
from bhi_fhir.jobs.people import NOBODY, Names
from bhi_fhir.mapping.source import Source
from bhi_fhir.views.common import UNREADABLE


@dataclass(frozen=True)
class PatientMonth:
    """One patient's month of a sync, as the ledger keeps it.

    `drafts` are FHIR JSON. `failed`: why the record could not be read or the drafts not be sent. `last_contact`: the
    local day, "2026-03-04", of the last work with or for the patient when the record was read, also after the month;
    "" if there is none. `scores`: (scale, local day, total) of complete screenings up to the month's end, by day.
    """

    patient: str
    month: str
    decision: Decision | None = None
    drafts: tuple[dict[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()
    delivered: tuple[Delivered, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    failed: str = ""
    last_contact: str = ""
    scores: tuple[tuple[str, str, int], ...] = ()


@dataclass
class MonthWork:
    """`earlier`: the months before that were delivered and are looked at again. `beside`: runs what only computes."""

    office: Office
    run: str
    earlier: tuple[str, ...]
    write: bool
    beside: Beside = at_once

    async def patient(self, patient: str) -> tuple[PatientMonth, list[PatientMonth]]:
        """This month, and the earlier ones in which something moved; a server's failure costs this patient only."""
        office, desk = self.office, self.office.desk
        with office.heard_for(patient) as audit:
            late: list[PatientMonth] = []
            who = NOBODY
            try:
                record = await office.reader.read(patient)
                for month in self.earlier:
                    again = await self.month(desk.for_month(month), record)
                    if again.failed or any(d.outcome not in ("unchanged", "approved") for d in again.delivered):
                        late.append(again)
                done = await self.month(desk, record)
                who = Names.whose(record.sources, done.patient)
            except ServerError as error:
                done = PatientMonth(patient, str(desk.month), failed=str(error))
            await office.to_thread(audit.commit)
        # Who it is stands in the ledger only, sealed, for people's lists: a report may end in a log.
        kept = {**msgspec.to_builtins(done), "who": msgspec.to_builtins(who)}
        await office.to_thread(office.ledger.decided, self.run, patient, str(desk.month), kept)
        return done, late

    async def month(self, desk: Desk, record: ServerRecord) -> PatientMonth:
        """One month of a record that was read: decided, and delivered or foreseen."""
        month = str(desk.month)
        decided: Decided = await self.beside(desk.decide, record.sources, record.withheld)
        known_as = {record.patient, *record.also}
        mine = [(d, c) for d, c in decided.decisions if d.patient in known_as]
        if not mine:
            return PatientMonth(
                record.patient, month, set_aside=decided.set_aside, failed="the Patient is not readable"
            )
        decision, chart = await self._vouched(desk, *mine[0])
        patient = decision.patient  # of merged records the one that stands
        drafts, charges = await self.beside(self._drafted, desk, decision, chart)
        wanted = Wanted(
            patient,
            month,
            drafts=charges,
            standing=await self.beside(self._without_ours, desk, record),
            evidence=drafts.evidence,
            whole=not decision.withheld and not desk.rules.unverified,
        )
        done = PatientMonth(
            patient,
            month,
            decision,
            drafts=tuple(each.content for each in wanted.drafts),
            remarks=(*drafts.remarks, *record.notes),
            set_aside=decided.set_aside,
            last_contact=last_contact(chart, desk.site.zone, self.office.now.astimezone(desk.site.zone).date()),
            scores=scores(chart, desk.month),
        )
        try:
            before = [
                d
                for other in sorted(known_as - {patient})
                for d in await self._settled(Wanted(other, month, whole=wanted.whole))
            ]
            if any(said.outcome != "withdrawn" for said in before):
                wanted = replace(wanted, blocked="the record was merged, and a charge under its old number stands")
            delivered = [*before, *await self._settled(wanted)]
        except ServerError as error:
            return replace(done, failed=str(error))
        return replace(done, delivered=tuple(delivered))

    async def _settled(self, wanted: Wanted) -> list[Delivered]:
        if self.write:
            return await settle(self.office.delivery, wanted, self.office.audit.get())
        return await foresee(self.office.delivery, wanted)

    async def _vouched(self, desk: Desk, decision: Decision, chart: Chart) -> tuple[Decision, Chart]:
        office = self.office
        attested = await office.to_thread(office.ledger.attested, decision.patient, str(desk.month))
        if not attested:
            return decision, chart
        holding, lapsed = await still_attested(office.client, office.ledger, decision, attested)
        vouched: tuple[Decision, Chart] = await self.beside(with_attestations, desk, chart, holding, lapsed)
        return vouched

    def _drafted(self, desk: Desk, decision: Decision, chart: Chart) -> tuple[PatientDrafts, tuple[Draft, ...]]:
        drafts = draft(decision, chart, self.office.run_of(desk))
        return drafts, delivery_drafts(drafts, decision)

    def _without_ours(self, desk: Desk, record: ServerRecord) -> list[Draft]:
        """What the record supports when our own drafts that a person moved on are left out of it."""
        moved_on = [source for source in record.sources if _is_ours(source)]
        if not moved_on:
            return []
        bare = desk.decide([s for s in record.sources if s not in moved_on], record.withheld)
        for decision, chart in bare.decisions:
            if decision.patient in (record.patient, *record.also):
                return list(self._drafted(desk, decision, chart)[1])
        return []


_APART = frozenset({"administrative", "registry-tracking", "caseload-consultation", "psychiatric-review"})
"""Kinds of work that alone are no contact: nobody speaks with the patient or about a next step with others."""


def last_contact(chart: Chart, zone: ZoneInfo, until: date) -> str:
    """The day of the last finished work by a named person other than administrative staff; "" if there is none."""
    roles: dict[str, set[Role]] = {}
    for team in chart.teams:
        for member in team.members:
            if member.person:
                roles.setdefault(member.person, set()).update(member.roles)
    clerks = {person for person, known in roles.items() if known == {Role.ADMINISTRATIVE}}
    days = [
        local_day(each.when.earliest, zone)
        for each in chart.activities
        if each.state == "done"
        and each.when is not None
        and each.when.within_a_day
        and each.kinds - _APART
        and each.people - clerks
    ]
    return str(max((day for day in days if day <= until), default=""))


def scores(chart: Chart, month: ServiceMonth) -> tuple[tuple[str, str, int], ...]:
    found = [
        (local_day(each.when.earliest, month.zone), each.ref, each.scale, each.total)
        for each in chart.screenings
        if each.when is not None and each.scale and each.total is not None and each.complete
    ]
    return tuple((scale, str(day), total) for day, _, scale, total in sorted(found) if day <= month.last_day)


class _Marked(msgspec.Struct):
    resourceType: str = ""  # noqa: N815
    identifier: list[dict[str, Any]] = []


def _is_ours(source: Source) -> bool:
    if SYSTEM.encode() not in bytes(source.json):
        return False
    try:
        marked = msgspec.json.decode(source.json, type=_Marked)
    except UNREADABLE:
        return False
    return marked.resourceType in ("ChargeItem", "Claim") and any(
        each.get("system") == SYSTEM for each in marked.identifier
    )
