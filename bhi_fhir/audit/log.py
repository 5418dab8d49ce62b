"""What is told to the audit.

Reads, and what became of writes, are gathered and reach the disk with `commit`, once a patient: a process that
is killed loses those of the patients it was at. A write before it is sent (`announce`), and what a person does
(`viewed`, `approved`, `attested`), are on the disk when the call returns.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bhi_fhir.audit import chain, events
from bhi_fhir.audit.events import Events, Item, Json, Person, Site, WriteKind

_READ = re.compile(r"[A-Z][A-Za-z]{2,39}/[A-Za-z0-9.-]{1,64}(/_history/[A-Za-z0-9.-]{1,64})?")
_NO_DATA = re.compile(r"metadata|\.well-known/.*")


@dataclass(frozen=True, slots=True)
class AuditLog:
    """One site's audit. Several processes may have the same file open."""

    path: Path
    site: Site
    clock: Callable[[], datetime]

    @classmethod
    def open(
        cls, path: Path, *, source: str, version: str, server: str, clock: Callable[[], datetime], client_id: str = ""
    ) -> AuditLog:
        """Sees to it that the file can be written, and sets aside a line that was cut off.

        `source` is the site's name, `server` the base URL, `client_id` that of OAuth. `clock` tells aware times.
        Raises AuditError.
        """
        log = cls(path, Site(source, version, socket.gethostname() or "localhost", server, client_id), clock)
        log.append([])
        return log

    def patient(self, reference: str | None, user: Person | None = None) -> PatientAudit:
        """What is done with one patient's record, or, with None, with what is no patient's (a roster, staff)."""
        return PatientAudit(self, reference, user)

    def append(self, wanted: Sequence[Json]) -> None:
        """On the disk when this returns. Raises AuditError."""
        now = self.clock()
        chain.append(self.path, now, wanted, lambda torn: Events(self.site, None, None).torn(_instant(now), torn))


class PatientAudit:
    """One patient's events. Whatever writes to the disk raises AuditError, and keeps what it could not write."""

    def __init__(self, log: AuditLog, patient: str | None, user: Person | None) -> None:
        self._log = log
        self._events = Events(log.site, patient, user)
        self._gathered: list[Json] = []

    def heard(self, method: str, target: str, status: int | None) -> None:
        """Any request of the FHIR client; only what reads is noted here, for writes are announced.

        `target`: relative to the base, "Observation?patient=1"; a POST of _search has its form behind the "?".
        `status`: None where no whole answer came.
        """
        if method == "GET" and _READ.fullmatch(target):
            self.read(target, status)
        elif (method == "GET" and not _NO_DATA.fullmatch(target)) or (method == "POST" and "/_search?" in target):
            self.searched(f"{method} {target}", status)

    def searched(self, request: str, status: int | None) -> None:
        self._gathered.append(self._events.search(self._now(), request, status))

    def read(self, reference: str, status: int | None) -> None:
        self._gathered.append(self._events.read(self._now(), reference, status))

    def announce(self, kind: WriteKind, items: Sequence[Item]) -> None:
        """Before a write is sent; all that stands in one transaction at once."""
        now = self._now()
        self._gathered += [self._events.announced(now, kind, item) for item in items]
        self.commit()

    def written(self, kind: WriteKind, item: Item, status: int | None) -> None:
        """What became of an announced write; `item` with the same identifier, and its reference if it has one now."""
        self._gathered.append(self._events.written(self._now(), kind, item, status))

    def viewed(self, by: Person, page: str) -> None:
        self._act(events.VIEWED, by, [events.page(page)])

    def approved(self, by: Person, items: Sequence[Item]) -> None:
        self._act(events.APPROVED, by, [events.item(item) for item in items])

    def attested(self, by: Person, requirement: str, reason: str) -> None:
        self._act(events.ATTESTED, by, [events.requirement(requirement, reason)])

    def commit(self) -> None:
        """Everything gathered so far, by one write and one fsync."""
        if wanted := list(self._gathered):
            self._log.append(wanted)
            del self._gathered[: len(wanted)]  # what is heard while a thread commits stays for the next time

    def _act(self, act: events.Act, by: Person, entities: list[Json]) -> None:
        self._gathered.append(self._events.act(self._now(), act, by, entities))
        self.commit()

    def _now(self) -> str:
        return _instant(self._log.clock())


def _instant(when: datetime) -> str:
    return when.isoformat(timespec="milliseconds")
