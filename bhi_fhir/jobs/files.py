"""Files on the way in: a Bundle, a resource, an array, or NDJSON; `-` is standard input.

A document is read whole up to MAX_DOCUMENT; NDJSON of any size is read line by line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import msgspec

from bhi_fhir.errors import UsageError
from bhi_fhir.mapping.source import Source
from bhi_fhir.views.common import UNREADABLE

MAX_DOCUMENT = 64 * 1024 * 1024
MAX_LINE = 16 * 1024 * 1024
_FIRST_LINES = 100
_KEPT = 1 << 16
"""Of what is too long to be read, this much is kept: it may say its type."""
_BOM = b"\xef\xbb\xbf"


def read_file(name: str) -> list[Source]:
    """The resources of one file with their places, and with its trouble what is none."""
    if name == "-":
        return list(_read(name, sys.stdin.buffer))
    path = Path(name)
    if not path.is_file():
        raise UsageError(f"{name} is no file: name a Bundle, a resource, an array or NDJSON, or - for standard input")
    try:
        with path.open("rb") as stream:
            return list(_read(name, stream))
    except OSError as error:
        raise UsageError(f"{name} cannot be opened: {error.strerror}") from error


def _read(name: str, stream: BinaryIO) -> Iterator[Source]:
    start = stream.read(MAX_DOCUMENT + 1).removeprefix(_BOM)
    if not start.strip():
        yield Source(name, "", b"", trouble="the file is empty")
        return
    if len(start) <= MAX_DOCUMENT:
        yield from _document(name, start)
        return
    if not _is_lines(start):
        said = f"it is one document of more than {MAX_DOCUMENT >> 20} MiB: split it, or give it as NDJSON"
        yield Source(name, "", start[:_KEPT], trouble=said)
        return
    yield from _lines(name, _long(start, stream))


def _document(name: str, data: bytes) -> Iterator[Source]:
    try:
        first = data.lstrip()[:1]
        if first == b"[":
            for index, raw in enumerate(msgspec.json.decode(data, type=list[msgspec.Raw])):
                yield Source(name, f"[{index}]", raw)
            return
        msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        yield Source(name, "", data)
    except UNREADABLE as error:
        if _is_lines(data):
            yield from _lines(name, iter(data.split(b"\n")))
            return
        place = str(error).rpartition("(")[2].rstrip(")") if "byte" in str(error) else ""
        said = f"it is not JSON{f' ({place})' if place else ''}"
        yield Source(name, "", data[:_KEPT], trouble=said)


def _is_lines(data: bytes) -> bool:
    """NDJSON: one of the first lines is a whole resource, and there are others. The first line may be broken."""
    lines = [line for line in islice(BytesIO(data), _FIRST_LINES) if line.strip()]
    return len(lines) > 1 and any(_is_resource(line) for line in lines if len(line) <= MAX_LINE)


def _is_resource(line: bytes) -> bool:
    try:
        return "resourceType" in msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return False


def _long(start: bytes, stream: BinaryIO) -> Iterator[bytes]:
    """Lines of what is read and of what follows; a line beyond the limit comes cut, just over the limit."""
    *whole, rest = start.split(b"\n")
    yield from whole
    while chunk := stream.read(1 << 20):
        *whole, tail = (rest + chunk).split(b"\n")
        yield from whole
        rest = tail
        if len(rest) > MAX_LINE + (1 << 20):
            rest = rest[: MAX_LINE + 1]  # only its length still matters
    yield rest


def _lines(name: str, lines: Iterator[bytes]) -> Iterator[Source]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        if len(text) > MAX_LINE:
            said = f"the line is longer than {MAX_LINE >> 20} MiB"
            yield Source(name, f"line {number}", text[:_KEPT], trouble=said)
        else:
            yield Source(name, f"line {number}", text)
