"""A share of the patients: their lines read again, decided and written, a batch at a time.

A batch is one record as `evaluate` reads it, beside the staff of all. Where that would let one patient's lines speak
of another (a contained practitioner, dates without a zone, which are counted, a line that does not say whose it is),
each patient is read alone.
"""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import IO, Any, TypeVar

import msgspec

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, Person, SetAside, Withheld
from bhi_fhir.drafts.plain import plain_drafts
from bhi_fhir.drafts.site import DraftRun
from bhi_fhir.jobs.bulk.index import Entry
from bhi_fhir.jobs.bulk.job import Job, durable
from bhi_fhir.jobs.bulk.joining import Plan, share_of, shared
from bhi_fhir.jobs.bulk.lines import held
from bhi_fhir.jobs.bulk.split import read_again
from bhi_fhir.jobs.bulk.tally import Tally, add
from bhi_fhir.jobs.bulk.trace import trace
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.chart import Charts, charts
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.people import people
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source
from bhi_fhir.views.practitioner import Practitioner
from bhi_fhir.views.practitioner_role import PractitionerRole

Json = dict[str, Any]
Lines = Sequence[tuple[int, Source]]
_L = TypeVar("_L")
MAX_RESOURCES = 20_000
MAX_BYTES = 32 * 1024 * 1024
"""Of one patient."""
_BATCH = 1024 * 1024
_ENCODER = msgspec.json.Encoder()


@dataclass
class Files:
    decisions: IO[bytes]
    drafts: IO[bytes]
    aside: IO[bytes]


def deciding(job: Job, number: int) -> Json:
    with uncollected():
        return _share(job, number)


@contextmanager
def uncollected() -> Iterator[None]:
    """What is decided holds no circles; what is long-lived is not walked through again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.collect()


def _share(job: Job, number: int) -> Json:
    room, tally = _room(job), Tally()
    name = job.share_name(number)
    with (
        durable(job.out / f"decisions-{name}.ndjson") as decisions,
        durable(job.out / f"drafts-{name}.ndjson") as drafts,
        durable(job.work / f"share-{number:05d}.aside") as aside,
    ):
        files = Files(decisions, drafts, aside)
        for batch in _batches(job, number, tally, files):
            decide(room, [(entry.owner, line) for entry, line in read_again(job, batch)], tally, files)
    return msgspec.to_builtins(tally)  # type: ignore[no-any-return]


# -- who is decided together ------------------------------------------------------------------------


def _batches(job: Job, number: int, tally: Tally, files: Files) -> Iterator[list[Entry]]:
    """Whole patients' lines; who has too many is set aside."""
    sizes, lengths = Counter[int](), Counter[int]()
    plan = _plan(job)
    for entry in share_of(job, plan, number):
        sizes[entry.owner] += 1
        lengths[entry.owner] += held(entry.length)
    large = {owner for owner in sizes if sizes[owner] > MAX_RESOURCES or lengths[owner] > MAX_BYTES}
    for owner in sorted(large):
        theirs = (e for e in share_of(job, plan, number) if e.owner == owner)
        [(_, line)] = read_again(job, [min(theirs, key=attrgetter("piece", "line"))])
        set_too_large_aside(line, tally, files)
    entries = sorted(e for e in share_of(job, plan, number) if e.owner not in large)
    patients = groupby(entries, attrgetter("owner"))
    yield from batches((lengths[owner], list(mine)) for owner, mine in patients)


def batches(patients: Iterable[tuple[int, list[_L]]]) -> Iterator[list[_L]]:
    """Whole patients, (bytes, lines) each, until their lines are a batch."""
    batch: list[_L] = []
    size = 0
    for length, lines in patients:
        if size and size + length > _BATCH:
            yield batch
            batch, size = [], 0
        batch += lines
        size += length
    if batch:
        yield batch


def set_too_large_aside(line: Source, tally: Tally, files: Files) -> None:
    """`line`: the patient's first."""
    _set_aside([_too_large(line)], tally, files)


def _too_large(line: Source) -> SetAside:
    patients = {key for key, _ in Record.read([line]).rows.items()}
    said = f"its patient has more than {MAX_RESOURCES} resources or {MAX_BYTES >> 20} MiB, and is not decided"
    return SetAside(line.file, line.at, min(patients, default=""), said)


# -- decided ----------------------------------------------------------------------------------------


class Room:
    """What all batches of a process share. `staff`: and organizations; `for_all`: withheld from everybody."""

    def __init__(self, desk: Desk, drafting: DraftRun, staff: Record, for_all: Sequence[Withheld]) -> None:
        self.desk, self.drafting, self.shared, self.for_all = desk, drafting, staff.beside(), for_all
        self.known = frozenset(for_all)
        self.staff: dict[str, Person] = people(self.shared, self.reading(self.shared, Clock(self.desk.site.zone)))

    def reading(self, record: Record, clock: Clock) -> Reading:
        return Reading(record, self.desk.terms, clock, self.desk.reading, self.desk.month.span)

    def record(self, sources: Iterable[Source]) -> Record:
        """With what is withheld from everybody, and what of these lines holds back besides."""
        record = Record.read(sources, self.shared)
        mine = [(who, part) for who, part in record.withheld if who is not None or part not in self.known]
        record.withheld = [*((None, part) for part in self.for_all), *mine]
        return record

    def speaks_of_all(self, record: Record) -> bool:
        """Does a line hold something back and not say from whom? It is one of these patients'."""
        return any(who is None for who, _ in record.withheld[len(self.for_all) :])

    def knows_staff(self, record: Record) -> bool:
        """Does the record itself speak of no practitioner?"""
        return not any(isinstance(row, Practitioner | PractitionerRole) for _, row in record.own())


_plan = cache(Plan.of)


@cache
def _room(job: Job) -> Room:
    return Room(job.desk, job.drafting, shared(job), _plan(job).for_all)


def decide(room: Room, batch: Lines, tally: Tally, files: Files) -> None:
    """Whole patients, each line with the mark under which its patient is decided, in order."""
    _write(room, _decided(room, batch), tally, files)


def _decided(room: Room, batch: Lines) -> Iterator[Charts]:
    sources = [line for _, line in batch]
    record, clock = room.record(sources), Clock(room.desk.site.zone)
    if room.knows_staff(record) and not room.speaks_of_all(record):
        found = charts(record, room.reading(record, clock), room.staff)
        if not clock.assumed:
            yield found
            return
    for _, mine in groupby(batch, itemgetter(0)):
        yield _alone(room, [line for _, line in mine])


def _alone(room: Room, sources: list[Source]) -> Charts:
    record, clock = room.record(sources), Clock(room.desk.site.zone)
    reading = room.reading(record, clock)
    staff = room.staff if room.knows_staff(record) else room.staff | people(record, reading, room.staff)
    found = charts(record, reading, staff)
    return replace(found, charts=tuple(room.desk.noted(chart, clock) for chart in found.charts))


def _write(room: Room, decided: Iterable[Charts], tally: Tally, files: Files) -> None:
    for found in decided:
        _set_aside(found.set_aside, tally, files)
        for chart in found.charts:
            decision = room.desk.decide_chart(chart)
            tally.take(decision)
            files.decisions.write(trace(decision, chart, room.desk.month))
            _write_drafts(room, decision, chart, tally, files)


def _write_drafts(room: Room, decision: Decision, chart: Chart, tally: Tally, files: Files) -> None:
    if not decision.lines:
        return
    made = plain_drafts(decision, chart, room.drafting)
    for resource in (*made.charge_items, *made.claims):
        add(tally.drafts, [(resource["resourceType"], 1)])
        files.drafts.write(_ENCODER.encode(resource) + b"\n")


def _set_aside(found: Iterable[SetAside], tally: Tally, files: Files) -> None:
    for each in found:
        add(tally.set_aside, [(each.reason, 1)])
        files.aside.write(_ENCODER.encode(each) + b"\n")
