"""What a sync says: the roster first, the month, what was or would be delivered, counts that add up."""

from __future__ import annotations

import json as json_text
import sys
from typing import Any

import msgspec
from rich.console import Console

from bhi_fhir.jobs.roster import Roster
from bhi_fhir.jobs.sync import PatientMonth, Report
from bhi_fhir.jobs.table import show_month


def say_roster(found: Roster) -> None:
    """On standard error, before anything is read."""
    print(f"Roster: {len(found.patients)} patients ({found.source}).", file=sys.stderr, flush=True)  # noqa: T201
    for reason in found.withheld:
        print(f"The roster may not be whole: {reason}", file=sys.stderr, flush=True)  # noqa: T201


def show(console: Console, report: Report) -> None:
    show_month(console, report.decisions, str(report.desk.month))
    console.print(f"\n[bold]{'Delivered' if report.wrote else 'Drafted, not delivered (nothing was looked up)'}[/]")
    said = [f"  {month.patient}: {text}" for month in report.months for text in _lines(month, report.wrote)]
    for text in said or ["  nothing"]:
        console.print(text, highlight=False, markup=False)
    console.print("\n" + ", ".join(f"{count} {name}" for name, count in report.counts().items()))


def _lines(month: PatientMonth, wrote: bool) -> list[str]:
    if month.failed:
        return [f"failed: {month.failed}"]
    remarks = list(month.drafts.remarks) if month.drafts else []
    if wrote:
        done = [" ".join(filter(None, (d.outcome, d.reference or d.resource_type, d.reason))) for d in month.delivered]
        return remarks + done
    drafts = month.drafts.resources if month.drafts else ()
    return remarks + [f"{d.get_resource_type()} {(d.identifier or [])[0].value}" for d in drafts]


def json(report: Report) -> bytes:
    """The decisions and what became of the drafts, for a machine."""
    months: list[dict[str, Any]] = []
    for month in report.months:
        drafts = month.drafts.resources if month.drafts else ()
        months.append(
            {
                "patient": month.patient,
                "decision": msgspec.to_builtins(month.decision),
                "drafts": [json_text.loads(d.model_dump_json()) for d in drafts],
                "delivered": msgspec.to_builtins(month.delivered),
                "failed": month.failed,
            }
        )
    return msgspec.json.encode(
        {
            "month": str(report.desk.month),
            "roster": report.roster,
            "months": months,
            "set_aside": report.set_aside,
            "counts": report.counts(),
        }
    )
