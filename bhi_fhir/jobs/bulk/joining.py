"""What belongs together although it stands under different patients, and what concerns everybody.

A resource that is given twice under two patients, patients that are merged (Patient.link), a patient who is named
by identifier: each ties two owners, and tied owners are decided together, in the share of one of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec

from bhi_fhir.domain.record import Withheld
from bhi_fhir.jobs.bulk import index
from bhi_fhir.jobs.bulk.index import Entry, IndexWriter
from bhi_fhir.jobs.bulk.job import Job, Trouble, durable
from bhi_fhir.jobs.bulk.owners import identifiers, mark
from bhi_fhir.jobs.bulk.split import read_again
from bhi_fhir.jobs.bulk.withholding import shortened
from bhi_fhir.mapping.record import Record
from bhi_fhir.views.patient import Patient

Json = dict[str, Any]
_AT_ONCE = 64
"""So many shares are looked through for what moves before it is written."""


class Plan(msgspec.Struct):
    for_all: list[Withheld]
    """What is withheld from everybody."""
    homes: dict[int, int]
    """Of tied owners: under which mark they are decided."""
    moved: int
    """How many index files hold what was moved to another share."""

    @classmethod
    def of(cls, job: Job) -> Plan:
        return msgspec.convert(job.result("planning", 0), type=cls, strict=False)

    def home(self, owner: int) -> int:
        return self.homes.get(owner, owner)


def finding_doubles(job: Job, number: int) -> Json:
    """Resources of one name under several owners."""
    owners: dict[int, int] = {}
    ties = []
    for path in _written(job, "names"):
        for name, owner in index.names(index.read_section(path, number, job.shares)):
            first = owners.setdefault(name, owner)
            if first != owner:
                ties.append((first, owner))
    return {"ties": ties}


def sharing(job: Job, _: int) -> Json:
    """Staff, organizations and devices: what of them is set aside and what that holds back from everybody."""
    record = shared(job)
    with durable(job.work / "shared.aside") as aside:
        for each in record.set_aside:
            aside.write(msgspec.json.encode(each) + b"\n")
    reasons = Counter(each.reason for each in record.set_aside)
    return {"for_all": shortened([part for _, part in record.withheld]), "set_aside": reasons}


def shared(job: Job) -> Record:
    found = (entry for path in _written(job, "index") for entry in _section(job, path, index.SHARED))
    in_order = sorted(found, key=attrgetter("piece", "line"))
    return Record.read(line for _, line in read_again(job, in_order))


def planning(job: Job, _: int) -> Json:
    """Everything that a share cannot know by itself."""
    closer = [job.result("closer", number) for number in range(len(job.pieces))]
    ties = [tie for found in closer for tie in found["ties"]]
    ties += [tie for number in range(job.shares) for tie in job.result("doubles", number)["ties"]]
    ties += _by_identifier(job, [asked for found in closer for asked in found["asked"]])
    homes = homes_of(ties)
    held = [*unread(job.trouble), *(part for found in closer for part in found["for_all"])]
    held += job.result("shared", 0)["for_all"]
    return {
        "for_all": shortened(msgspec.convert(held, type=list[Withheld])),
        "homes": homes,
        "moved": _move(job, homes),
    }


def unread(trouble: Iterable[Trouble]) -> Iterator[Withheld]:
    """What the files that are not read, or not to their end, hold back from everybody."""
    for file, reason, holds_back in trouble:
        if holds_back:
            yield Withheld("*", f"{file} was set aside: {reason}")


def _by_identifier(job: Job, asked: list[tuple[str, str]]) -> list[tuple[int, int]]:
    """The owner who names its patient by an identifier, and the first Patient that carries it."""
    wanted = {identifier for _, identifier in asked}
    carriers: dict[str, str] = {}
    paths = _written(job, "index") if wanted else []
    patients = (entry for path in paths for entry in _section(job, path, index.PATIENTS))
    for _, line in read_again(job, patients):
        for key, row in Record.read([line]).of_type(Patient):
            for identifier in wanted.intersection(identifiers(row)):
                carriers[identifier] = min(key, carriers.get(identifier, key))
    return [(mark(owner), mark(carriers[name])) for owner, name in asked if name in carriers]


def homes_of(ties: Iterable[tuple[int, int]]) -> dict[int, int]:
    """Each tied owner's home: the smallest mark of all that hang together."""
    parent: dict[int, int] = {}

    def root(owner: int) -> int:
        while (above := parent.setdefault(owner, owner)) != owner:
            parent[owner] = parent[above]
            owner = above
        return owner

    for one, other in ties:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    return {owner: root(owner) for owner in list(parent)}


def _move(job: Job, homes: dict[int, int]) -> int:
    """Entries of owners whose home is in another share, written into it; in how many files."""
    away = {owner: home for owner, home in homes.items() if owner % job.shares != home % job.shares}
    left = sorted({owner % job.shares for owner in away})
    numbers = count()
    for start in range(0, len(left), _AT_ONCE):
        made = IndexWriter(job.shares)
        for share in left[start : start + _AT_ONCE]:
            for path in _written(job, "index"):
                for entry in index.entries(index.read_section(path, share, job.sections)):
                    if entry.owner in away:
                        made.put(entry._replace(owner=away[entry.owner]))
        made.write(job.work, f"moved-{next(numbers):05d}")
    return next(numbers)


def share_of(job: Job, plan: Plan, number: int) -> Iterator[Entry]:
    """The entries that are decided in a share, under their homes."""
    moved = [job.work / f"moved-{each:05d}.index" for each in range(plan.moved)]
    for path in (*_written(job, "index"), *moved):
        for entry in index.entries(index.read_section(path, number, job.sections)):
            home = plan.home(entry.owner)
            if home % job.shares == number:
                yield entry._replace(owner=home) if home != entry.owner else entry


def _written(job: Job, kind: str) -> list[Path]:
    return [
        job.work / f"{step}-{number:05d}.{kind}" for number in range(len(job.pieces)) for step in ("piece", "closer")
    ]


def _section(job: Job, path: Path, which: int) -> Iterator[Entry]:
    return index.entries(index.read_section(path, job.shares + which, job.sections))
