"""A whole run: its steps in their order, its result whole or not there, the same run again at no cost."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from bhi_fhir.delivery.folder import write_whole
from bhi_fhir.domain.record import SetAside
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.bulk.crew import Crew, crew
from bhi_fhir.jobs.bulk.deciding import deciding
from bhi_fhir.jobs.bulk.job import Asked, Job, durable
from bhi_fhir.jobs.bulk.joining import finding_doubles, planning, sharing
from bhi_fhir.jobs.bulk.lines import listed
from bhi_fhir.jobs.bulk.split import looking_closer, splitting, unpacking
from bhi_fhir.jobs.bulk.tally import Tally, add
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.policy.model import RULESET

Told = Callable[[int], None]
Showing = Callable[[str, int], AbstractContextManager[Told]]
"""(what is done, how much of it there is) -> a function that is told how much more is done"""


class Summary(msgspec.Struct):
    """What `summary.json` says. `for_all`: what is withheld from every patient."""

    month: str
    ruleset: str
    fingerprint: str
    files: int
    resources: int
    tally: Tally
    for_all: list[str]

    def json(self) -> bytes:
        return msgspec.json.format(msgspec.json.encode(self, order="sorted")) + b"\n"


TOLD = 10
"""Of what was set aside, the command tells so many."""


@dataclass(frozen=True)
class Done:
    """`again`: it was all there already; `told`: the first of what was set aside."""

    out: Path | str
    summary: Summary
    again: bool
    told: list[SetAside]


def bulk(
    desk: Desk,
    overrides: tuple[str, ...],
    folder: Path,
    out: Path,
    *,
    processes: int,
    today: date,
    showing: Showing,
) -> Done:
    """Decide an export. UsageError if `out` is something else's or another run's, and for what a disk refuses."""
    if out.resolve().is_relative_to(folder.resolve()):
        raise UsageError(f"{out} lies inside the export: name a folder outside of it with --out")
    try:
        return _bulk(Job.ask(desk, overrides, folder, today), folder, out, processes, showing)
    except OSError as error:
        said = f"{error.filename or out}: {error.strerror or 'it cannot be read or written'}"
        raise UsageError(f"{said}. Mend it and run the same command: it goes on from what is done.") from error


def _bulk(asked: Asked, folder: Path, out: Path, processes: int, showing: Showing) -> Done:
    if out.exists() or out.is_symlink():
        return Done(out, _same_run(out, asked), again=True, told=_first(out))
    partial = out.with_name(f"{out.name}.partial")
    with _alone(partial, asked) as job, crew(job, processes) as hands:
        summary = _steps(job, hands, showing)
        if listed(folder) != asked.files:
            said = f"{folder} changed while it was read, and what was decided is of no one state of it"
            raise UsageError(f"{said}: remove {partial} and run again when nobody writes to it")
        _finish(job, summary)
    partial.rename(out)
    return Done(out, summary, again=False, told=_first(out))


def _first(out: Path) -> list[SetAside]:
    with (out / "set-aside.ndjson").open("rb") as lines:
        return [msgspec.json.decode(line, type=SetAside) for line in islice(lines, TOLD)]


def _same_run(out: Path, asked: Asked) -> Summary:
    path = out / "summary.json"
    return same_run(str(out), path.read_bytes() if path.is_file() else b"", asked.fingerprint)


def same_run(out: str, said: bytes, fingerprint: str) -> Summary:
    """What a summary says, if it is this run's."""
    try:
        summary = msgspec.json.decode(said, type=Summary)
    except msgspec.DecodeError:
        summary = None
    if summary is None or summary.fingerprint != fingerprint:
        raise UsageError(f"{out} exists and is not this run's: name another folder with --out, or remove it")
    return summary


@contextmanager
def _alone(partial: Path, asked: Asked) -> Iterator[Job]:
    """The run that was cut off, or a new one; nobody else works on it."""
    partial.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(partial / "lock", timeout=0)
    try:
        with lock:
            yield _begun(partial, asked)
            Path(lock.lock_file).unlink(missing_ok=True)
    except Timeout as error:
        raise UsageError(f"another run writes to {partial}: wait for it, or name another folder with --out") from error


def _begun(partial: Path, asked: Asked) -> Job:
    if (partial / "run.json").exists():
        job = Job.open(partial)
        if job.asked.fingerprint != asked.fingerprint:
            said = f"{partial} is what another run left unfinished: run that one again, or remove the folder"
            raise UsageError(said)
        return job
    job = Job(partial, asked, Desk.open(Path(asked.site), asked.month, asked.overrides))
    job.begin()
    return job


def _steps(job: Job, hands: Crew, showing: Showing) -> Summary:
    def step(name: str, task: Any, number: int, told: Told = lambda _: None) -> list[dict[str, Any]]:
        return hands.step(name, task, range(number), told)

    with showing("reading", sum(each.size for each in job.packed)) as told:
        step("unpacking", unpacking, len(job.packed), lambda n: told(job.packed[n].size))
    sizes = [piece.end - piece.start for piece in job.pieces]
    with showing("reading", sum(sizes)) as told:
        lines = step("splitting", splitting, len(sizes), lambda n: told(sizes[n]))
    step("closer", looking_closer, len(sizes))
    step("shared", sharing, 1)
    step("doubles", finding_doubles, job.shares)
    [plan] = step("planning", planning, 1)
    with showing("deciding", job.shares) as told:
        shares = step("deciding", deciding, job.shares, lambda _: told(1))
    return _summary(job, lines, shares, plan)


def _summary(job: Job, lines: list[dict[str, Any]], shares: list[dict[str, Any]], plan: dict[str, Any]) -> Summary:
    total = Tally()
    for share in shares:
        total.add(msgspec.convert(share, type=Tally))
    for number in range(len(job.pieces)):
        add(total.set_aside, job.result("closer", number)["set_aside"].items())
    add(total.set_aside, job.result("shared", 0)["set_aside"].items())
    add(total.set_aside, ((reason, 1) for _, reason, _ in job.trouble))
    return Summary(
        month=job.asked.month,
        ruleset=RULESET,
        fingerprint=job.asked.fingerprint,
        files=len(job.asked.files),
        resources=sum(piece["lines"] for piece in lines),
        tally=total,
        for_all=[held["reason"] for held in plan["for_all"]],
    )


def _finish(job: Job, summary: Summary) -> None:
    """Everything set aside in one file, the summary, and away with what the steps left for each other."""
    with durable(job.out / "set-aside.ndjson") as out:
        for file, reason, _ in job.trouble:
            out.write(msgspec.json.encode(SetAside(file, "", "", reason)) + b"\n")
        for path in sorted(job.work.glob("*.aside")):
            with path.open("rb") as lines:
                shutil.copyfileobj(lines, out)
    write_whole(job.out / "summary.json", summary.json())
    shutil.rmtree(job.work)
    (job.out / "run.json").unlink()
