"""The files of an export and their lines.

Files are cut into pieces that are read side by side; packed ones are unpacked first. A line beyond the limit is
never held: only its beginning, which may say whose it is.
"""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO

from bhi_fhir.errors import UsageError
from bhi_fhir.jobs import files
from bhi_fhir.mapping.source import Source

PIECE = 32 * 1024 * 1024
_BLOCK = 1 << 20
KEPT = 1 << 16
"""Of a line that is too long."""
_BOM = b"\xef\xbb\xbf"
_PLAIN = (".ndjson", ".jsonl")
_PACKED = (".gz", ".zst")


@dataclass(frozen=True)
class Listed:
    """One file of the export. `kind`: plain, gz, zst, or "" for one that is not read."""

    name: str
    kind: str
    size: int
    changed: int
    trouble: str = ""
    """Why it is not read, whatever its name."""


def listed(folder: Path) -> list[Listed]:
    """Every file below a folder, by name; hidden ones are not the export's."""
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder: name the folder with the export's NDJSON files")
    named = [(p.relative_to(folder), p) for p in sorted(folder.rglob("*"))]
    seen = [(name, p) for name, p in named if not any(part.startswith(".") for part in name.parts)]
    return [_listed(str(name), p) for name, p in seen if p.is_symlink() or not p.is_dir()]


def _listed(name: str, path: Path) -> Listed:
    told = os.fsencode(name).decode(errors="replace")
    if told != name:
        return Listed(told, "", 0, 0, "its name is no UTF-8, so it is not read")
    if not path.is_file():
        return Listed(name, "", 0, 0, "it is no file, or a link that leads to none, so it is not read")
    stat = path.stat()
    return Listed(name, kind_of(name), stat.st_size, stat.st_mtime_ns)


def kind_of(name: str) -> str:
    """plain, gz, zst, or "" for a file that is not read."""
    stem, dot, last = name.lower().rpartition(".")
    if f"{dot}{last}" in _PACKED:
        return last if stem.endswith(_PLAIN) else ""
    return "plain" if name.lower().endswith(_PLAIN) else ""


def may_hold_lines(name: str) -> bool:
    """A file that is not read but calls itself NDJSON: the half of a download, or packed in another way."""
    return any(plain in name.lower() for plain in _PLAIN)


def unpack(source: Path, kind: str, target: Path) -> str:
    """Unpack a file, as far as it goes; why it goes no further, "" if it is whole."""
    with target.open("wb") as out:
        try:
            with closing(_unpacked(source, kind)) as stream:
                while block := stream.read(_BLOCK):
                    out.write(block)
        except _broken():
            return f"it cannot be unpacked beyond its first {out.tell()} bytes"
        finally:
            out.flush()
            os.fsync(out.fileno())
    return ""


def _unpacked(source: Path, kind: str) -> BinaryIO:
    if kind == "gz":
        return io.BufferedReader(gzip.GzipFile(source), _BLOCK)
    import zstandard  # noqa: PLC0415  # only who has such files

    unpacker = zstandard.ZstdDecompressor()
    return io.BufferedReader(unpacker.stream_reader(source.open("rb"), read_across_frames=True), _BLOCK)


def _broken() -> tuple[type[Exception], ...]:
    """What unpacking raises for a file that is cut off or damaged."""
    if find_spec("zstandard") is None:
        return OSError, EOFError, zlib.error
    import zstandard  # noqa: PLC0415

    return OSError, EOFError, zlib.error, zstandard.ZstdError


def pieces(size: int) -> list[tuple[int, int]]:
    """Where to cut a file: [start, end) of each piece."""
    return [(start, min(start + PIECE, size)) for start in range(0, size, PIECE)]


def lines_of(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, bytes]]:
    """(offset, length, text) of each line that begins in [start, end); of one that is too long the beginning."""
    offset, limit = start, files.MAX_LINE + 2
    stream.seek(max(start - 1, 0))
    if start:
        offset += _rest_of_line(stream) - 1
    while offset < end and (text := stream.readline(limit)):
        length = len(text)
        if length == limit and not text.endswith(b"\n"):
            text = text[:KEPT]
            length += _rest_of_line(stream)
        yield offset, length, text
        offset += length


def _rest_of_line(stream: BinaryIO) -> int:
    """Read to the end of the line; how many bytes that were."""
    length = 0
    while block := stream.readline(_BLOCK):
        length += len(block)
        if block.endswith(b"\n"):
            break
    return length


def source(name: str, number: int, offset: int, length: int, text: bytes) -> Source:
    """A line as `evaluate` would see it."""
    stripped = (text.removeprefix(_BOM) if offset == 0 else text).strip()
    if length > files.MAX_LINE + 1 and len(text) < length:
        said = f"the line is longer than {files.MAX_LINE >> 20} MiB"
        return Source(name, f"line {number}", stripped, trouble=said)
    return Source(name, f"line {number}", stripped)


def held(length: int) -> int:
    """How much of a line is held: of one that is too long the beginning."""
    return length if length <= files.MAX_LINE + 2 else KEPT


def reread(file: int, offset: int, length: int) -> bytes:
    """A line again, from an open file."""
    return os.pread(file, held(length), offset)
