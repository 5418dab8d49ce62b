"""A piece of a file to an index of its lines. First by a glance at each, then by a closer look at the odd ones.

Two steps, because a line's number is known only when the pieces before it have been counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from bhi_fhir.domain.record import Withheld
from bhi_fhir.jobs.bulk import index
from bhi_fhir.jobs.bulk.index import Entry, IndexWriter
from bhi_fhir.jobs.bulk.job import Job, durable
from bhi_fhir.jobs.bulk.lines import lines_of, reread, source, unpack
from bhi_fhir.jobs.bulk.owners import IGNORED, SHARED, glance, look_closer, mark
from bhi_fhir.jobs.bulk.withholding import shortened
from bhi_fhir.mapping.source import Source

Json = dict[str, Any]
_SHARED = mark(SHARED)
_LONGEST = (1 << 32) - 1


def unpacking(job: Job, number: int) -> Json:
    each = job.packed[number]
    return {"broken": unpack(job.folder / each.name, each.kind, job.plain(each))}


def splitting(job: Job, number: int) -> Json:
    """The lines of a piece by owner. How many there are, and how many of them are odd."""
    piece, made = job.pieces[number], IndexWriter(job.shares)
    count = odd = 0
    with piece.path.open("rb", buffering=1 << 20) as stream:
        for count, (offset, length, text) in enumerate(lines_of(stream, piece.start, piece.end), 1):
            seen = glance(text) if text.startswith(b"{") and len(text) == length else None
            if seen is not None:
                _file(made, *seen, Entry(0, 0, number, count, offset, length))
            elif source(piece.file, count, offset, length, text).json:
                odd += 1
                made.put(Entry(0, 0, number, count, offset, min(length, _LONGEST)), index.ODD)
    made.write(job.work, f"piece-{number:05d}")
    return {"lines": count, "odd": odd}


def _file(made: IndexWriter, owner: str, name: str, at: Entry) -> None:
    if owner == IGNORED:
        return
    if owner == SHARED:
        made.put(at._replace(owner=_SHARED), index.SHARED)
        return
    whose = mark(owner)
    what = whose if name == owner else mark(name)
    entry = Entry(whose, what, *at[2:])
    made.put(entry)
    if name:
        made.name(what, whose)
    if name.startswith("Patient/"):
        made.put(entry, index.PATIENTS)


def looking_closer(job: Job, number: int) -> Json:
    """The odd lines of a piece: to their owners, or set aside; and what they hold back from everybody."""
    made, reasons = IndexWriter(job.shares), Counter[str]()
    for_all: list[Withheld] = []
    ties: list[tuple[int, int]] = []
    asked: list[tuple[str, str]] = []
    path = job.work / f"piece-{number:05d}.index"
    odd = index.entries(index.read_section(path, job.shares + index.ODD, job.sections))
    with durable(job.work / f"closer-{number:05d}.aside") as aside:
        for entry, line in read_again(job, odd):
            found = look_closer(line)
            if found.owner:
                _file(made, found.owner, found.name, entry)
            ties += [(mark(found.owner), mark(other)) for other in found.same]
            asked += [(found.owner, identifier) for identifier in found.asked]
            for_all = shortened([*for_all, *found.for_all])
            for each in found.set_aside:
                aside.write(msgspec.json.encode(each) + b"\n")
                reasons[each.reason] += 1
    made.write(job.work, f"closer-{number:05d}")
    return {"for_all": for_all, "ties": ties, "asked": asked, "set_aside": reasons}


def read_again(job: Job, entries: Iterable[Entry]) -> Iterator[tuple[Entry, Source]]:
    """Lines from where they stand. Their numbers are known once all pieces have been counted."""
    pieces, before = job.pieces, job.before
    with job.opened() as opened:
        for entry in entries:
            _, _, piece, line, offset, length = entry
            text = reread(opened(piece), offset, length)
            yield entry, source(pieces[piece].file, before[piece] + line, offset, length, text)
