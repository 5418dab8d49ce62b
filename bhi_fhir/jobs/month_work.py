"""One patient's months, from record to delivery."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import msgspec

from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.hand import Wanted
from bhi_fhir.delivery.settle import foresee, settle
from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.drafts.identity import SYSTEM
from bhi_fhir.drafts.models import PatientDrafts, draft
from bhi_fhir.errors import ServerError
from bhi_fhir.jobs.attesting import still_attested, with_attestations
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.drafting import delivery_drafts
from bhi_fhir.jobs.office import Office
from bhi_fhir.jobs.patient_record import ServerRecord
from bhi_fhir.mapping.record import Source


@dataclass(frozen=True)
class PatientMonth:
    """One patient's month of a sync, as the ledger keeps it.

    `drafts` are FHIR JSON. `failed`: why the record could not be read or the drafts not be sent.
    """

    patient: str
    month: str
    decision: Decision | None = None
    drafts: tuple[dict[str, Any], ...] = ()
    remarks: tuple[str, ...] = ()
    delivered: tuple[Delivered, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    failed: str = ""


@dataclass
class MonthWork:
    """`earlier`: the months before that were delivered and are looked at again."""

    office: Office
    run: str
    earlier: tuple[str, ...]
    write: bool

    async def patient(self, patient: str) -> tuple[PatientMonth, list[PatientMonth]]:
        """This month, and the earlier ones in which something moved; a server's failure costs this patient only."""
        office, desk = self.office, self.office.desk
        with office.heard_for(patient) as audit:
            late: list[PatientMonth] = []
            try:
                record = await office.reader.read(patient)
                for month in self.earlier:
                    again = await self._month(desk.for_month(month), record)
                    if again.failed or any(d.outcome not in ("unchanged", "approved") for d in again.delivered):
                        late.append(again)
                done = await self._month(desk, record)
            except ServerError as error:
                done = PatientMonth(patient, str(desk.month), failed=str(error))
            await office.to_thread(audit.commit)
        kept = msgspec.to_builtins(done)
        await office.to_thread(office.ledger.decided, self.run, patient, str(desk.month), kept)
        return done, late

    async def _month(self, desk: Desk, record: ServerRecord) -> PatientMonth:
        month = str(desk.month)
        decided = desk.decide(record.sources, record.withheld)
        known_as = {record.patient, *record.also}
        mine = [(d, c) for d, c in decided.decisions if d.patient in known_as]
        if not mine:
            return PatientMonth(
                record.patient, month, set_aside=decided.set_aside, failed="the Patient is not readable"
            )
        decision, chart = await self._vouched(desk, *mine[0])
        patient = decision.patient  # of merged records the one that stands
        drafts = draft(decision, chart, self.office.run_of(desk))
        wanted = Wanted(
            patient,
            month,
            drafts=delivery_drafts(drafts, decision),
            standing=await self._without_ours(desk, record),
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
        return with_attestations(desk, chart, holding, lapsed)

    async def _without_ours(self, desk: Desk, record: ServerRecord) -> list[Any]:
        """What the record supports when our own drafts that a person moved on are left out of it."""
        moved_on = [source for source in record.sources if _is_ours(source)]
        if not moved_on:
            return []
        bare = desk.decide([s for s in record.sources if s not in moved_on], record.withheld)
        for decision, chart in bare.decisions:
            if decision.patient in (record.patient, *record.also):
                drafts: PatientDrafts = draft(decision, chart, self.office.run_of(desk))
                return list(delivery_drafts(drafts, decision))
        return []


class _Marked(msgspec.Struct):
    resourceType: str = ""  # noqa: N815
    identifier: list[dict[str, Any]] = []


def _is_ours(source: Source) -> bool:
    if SYSTEM.encode() not in bytes(source.json):
        return False
    try:
        marked = msgspec.json.decode(source.json, type=_Marked)
    except (msgspec.DecodeError, RecursionError):
        return False
    return marked.resourceType in ("ChargeItem", "Claim") and any(
        each.get("system") == SYSTEM for each in marked.identifier
    )
