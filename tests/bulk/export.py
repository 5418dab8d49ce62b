"""Exports for tests: resources as folders of NDJSON, decided by bulk and, as one file, by evaluate."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from bhi_fhir.domain.record import SetAside
from bhi_fhir.drafts.plain import plain_drafts
from bhi_fhir.jobs.bulk.run import Done, bulk
from bhi_fhir.jobs.bulk.trace import read_traces
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.evaluate import evaluate

Resource = dict[str, Any]
SITE = Path(__file__).parents[2] / "mappings" / "sites" / "example"


@contextmanager
def silent(_: str, __: int) -> Iterator[Callable[[int], None]]:
    yield lambda _: None


@dataclass
class Answers:
    """Decisions and drafts by patient, as bytes; what was set aside, without its places."""

    decisions: dict[str, bytes]
    drafts: list[bytes]
    aside: list[tuple[str, str]]


def write(folder: Path, files: dict[str, Iterable[str | bytes]]) -> Path:
    """A file for each name, a line for each text."""
    for name, lines in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines))
    return folder


def texts(resources: Iterable[Resource]) -> list[str]:
    return [json.dumps(r) for r in resources]


def scattered(lines: list[str], seed: int) -> dict[str, Iterable[str | bytes]]:
    """The lines in any order, in any number of files."""
    dice = random.Random(seed)
    mixed = dice.sample(lines, len(lines))
    names = [f"{dice.choice(['', 'a/', 'b/c/'])}part-{number}.ndjson" for number in range(dice.randint(1, 5))]
    files: dict[str, list[str | bytes]] = {name: [] for name in names}
    for line in mixed:
        files[dice.choice(names)].append(line)
    return {name: found for name, found in files.items() if found}


def run(
    folder: Path,
    out: Path,
    desk: Desk,
    processes: int = 1,
    overrides: tuple[str, ...] = (),
    today: date | None = None,
) -> Done:
    today = today or desk.month.last_day
    return bulk(desk, overrides, folder, out, processes=processes, today=today, showing=silent)


def by_bulk(folder: Path, out: Path, desk: Desk, overrides: tuple[str, ...] = ()) -> Answers:
    done = run(folder, out, desk, overrides=overrides)
    found = [pair for path in sorted(out.glob("decisions-*")) for pair in read_traces(str(path), desk.month)]
    assert len({d.patient for d, _ in found}) == len(found) == done.summary.tally.patients
    drafts = sorted(line for path in out.glob("drafts-*") for line in path.read_bytes().splitlines())
    aside = [msgspec.json.decode(line, type=SetAside) for line in (out / "set-aside.ndjson").read_bytes().splitlines()]
    assert done.summary.tally.set_aside == _counted(each.reason for each in aside)
    return Answers({d.patient: msgspec.json.encode(d) for d, _ in found}, drafts, _told(aside))


def by_evaluate(lines: list[str], path: Path, desk: Desk) -> Answers:
    path.write_text("".join(f"{line}\n" for line in lines))
    done = evaluate(desk, [str(path)])
    asked = draft_run(desk, desk.month.last_day)
    made = [plain_drafts(r.decision, r.chart, asked) for r in done.results]
    drafts = sorted(msgspec.json.encode(resource) for each in made for resource in (*each.charge_items, *each.claims))
    decisions = {r.decision.patient: msgspec.json.encode(r.decision) for r in done.results}
    return Answers(decisions, drafts, _told(done.set_aside))


def _told(aside: Iterable[SetAside]) -> list[tuple[str, str]]:
    return sorted((each.resource, each.reason) for each in aside)


def _counted(reasons: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for reason in reasons:
        counts[reason] = counts.get(reason, 0) + 1
    return counts
