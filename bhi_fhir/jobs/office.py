"""Everything that works on one site's server and ledger together, opened once and closed in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import ParamSpec, TypeVar

from bhi_fhir import __version__
from bhi_fhir.audit import AuditLog, PatientAudit, Person
from bhi_fhir.delivery.doors import doors
from bhi_fhir.delivery.hand import Delivery
from bhi_fhir.delivery.ledger import Ledger, open_ledger
from bhi_fhir.delivery.seal import site_seal
from bhi_fhir.drafts.identity import site_namespace
from bhi_fhir.drafts.site import DraftRun
from bhi_fhir.fhir.capabilities import Capabilities, capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.oauth import BackendServices
from bhi_fhir.jobs.connecting import connection
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.patient_record import RecordReader

_P = ParamSpec("_P")
_T = TypeVar("_T")


@dataclass
class Office:
    """`audit` is that of the patient whose turn it is in this task, else that of no patient."""

    desk: Desk
    client: BhiClient
    served: Capabilities
    reader: RecordReader
    ledger: Ledger
    delivery: Delivery
    log: AuditLog
    audit: ContextVar[PatientAudit]
    now: datetime

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """What was asked for and not granted; nothing where the site signs in without scopes."""
        auth = self.client.auth
        return auth.missing_scopes if isinstance(auth, BackendServices) else ()

    def run_of(self, desk: Desk) -> DraftRun:
        return draft_run(desk, self.now.astimezone(desk.site.zone).date())

    @contextmanager
    def heard_for(self, patient: str, user: Person | None = None) -> Iterator[PatientAudit]:
        """What is read and written in here is audited as this patient's."""
        audit = self.log.patient(patient, user)
        token = self.audit.set(audit)
        try:
            yield audit
        finally:
            self.audit.reset(token)

    async def to_thread(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """For what waits for a disk."""
        return await asyncio.to_thread(call, *args, **kwargs)


def ledger_of(desk: Desk) -> Ledger:
    """The site's ledger. SiteError if it cannot be opened."""
    kept = desk.site.delivery
    seal = site_seal(kept.key_env, desk.folder / kept.key_file)
    return open_ledger(kept.ledger, desk.folder, site_namespace(desk.site.name), seal)


def audit_of(desk: Desk) -> AuditLog:
    site = desk.site
    return AuditLog.open(
        desk.folder / Path(site.delivery.audit),
        source=site.name,
        version=__version__,
        server=site.fhir.base_url,
        client_id=site.fhir.auth.client_id,
        clock=_utc_now,
    )


def _utc_now() -> datetime:
    return datetime.now(UTC)


@asynccontextmanager
async def opened(desk: Desk, now: datetime, clock: Callable[[], datetime] = _utc_now) -> AsyncIterator[Office]:
    """The site's server, ledger and audit. Raises SiteError, AuditError or ServerError.

    `now` dates the drafts of a run; `clock` what is sent, which may be hours later, or weeks in a service.
    """
    log = audit_of(desk)
    shared = log.patient(None)
    audit: ContextVar[PatientAudit] = ContextVar("audit", default=shared)
    try:
        async with BhiClient(
            connection(desk.site), heard=lambda method, target, status: audit.get().heard(method, target, status)
        ) as client:
            served = await capabilities(client)
            reader = RecordReader(client, served, desk.reading)
            site = draft_run(desk, now.date()).site
            zone = desk.site.zone
            sinks = doors(desk.site.delivery, desk.folder, client, served, site, lambda: clock().astimezone(zone))
            ledger = ledger_of(desk)
            try:
                yield Office(desk, client, served, reader, ledger, Delivery(ledger, sinks, zone), log, audit, now)
            finally:
                ledger.close()
    finally:
        shared.commit()
