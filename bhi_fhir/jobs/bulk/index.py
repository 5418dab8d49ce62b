"""Where lines stand: files in sections, a section for each share of the patients and a few for the rest.

table   8 bytes for each section: where it ends
entries one after the other
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from struct import Struct
from typing import NamedTuple

from bhi_fhir.delivery.folder import write_whole

ENTRY = Struct("<QQIIQI")
NAME = Struct("<QQ")
SHARED, PATIENTS, ODD = range(3)
BESIDE = 3
"""Sections after the shares: staff and the like; Patient resources once more; lines that want a closer look."""


class Entry(NamedTuple):
    """Sorts by owner, name and place. `owner`, `name`: their marks; `piece`: of which file."""

    owner: int
    name: int
    piece: int
    line: int
    offset: int
    length: int


def write_sections(path: Path, sections: Sequence[bytes | bytearray]) -> None:
    ends, end = array("Q"), 0
    for section in sections:
        end += len(section)
        ends.append(end)
    write_whole(path, b"".join([ends.tobytes(), *sections]))


def read_section(path: Path, number: int, of: int) -> bytes:
    with path.open("rb") as stream:
        stream.seek(max(number - 1, 0) * 8)
        ends = array("Q", stream.read(16 if number else 8))
        start = ends[0] if number else 0
        stream.seek(of * 8 + start)
        return stream.read(ends[-1] - start)


def entries(data: bytes) -> Iterator[Entry]:
    return map(Entry._make, ENTRY.iter_unpack(data))


def names(data: bytes) -> Iterator[tuple[int, int]]:
    """(name, owner)"""
    return NAME.iter_unpack(data)


class IndexWriter:
    """Gathers entries, and which name stands under which owner."""

    def __init__(self, shares: int) -> None:
        self._shares = shares
        self._sections = [bytearray() for _ in range(shares + BESIDE)]
        self._names = [bytearray() for _ in range(shares)]

    def put(self, entry: Entry, section: int | None = None) -> None:
        """Into the owner's share, or one of the other sections."""
        number = entry.owner % self._shares if section is None else self._shares + section
        self._sections[number] += ENTRY.pack(*entry)

    def name(self, name: int, owner: int) -> None:
        self._names[name % self._shares] += NAME.pack(name, owner)

    def write(self, folder: Path, what: str) -> None:
        write_sections(folder / f"{what}.names", self._names)
        write_sections(folder / f"{what}.index", self._sections)
