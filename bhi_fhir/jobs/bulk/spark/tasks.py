"""What the tasks do: batches of Arrow in, batches of Arrow out.

What is held is a batch of lines and one patient, as in the local engine. Marks are signed here, as Spark's longs are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from io import BytesIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import pyarrow as pa

from bhi_fhir.domain.record import Withheld
from bhi_fhir.jobs.bulk import deciding
from bhi_fhir.jobs.bulk.deciding import Files, Room, batches, decide, set_too_large_aside, uncollected
from bhi_fhir.jobs.bulk.lines import held, kind_of, lines_of, source, unpack
from bhi_fhir.jobs.bulk.owners import IGNORED, SHARED, Closer, glance, identifiers, look_closer, mark
from bhi_fhir.jobs.bulk.tally import Tally, add
from bhi_fhir.jobs.bulk.withholding import shortened
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source
from bhi_fhir.views.patient import Patient

SURVEYED = pa.schema(
    {"what": pa.string(), "a": pa.int64(), "b": pa.int64(), "place": pa.int32(), "number": pa.int64(),
     "text": pa.binary()}
)  # fmt: skip
CARRIED = pa.schema({"owner": pa.int64(), "key": pa.binary(), "identifier": pa.binary()})
OWNED = pa.schema(
    {"home": pa.int64(), "name": pa.int64(), "place": pa.int32(), "number": pa.int64(), "length": pa.int64(),
     "text": pa.binary()}
)  # fmt: skip
DECIDED = pa.schema({"what": pa.string(), "line": pa.string()})
_ROWS, _BYTES = 4096, 4 * 1024 * 1024
"""Of a batch on its way back."""

Batches = Iterable[pa.RecordBatch]
_T_co = TypeVar("_T_co", covariant=True)


class Shared(Protocol[_T_co]):
    """What the driver has given to every task: a Broadcast."""

    @property
    def value(self) -> _T_co: ...


class Line(NamedTuple):
    """`place`: of its file among all; `text`: of a line that is too long the beginning."""

    place: int
    number: int
    length: int
    text: bytes


class Unpacked(NamedTuple):
    """After the lines of a packed file: how many they were, and why there are no more of them."""

    place: int
    lines: int
    broken: str


@dataclass(frozen=True)
class Places:
    """The files by place; the place of each by its URL; how many lines stand before each block of a file."""

    names: list[str]
    of: dict[str, int]
    before: dict[tuple[str, int], int]

    def source(self, line: Line) -> Source:
        # Only of the first line its offset matters: a byte order mark may stand before it.
        return source(self.names[line.place], line.number, line.number - 1, line.length, line.text)


# -- reading ----------------------------------------------------------------------------------------

Read = Callable[[Places, Batches], Iterator[Line | Unpacked]]


def blocks(places: Places, found: Batches) -> Iterator[Line]:
    """(URL, block, length, text) of lines as Spark reads them: those of a block in order."""
    block, place, number = None, 0, 0
    for url, start, length, text in _rows(found):
        if block != (url, start):
            block = url, start
            place, number = places.of[url], places.before[block]
        number += 1
        yield Line(place, number, length, text)


def packed(places: Places, found: Batches) -> Iterator[Line | Unpacked]:
    """(URL, content) of packed files: unpacked on the task's own disk, as the local engine does."""
    for url, content in _rows(found):
        place, number = places.of[url], 0
        with TemporaryDirectory(prefix="bhi-fhir-") as folder:
            here, plain = Path(folder) / "packed", Path(folder) / "plain"
            here.write_bytes(content)
            broken = unpack(here, kind_of(places.names[place]), plain)
            with plain.open("rb", buffering=1 << 20) as stream:
                for number, (_, length, text) in enumerate(lines_of(stream, 0, plain.stat().st_size), 1):
                    yield Line(place, number, length, text)
        yield Unpacked(place, number, broken)


def _rows(found: Batches) -> Iterator[tuple[Any, ...]]:
    for batch in found:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _arrow(made: Iterable[tuple[Any, ...]], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The last column is the heavy one."""
    batch: list[tuple[Any, ...]] = []
    size = 0
    for row in made:
        batch.append(row)
        size += len(row[-1])
        if size >= _BYTES or len(batch) == _ROWS:
            yield _record_batch(batch, schema)
            batch, size = [], 0
    if batch:
        yield _record_batch(batch, schema)


def _record_batch(batch: list[tuple[Any, ...]], schema: pa.Schema) -> pa.RecordBatch:
    columns = [pa.array(column, field.type) for column, field in zip(zip(*batch, strict=True), schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _mark(name: str) -> int:
    unsigned = mark(name)
    return unsigned - (1 << 64) if unsigned >> 63 else unsigned


# -- what must be known before anybody is decided -----------------------------------------------------


def survey(read: Read, places: Shared[Places], found: Batches) -> Iterator[pa.RecordBatch]:
    """Rows of what the lines say beyond their own patient.

    name    a: a resource's mark, b: its owner's       for_all  text: what is withheld from everybody, of one block
    tie     a, b: owners who are one                   aside    text: a line that is set aside
    asked   a: owner, text: an identifier that it bears tally    text: of what is set aside
    shared  text: staff or an organization             packed   a: lines of a packed file, text: why there are no more
    """
    with uncollected():
        yield from _arrow(_survey(places.value, read(places.value, found)), SURVEYED)


def _survey(places: Places, lines: Iterable[Line | Unpacked]) -> Iterator[tuple[Any, ...]]:
    tally, begun, last = Tally(), (0, 0), (-1, 0)
    for_all: list[Withheld] = []
    for line in lines:
        if isinstance(line, Unpacked):
            yield "packed", line.lines, 0, line.place, 0, line.broken.encode()
            continue
        if (line.place, line.number - 1) != last:
            yield from _for_all(begun, for_all)
            begun, for_all = (line.place, line.number), []
        last = line.place, line.number
        owner, name, found = _look(places.source(line))
        for_all = shortened([*for_all, *found.for_all]) if found.for_all else for_all
        add(tally.set_aside, ((each.reason, 1) for each in found.set_aside))
        yield from _said(line, owner, name, found)
    yield from _for_all(begun, for_all)
    if tally.set_aside:
        yield "tally", 0, 0, 0, 0, msgspec.json.encode(tally)


def _for_all(begun: tuple[int, int], held_back: list[Withheld]) -> Iterator[tuple[Any, ...]]:
    if held_back:
        yield "for_all", 0, 0, *begun, msgspec.json.encode(held_back)


def _look(line: Source) -> tuple[str, str, Closer]:
    """(owner, name, what else it says); "" is nobody."""
    if not line.json:
        return "", "", _NOTHING
    if not line.trouble and (seen := glance(bytes(line.json))):
        return *seen, _NOTHING
    found = look_closer(line)
    return found.owner, found.name, found


_NOTHING = Closer()


def _said(line: Line, owner: str, name: str, found: Closer) -> Iterator[tuple[Any, ...]]:
    if owner == SHARED:
        yield "shared", 0, 0, line.place, line.number, line.text
    elif owner and owner != IGNORED and name:
        yield "name", _mark(name), _mark(owner), 0, 0, b""
    for other in found.same:
        yield "tie", _mark(owner), _mark(other), 0, 0, b""
    for identifier in found.asked:
        yield "asked", _mark(owner), 0, 0, 0, identifier.encode(errors="surrogatepass")
    for each in found.set_aside:
        yield "aside", 0, 0, line.place, line.number, msgspec.json.encode(each)


def carriers(read: Read, places: Shared[Places], found: Batches) -> Iterator[pa.RecordBatch]:
    """Every Patient's identifiers."""
    yield from _arrow(_carriers(places.value, read(places.value, found)), CARRIED)


def _carriers(places: Places, lines: Iterable[Line | Unpacked]) -> Iterator[tuple[Any, ...]]:
    for line in lines:
        if isinstance(line, Unpacked) or b"Patient" not in line.text:
            continue
        read = places.source(line)
        owner, name, _ = _look(read)
        if not name.startswith("Patient/") or not owner:
            continue
        for key, row in Record.read([read]).of_type(Patient):
            for identifier in identifiers(row):
                yield _mark(key), *(text.encode(errors="surrogatepass") for text in (key, identifier))


# -- deciding ---------------------------------------------------------------------------------------


@dataclass
class Given:
    """What deciding needs beside the lines. `homes`: of tied owners, under which mark they are decided."""

    desk: Desk
    created: date
    places: Places
    staff: list[Line]
    for_all: list[Withheld]
    homes: dict[int, int]

    @cached_property
    def room(self) -> Room:
        """Made once by each process."""
        staff = Record.read(map(self.places.source, self.staff))
        return Room(self.desk, draft_run(self.desk, self.created), staff, self.for_all)


def owned(read: Read, given: Shared[Given], found: Batches) -> Iterator[pa.RecordBatch]:
    """Patients' lines, with where they are decided."""
    yield from _arrow(_owned(given.value, read(given.value.places, found)), OWNED)


def _owned(given: Given, lines: Iterable[Line | Unpacked]) -> Iterator[tuple[Any, ...]]:
    for line in lines:
        if isinstance(line, Unpacked):
            continue
        owner, name, _ = _look(given.places.source(line))
        if owner in ("", SHARED, IGNORED):
            continue
        whose = _mark(owner)
        yield given.homes.get(whose, whose), _mark(name), *line


def decided(given: Shared[Given], found: Batches) -> Iterator[pa.RecordBatch]:
    """Lines as `owned` gives them, sorted by home, file and number -> lines of decisions, drafts, set-aside, tally."""
    with uncollected():
        yield from _arrow(_decided(given.value, _rows(found)), DECIDED)


def _decided(given: Given, lines: Iterable[tuple[Any, ...]]) -> Iterator[tuple[str, bytes]]:
    tally, files = Tally(), Files(BytesIO(), BytesIO(), BytesIO())
    for batch in batches(_patients(given.places, lines, tally, files)):
        decide(given.room, batch, tally, files)
        yield from _emptied(files)
    yield from _emptied(files)
    yield "tally", msgspec.json.encode(tally)


def _patients(
    places: Places, lines: Iterable[tuple[Any, ...]], tally: Tally, files: Files
) -> Iterator[tuple[int, list[tuple[int, Source]]]]:
    """(bytes, lines) of each patient; of one who has too many no more than the limit is held."""
    for home, theirs in groupby(lines, itemgetter(0)):
        kept: list[tuple[int, Line]] = []
        size = count = 0
        first: Line | None = None
        for _, name, *rest in theirs:
            line = Line(*rest)
            first = first or line
            count, size = count + 1, size + held(line.length)
            if count > deciding.MAX_RESOURCES or size > deciding.MAX_BYTES:
                kept.clear()
            else:
                kept.append((name % (1 << 64), line))  # the local engine's order: by mark, unsigned, then by place
        if first and not kept:
            set_too_large_aside(places.source(first), tally, files)
        else:
            yield size, [(home, places.source(line)) for _, line in sorted(kept)]


def _emptied(files: Files) -> Iterator[tuple[str, bytes]]:
    written = {"decisions": files.decisions, "drafts": files.drafts, "set-aside": files.aside}
    for what, stream in written.items():
        stream.seek(0)
        yield from ((what, line.removesuffix(b"\n")) for line in stream)
        stream.seek(0)
        stream.truncate()
