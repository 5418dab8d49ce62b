"""Lines that hold each other: each carries the SHA-256 of the line before it.

A line is `{"prev":"<64 hex digits>","event":{AuditEvent}}` and a newline. Its hash is over all its bytes, the
newline too: `sed -n 7p FILE | sha256sum` shows the `prev` of line 8. The very first `prev` is 64 zeros.

The chain of `audit.ndjson` is written to `audit-2026-10.ndjson`, one file a calendar month (UTC); the first line
of a month goes on from the last line of the file before. One process at a time appends (`audit.ndjson.lock`).

A line that was cut off (power, kill) has no newline. Whoever appends next moves its bytes to
`audit-2026-10.ndjson.torn`, and an event with their number and SHA-256 is chained where they stood.

What the files alone cannot show: that lines at the end are missing, or that the very last line was changed. For
that, keep `head(path)` elsewhere and give it to `verify`.
"""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from io import FileIO
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bhi_fhir.errors import UsageError

Event = Mapping[str, Any]

_START = "0" * 64
_BLOCK = 65_536
_WAIT_S = 60.0
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


class AuditError(UsageError):
    """The audit file cannot be written or read: the message names it."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ended when somebody looked: the hash of a file's line `line`, counted from 1."""

    file: str
    line: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Break:
    """Where the chain does not hold, and one sentence on what that means."""

    file: str
    line: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A whole chain: its number of lines, where it ends, and everywhere that it does not hold."""

    lines: int
    head: Head | None
    breaks: tuple[Break, ...]


def append(path: Path, now: datetime, events: Sequence[Event], marker: Callable[[bytes], Event]) -> None:
    """Appends the events by one write: when this returns they are on the disk.

    `marker` makes the event for a line that was cut off. Raises AuditError; then none of the events counts as
    written.
    """
    with _told(path), _alone(path):
        files = _files(path)
        torn = _set_aside(files[-1]) if files else b""
        # Never into a file before the newest one, should the clock go back.
        target = max([*files, path.with_stem(f"{path.stem}-{now.astimezone(UTC):%Y-%m}")])
        _write(target, _chained([marker(torn), *events] if torn else events, _last_hash(files)))


def verify(path: Path, kept: Head | None = None) -> Checked:
    """Reads every line of every file. `kept`: the head of an earlier check, whose line must still stand there.

    Needs no lock and no right to write. Raises AuditError if a file cannot be read.
    """
    with _told(path):
        return _check(_filled(path), kept)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except Timeout:
        why = f"another process has held its lock for {_WAIT_S:.0f} seconds"
    except OSError as error:
        why = error.strerror or type(error).__name__
    else:
        return
    raise AuditError(f"The audit file {path} cannot be used: {why}. Nothing is sent while it cannot be written.")


# -- appending --------------------------------------------------------------------------------------


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    path.parent.stat()  # FileLock would make the folder, and hide that the audit's disk is not mounted
    with FileLock(f"{path}.lock", mode=0o600).acquire(timeout=_WAIT_S, poll_interval=0.01):
        yield


def _chained(events: Sequence[Event], prev: str) -> bytes:
    lines = []
    for event in events:
        # "replace": half a surrogate pair from somewhere must not make a line that JSON parsers refuse.
        line = f'{{"prev":"{prev}","event":{_encode(event)}}}\n'.encode("utf-8", "replace")
        prev = sha256(line).hexdigest()
        lines.append(line)
    return b"".join(lines)


def _write(target: Path, data: bytes) -> None:
    new = not target.exists()
    with FileIO(target, "ab", opener=_private) as file:
        before = file.seek(0, os.SEEK_END)
        try:
            _write_whole(file, data)
        except OSError:
            with suppress(OSError):  # a full disk: take back what was begun, the caller still has the events
                file.truncate(before)
            raise
    if new:
        _sync_folder(target.parent)


def _write_whole(file: FileIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _set_aside(file: Path) -> bytes:
    """Moves a line that was cut off to the `.torn` file; returns its bytes."""
    with FileIO(file, "r+b") as whole:
        _, torn = _ending(whole)
        if torn:
            with FileIO(f"{file}.torn", "ab", opener=_private) as aside:
                _write_whole(aside, torn + b"\n")
            whole.truncate(whole.seek(0, os.SEEK_END) - len(torn))
            os.fsync(whole.fileno())
    return torn


def _last_hash(files: Sequence[Path]) -> str:
    """What the next line goes on from; a run that was killed may have left a new file empty."""
    for file in reversed(files):
        with FileIO(file) as opened:
            line, _ = _ending(opened)
        if line:
            return sha256(line).hexdigest()
    return _START


def _ending(file: FileIO) -> tuple[bytes, bytes]:
    """The last whole line with its newline, and the bytes after it; reads from the end only."""
    at, read = file.seek(0, os.SEEK_END), b""
    while at and read.count(b"\n") < 2:
        size = min(at, _BLOCK)
        at = file.seek(at - size)
        read = file.read(size) + read
    whole, newline, torn = read.rpartition(b"\n")
    return whole.rpartition(b"\n")[2] + newline, torn


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync_folder(folder: Path) -> None:
    """So that a power cut does not lose the new file's name."""
    with suppress(PermissionError):  # Windows opens no folders
        fd = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


# -- checking ---------------------------------------------------------------------------------------


def _check(files: Sequence[Path], kept: Head | None) -> Checked:
    breaks: list[Break] = []
    count, end, prev = 0, None, _START
    for file, number, line in _lines(files):
        if not line.endswith(b"\n"):
            breaks.append(Break(file.name, number, _TORN))
            continue
        if not line.startswith(f'{{"prev":"{prev}","event":{{'.encode()):
            breaks.append(Break(file.name, number, _FIRST if number == 1 else _BROKEN))
        prev = sha256(line).hexdigest()
        count, end = count + 1, Head(file.name, number, prev)
        if kept and (kept.file, kept.line) == (file.name, number):
            breaks += [] if kept == end else [Break(file.name, number, _CHANGED)]
            kept = None
    if kept:
        breaks.append(Break(kept.file, kept.line, _MISSING))
    return Checked(count, end, tuple(breaks))


_BROKEN = "It does not go on from the line before: one of the two was changed, or lines were removed, added or moved."
_FIRST = "It does not go on from the end of an earlier file: that file or this line was changed, removed or moved."
_TORN = "It is not finished: a run is writing it now, or was cut off, and the next run sets it aside."
_CHANGED = "It is not the line whose hash was kept: it, or one before it, was changed."
_MISSING = "Its hash was kept, and it is not there any more: the end was cut off, or the file was moved."


def _lines(files: Sequence[Path]) -> Iterator[tuple[Path, int, bytes]]:
    for file in files:
        with file.open("rb") as opened:
            for number, line in enumerate(opened, 1):
                yield file, number, line


def _files(path: Path) -> list[Path]:
    """The chain's files, oldest first."""
    month = "-[0-9][0-9][0-9][0-9]-[0-9][0-9]"
    return sorted(path.parent.glob(f"{glob.escape(path.stem)}{month}{glob.escape(path.suffix)}"))


def _filled(path: Path) -> list[Path]:
    return [file for file in _files(path) if file.stat().st_size]
