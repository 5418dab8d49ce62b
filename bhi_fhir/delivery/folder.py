"""Files for other programs: whole or not there, readable by their owner only."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_whole(path: Path, data: bytes) -> None:
    """By a hidden file beside it, which is synced and renamed. OSError if it cannot be written."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Always the same name: what a crash left behind is written over and not left lying about.
    part = path.with_name(f".{path.name}.part")
    with open(part, "wb", opener=_owner_only) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _sync(path.parent)


def sheet(rows: Iterable[Sequence[str]]) -> str:
    """CSV by RFC 4180. A spreadsheet must not take a cell for a formula, so such a cell gets an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerows([_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def _cell(text: str) -> str:
    return f"'{text}" if text.startswith(_FORMULA) else text


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(folder: Path) -> None:
    """The rename itself: else a power cut may undo it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
