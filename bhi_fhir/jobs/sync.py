"""A month against the site's FHIR server: roster, records, decisions, and with `write` the drafts.

Patients are read side by side up to the site's concurrency and held one at a time each.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.fhir_sink import deliver
from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import SetAside
from bhi_fhir.drafts import DraftRun, PatientDrafts, draft
from bhi_fhir.errors import ServerError, SiteError, UsageError
from bhi_fhir.fhir.capabilities import capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection, basic, bearer
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.drafting import draft_run
from bhi_fhir.jobs.patient_record import RecordReader
from bhi_fhir.jobs.roster import Roster, roster
from bhi_fhir.settings import FhirAuth, Site


@dataclass(frozen=True)
class PatientMonth:
    """One patient's part of a sync. `failed`: why the record could not be read or the drafts not be sent."""

    patient: str
    decision: Decision | None = None
    drafts: PatientDrafts | None = None
    delivered: tuple[Delivered, ...] = ()
    set_aside: tuple[SetAside, ...] = ()
    failed: str = ""


@dataclass
class Report:
    """A whole sync; the counts add up to the roster."""

    desk: Desk
    roster: Roster
    wrote: bool
    months: list[PatientMonth] = field(default_factory=list)

    @property
    def decisions(self) -> list[Decision]:
        return [m.decision for m in self.months if m.decision]

    @property
    def set_aside(self) -> list[SetAside]:
        return [s for m in self.months for s in m.set_aside]

    @property
    def failed(self) -> list[PatientMonth]:
        return [m for m in self.months if m.failed]

    def counts(self) -> dict[str, int]:
        outcomes = Counter(d.outcome for m in self.months for d in m.delivered)
        return {
            "roster": len(self.roster.patients),
            "decided": len(self.decisions),
            "failed": len(self.failed),
            "indeterminate": sum(bool(d.withheld) for d in self.decisions),
            "drafts": sum(len(m.drafts.resources) for m in self.months if m.drafts),
            "created": outcomes["created"],
            "unchanged": outcomes["unchanged"],
            "left alone": outcomes["left-alone"],
            "refused": outcomes["refused"],
            "set aside": len(self.set_aside),
        }


Progress = Callable[[int, int], None]
"""Told (patients done, patients in all)."""


async def sync(
    desk: Desk, *, write: bool, now: datetime, progress: Progress, started: Callable[[Roster], None]
) -> Report:
    """Read, decide, and with `write` deliver. UsageError or ServerError where nothing can begin."""
    _may_write(desk, write, now)
    async with BhiClient(connection(desk.site)) as client:
        served = await capabilities(client)
        found = await roster(client, desk)
        started(found)
        report = Report(desk, found, write)
        work = _Work(
            desk,
            RecordReader(client, served, desk.reading),
            draft_run(desk, now.astimezone(desk.site.zone).date()),
            write,
            now,
        )
        places = asyncio.Semaphore(desk.site.fhir.concurrency)

        async def one(patient: str) -> PatientMonth:
            async with places:
                done = await work.patient(patient)
            report.months.append(done)
            progress(len(report.months), len(found.patients))
            return done

        async with asyncio.TaskGroup() as group:
            for patient in found.patients:
                group.create_task(one(patient))
        report.months.sort(key=lambda m: m.patient)
        return report


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


@dataclass
class _Work:
    desk: Desk
    reader: RecordReader
    run: DraftRun
    write: bool
    now: datetime

    async def patient(self, patient: str) -> PatientMonth:
        """One patient from record to delivery; a server's failure costs this patient only."""
        try:
            record = await self.reader.read(patient)
            decided = self.desk.decide(record.sources, record.withheld)
            mine = [(d, c) for d, c in decided.decisions if d.patient == patient]
            if not mine:
                return PatientMonth(patient, set_aside=decided.set_aside, failed="the record is merged or not readable")
            decision, chart = mine[0]
            drafts = draft(decision, chart, self.run)
            done: list[Delivered] = []
            if self.write and drafts.resources:
                done = await deliver(self.reader.client, drafts, self.run.site, self.now)
            return PatientMonth(patient, decision, drafts, tuple(done), decided.set_aside)
        except ServerError as error:
            return PatientMonth(patient, failed=str(error))


def connection(site: Site) -> Connection:
    """The site's FHIR server, with its secrets from the environment or a file."""
    fhir = site.fhir
    auth: httpx.Auth | None = None
    if fhir.auth.kind == "basic":
        auth = basic(fhir.auth.user, _secret(fhir.auth))
    elif fhir.auth.kind == "bearer":
        auth = bearer(_secret(fhir.auth))
    return Connection(fhir.base_url, tuple(fhir.aliases), fhir.concurrency, float(fhir.timeout_s), auth)


def _secret(auth: FhirAuth) -> str:
    if auth.secret_env and auth.secret_env in os.environ:
        return os.environ[auth.secret_env].strip()
    if auth.secret_file:
        try:
            return Path(auth.secret_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SiteError(f"fhir.auth.secret_file cannot be read: {error.strerror}") from error
    raise SiteError("fhir.auth: name secret_env (a variable that is set) or secret_file for the secret")
