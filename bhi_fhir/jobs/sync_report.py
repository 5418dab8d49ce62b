"""What a sync says: the roster first, the month, what was or would be delivered, counts that add up.

Months are read from the ledger one by one, so that a report of a large roster needs no more memory than a small.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from rich.console import Console
from rich.text import Text

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import SetAside
from bhi_fhir.jobs.month_work import PatientMonth
from bhi_fhir.jobs.roster import Roster
from bhi_fhir.jobs.sync import Report
from bhi_fhir.jobs.table import month_table

_ROWS = 100
"""Of one table: the width of its columns is known only when all of its rows are."""


def say_roster(found: Roster) -> None:
    """On standard error, before anything is read."""
    print(f"Roster: {len(found.patients)} patients ({found.source}).", file=sys.stderr, flush=True)  # noqa: T201
    for reason in found.withheld:
        print(f"The roster may not be whole: {reason}", file=sys.stderr, flush=True)  # noqa: T201
    if not found.patients:
        said = "Nobody is on the roster: see roster.from in site.toml."
        print(said, file=sys.stderr, flush=True)  # noqa: T201


def show(console: Console, report: Report) -> None:
    if report.resumed:
        console.print(f"Gone on with a run that was cut off: {report.resumed} patients had been done.\n")
    decided = (month for month in report.months() if month.decision)
    while rows := [m.decision for m in itertools.islice(decided, _ROWS) if m.decision]:
        show_month(console, rows, str(report.desk.month))
    title = "Delivered" if report.wrote else "Drafted, not delivered; with --write this would happen"
    console.print(f"\n[bold]{title}[/]")
    _print(console, (f"  {text}" for month in report.months() for text in _lines(month)))
    if report.reread:
        console.print(f"\n[bold]Earlier months, decided again[/] ({', '.join(report.reread)})")
        _print(console, (f"  {month.month} {text}" for month in report.late for text in _lines(month)))
    console.print("\n" + ", ".join(f"{count} {name}" for name, count in report.counts().items()))


def show_month(console: Console, decisions: Iterable[Decision], month: str) -> None:
    console.print(Text.from_ansi(month_table(decisions, month, console.width)), soft_wrap=True)


def _print(console: Console, texts: Iterator[str]) -> None:
    first = next(texts, None)
    for text in itertools.chain([first or "  nothing"], texts):
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def _lines(month: PatientMonth) -> list[str]:
    done = [
        " ".join(filter(None, (d.outcome, d.reference or f"{d.resource_type} {d.identifier}", d.code, d.reason)))
        for d in month.delivered
    ]
    failed = [f"failed: {month.failed}"] if month.failed else []
    return [f"{month.patient}: {text}" for text in (*month.remarks, *done, *failed)]


def json(report: Report) -> Iterator[bytes]:
    """The decisions and what became of the drafts, for a machine: pieces of one JSON object."""
    head = msgspec.json.encode({"month": str(report.desk.month), "roster": report.roster, "wrote": report.wrote})
    yield head[:-1] + b',"months":['
    set_aside: list[SetAside] = []
    for number, month in enumerate(report.months()):
        set_aside += month.set_aside
        yield (b"," if number else b"") + msgspec.json.encode(month)
    tail: dict[str, Any] = {"earlier": report.late, "set_aside": set_aside, "counts": report.counts()}
    yield b"]," + msgspec.json.encode(tail)[1:] + b"\n"
