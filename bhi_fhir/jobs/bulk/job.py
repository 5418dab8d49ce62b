"""What one run is about: written down at its beginning, so that each process and each later attempt has the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache, cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import msgspec

from bhi_fhir.delivery.folder import write_whole
from bhi_fhir.drafts.site import DraftRun
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.bulk import index
from bhi_fhir.jobs.bulk.lines import Listed, listed, may_hold_lines, pieces
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.fingerprint import fingerprint as fingerprint_of

SHARE = 16 * 1024 * 1024
"""Of the export, for each share of the patients."""


Trouble = tuple[str, str, bool]
"""(file, why it is not read or not to its end, may it have held something of anybody?)"""


class Asked(msgspec.Struct, frozen=True):
    """What was asked for. `created` dates the Claims: the day on which the run began."""

    site: str
    month: str
    overrides: list[str]
    folder: str
    files: list[Listed]
    created: date
    fingerprint: str
    """Of the program, the site, the month and the files: the same run has the same."""


@dataclass(frozen=True)
class Piece:
    """Lines that begin in [start, end) of a file. `path`: where it stands unpacked."""

    file: str
    path: Path
    start: int
    end: int


@dataclass(eq=False)
class Job:
    out: Path
    """Where everything is written until it is whole."""
    asked: Asked
    desk: Desk

    @classmethod
    def ask(cls, desk: Desk, overrides: tuple[str, ...], folder: Path, today: date) -> Asked:
        files = listed(folder)
        check(files, str(folder))
        return Asked(
            str(desk.folder.resolve()), str(desk.month), list(overrides), str(folder.resolve()), files, today,
            fingerprint(desk, files),
        )  # fmt: skip

    @classmethod
    def open(cls, out: Path) -> Job:
        asked = msgspec.json.decode((out / "run.json").read_bytes(), type=Asked)
        return cls(out, asked, Desk.open(Path(asked.site), asked.month, asked.overrides))

    def begin(self) -> None:
        self.work.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(self.out / "run.json", msgspec.json.encode(self.asked))

    @property
    def work(self) -> Path:
        return self.out / "work"

    @cached_property
    def drafting(self) -> DraftRun:
        return draft_run(self.desk, self.asked.created)

    @property
    def folder(self) -> Path:
        return Path(self.asked.folder)

    def result(self, step: str, number: int) -> dict[str, Any]:
        """What a task of an earlier step found."""
        found: dict[str, Any] = msgspec.json.decode(self.path_of(step, number).read_bytes())
        return found

    def path_of(self, step: str, number: int) -> Path:
        return self.work / f"{step}-{number:05d}.json"

    @contextmanager
    def opened(self) -> Iterator[Callable[[int], int]]:
        """Opens the file of a piece for reading, each file once."""
        with ExitStack() as stack:
            opened = cache(lambda path: stack.enter_context(path.open("rb", buffering=0)).fileno())
            yield cache(lambda number: opened(self.pieces[number].path))

    @cached_property
    def packed(self) -> list[Listed]:
        return [each for each in self.asked.files if each.kind in ("gz", "zst")]

    @cached_property
    def pieces(self) -> list[Piece]:
        """Known once what is packed is unpacked."""
        return [
            Piece(each.name, path, *cut)
            for each in self.asked.files
            if each.kind
            for path in [self.plain(each)]
            for cut in pieces(path.stat().st_size)
        ]

    def plain(self, each: Listed) -> Path:
        if each.kind == "plain":
            return self.folder / each.name
        return self.work / f"unpacked-{self.packed.index(each):05d}"

    @cached_property
    def shares(self) -> int:
        """Into how many shares the patients are cut: by the size of the export and nothing else."""
        return sum(piece.end - piece.start for piece in self.pieces) // SHARE + 1

    @cached_property
    def trouble(self) -> list[Trouble]:
        broken = [self.result("unpacking", number)["broken"] for number in range(len(self.packed))]
        return troubles(self.asked.files, zip((each.name for each in self.packed), broken, strict=True))

    def share_name(self, number: int) -> str:
        return f"{number + 1:05d}-of-{self.shares:05d}"

    @property
    def sections(self) -> int:
        return self.shares + index.BESIDE

    @cached_property
    def before(self) -> list[int]:
        """For each piece, how many lines of its file stand before it."""
        found, file, lines = [], "", 0
        for number, piece in enumerate(self.pieces):
            lines = lines if piece.file == file else 0
            file = piece.file
            found.append(lines)
            lines += self.result("splitting", number)["lines"]
        return found


def check(files: Sequence[Listed], folder: str) -> None:
    """UsageError for a folder without NDJSON, or with files that cannot be unpacked here."""
    if not any(each.kind for each in files):
        raise UsageError(f"{folder} holds no NDJSON (files named .ndjson or .jsonl, also with .gz or .zst)")
    if any(each.kind == "zst" for each in files) and find_spec("zstandard") is None:
        raise UsageError(f"{folder} holds .zst files: pip install 'bhi-fhir[bulk]'")


def fingerprint(desk: Desk, files: Sequence[Listed]) -> str:
    """The same for the same program, site, month and files."""
    return hashlib.sha256(msgspec.json.encode([fingerprint_of(desk), str(desk.month), files])).hexdigest()


def troubles(files: Iterable[Listed], broken: Iterable[tuple[str, str]]) -> list[Trouble]:
    """`broken`: packed files, and why they cannot be unpacked to their end, "" if they can."""
    found = [(each.name, _unread(each), bool(each.trouble) or may_hold_lines(each.name)) for each in files]
    found += [(name, reason, True) for name, reason in broken]
    return [each for each in found if each[1]]


def _unread(each: Listed) -> str:
    if each.trouble:
        return each.trouble
    if not each.kind:
        return "its name does not end in .ndjson or .jsonl (.gz, .zst), so it is not read"
    return "" if each.size else "the file is empty"


@contextmanager
def durable(path: Path) -> Iterator[IO[bytes]]:
    """A new file for its owner only; on disk when it is closed."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        yield out
        out.flush()
        os.fsync(out.fileno())
