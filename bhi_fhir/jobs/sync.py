"""A month against the site's FHIR server: roster, records, decisions, and with `write` the drafts.

Patients are read side by side up to the site's concurrency, and what was made of each goes to the ledger at once:
memory does not grow with the roster, and a run that was cut off is gone on with where it stood. A patient whose
earlier months were delivered has them decided again from the same record: late entries are found so.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from bhi_fhir.delivery.delivered import OUTCOMES
from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import SetAside
from bhi_fhir.errors import BhiError, SiteError, UsageError
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.fingerprint import fingerprint
from bhi_fhir.jobs.month_work import MonthWork, PatientMonth
from bhi_fhir.jobs.office import Office, opened
from bhi_fhir.jobs.roster import Roster, roster

PATIENCE = 10
"""So often a patient waits for a server that is left alone because it fails, before the patient counts as failed."""


@dataclass
class Report:
    """A whole sync; the counts add up to the roster.

    What each patient's month came to stands in the ledger: `months` reads it one by one, by patient. `late` are
    the earlier months that came out differently than they were delivered.
    """

    office: Office
    roster: Roster
    patients: tuple[str, ...]
    wrote: bool
    resumed: int
    tally: Counter[str] = field(default_factory=Counter)
    late: list[PatientMonth] = field(default_factory=list)
    reread: tuple[str, ...] = ()

    @property
    def desk(self) -> Desk:
        return self.office.desk

    def months(self) -> Iterator[PatientMonth]:
        ledger = self.office.ledger
        try:
            for patient in self.patients:
                kept = ledger.kept(patient, str(self.desk.month))
                if kept is not None:
                    yield msgspec.convert(kept, PatientMonth, strict=False)
        finally:
            ledger.close()

    @property
    def decisions(self) -> list[Decision]:
        return [m.decision for m in self.months() if m.decision]

    @property
    def set_aside(self) -> list[SetAside]:
        return [s for m in self.months() for s in m.set_aside]

    @property
    def failed(self) -> list[PatientMonth]:
        return [m for m in self.months() if m.failed]

    @property
    def incomplete(self) -> bool:
        """Something could not be read or handed over: another run, or a person, has to see to it."""
        late = Counter(said.outcome for month in self.late for said in month.delivered)
        failed = self.tally["failed"] or any(month.failed for month in self.late)
        return bool(failed or any(count[o] for count in (self.tally, late) for o in ("refused", "unknown")))

    def count(self, month: PatientMonth) -> None:
        """One patient's month into the counts."""
        self.tally["read"] += 1
        self.tally["failed" if month.failed else "decided"] += 1
        self.tally["indeterminate"] += bool(month.decision and month.decision.withheld)
        self.tally["drafts"] += len(month.drafts)
        self.tally["set aside"] += len(month.set_aside)
        self.tally.update(d.outcome for d in month.delivered)

    def counts(self) -> dict[str, int]:
        """read = decided + failed = patients; drafts and more = the outcomes together."""
        always = ("created", "updated", "withdrawn", "unchanged", "left-alone")
        shown = [o for o in OUTCOMES if o in always or self.tally[o]]
        names = ("read", "decided", "failed", "indeterminate", "drafts", *shown, "set aside")
        return {"roster": len(self.patients), **{name: self.tally[name] for name in names}}


@dataclass(frozen=True, slots=True)
class Progress:
    """Patients done and in all; requests so far, and how many of them were sent again."""

    done: int
    of: int
    requests: int
    repeated: int


async def sync(
    desk: Desk,
    *,
    write: bool,
    now: datetime,
    progress: Callable[[Progress], None],
    started: Callable[[Roster], None],
    afresh: bool = False,
) -> Report:
    """Read, decide, and with `write` deliver. UsageError or ServerError where nothing can begin.

    `afresh`: a run that was cut off is not gone on with.
    """
    _may_write(desk, write, now)
    same = fingerprint(desk)
    async with opened(desk, now) as office:
        found = await roster(office.client, desk)
        if missing := office.missing_scopes:
            said = f"the server did not grant {', '.join(missing)}"
            found = replace(found, withheld=(*found.withheld, said))
        started(found)
        month = str(desk.month)
        ledger = office.ledger
        earlier = _earlier(desk, ledger.delivered_months())
        patients = tuple(sorted({*found.patients, *ledger.patients([month, *earlier])}))
        run, resumed = ledger.begin(month, same, wrote=write, afresh=afresh)
        done = ledger.done(run, month) if resumed else set()
        report = Report(office, found, patients, write, len(done), reread=earlier)
        for kept in report.months() if done else ():
            if ledger.key(kept.patient) in done:
                report.count(kept)
        work = MonthWork(office, run, earlier, write)
        await _all(work, [p for p in patients if ledger.key(p) not in done], report, progress)
        ledger.end(run)
        if write:
            ledger.forget_before(str(desk.month.shifted(-desk.site.delivery.keep_months)))
        return report


async def _all(work: MonthWork, patients: list[str], report: Report, progress: Callable[[Progress], None]) -> None:
    """As many patients at a time as the site allows requests: what waits for one never holds up another."""
    waiting = iter(patients)
    client = work.office.client

    async def one_after_another() -> None:
        for patient in waiting:
            month, late = await work.patient(patient)
            for _ in range(PATIENCE):
                pause = client.left_alone_s if month.failed else 0.0
                if not pause:
                    break
                await asyncio.sleep(pause)
                month, late = await work.patient(patient)
            report.count(month)
            report.late += late
            progress(Progress(report.tally["read"], len(report.patients), client.asked, client.repeated))

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(work.office.desk.site.fhir.concurrency, len(patients))):
                group.create_task(one_after_another())
    except BaseExceptionGroup as several:
        # What fails for one here fails for all: the ledger, the audit, a fault of ours.
        raise next((e for e in several.exceptions if isinstance(e, BhiError)), several.exceptions[0]) from None


def _may_write(desk: Desk, write: bool, now: datetime) -> None:
    """Only months that have ended are delivered, unless the site says otherwise."""
    if write and now < desk.month.span[1] and not desk.site.delivery.write_open_month:
        raise UsageError(
            f"{desk.month} has not ended: its drafts are only shown. Leave out --write, or set "
            "delivery.write_open_month = true in site.toml."
        )
    if write and "TO BE SET" in desk.site.name.upper():
        raise SiteError("site.toml: name is still to be set; it is part of every draft's identity")
    if not desk.site.fhir.base_url:
        raise SiteError("site.toml: fhir.base_url is missing, the address of the site's FHIR server")


def _earlier(desk: Desk, delivered: list[str]) -> tuple[str, ...]:
    """The delivered months before this one whose claims may still be filed: so long are late entries looked for."""
    first = desk.month.shifted(-desk.rules.values["filing_months"])
    return tuple(month for month in delivered if str(first) <= month < str(desk.month))
