"""The month at a glance: one row per patient, as a biller would want it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bhi_fhir.domain.decision import Candidate, Decision, Finding
from bhi_fhir.policy import policy

_ADD_ONS = {code.code for code, _ in policy().codes if code.adds_to}
_COLOR = {"billable": "green", "needs-review": "yellow", "nothing": "red"}


def month_table(decisions: Iterable[Decision], month: str) -> Table:
    """Patient, month, minutes counted and missing, code × units, status, the first reason."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name, options in (
        ("patient", {"no_wrap": True}),
        ("month", {"no_wrap": True}),
        ("min", {"justify": "right"}),
        ("to next", {"no_wrap": True}),
        ("lines", {"no_wrap": True}),
        ("status", {"no_wrap": True}),
        ("first reason", {"ratio": 1}),
    ):
        table.add_column(name, **options)
    for decision in decisions:
        status = status_of(decision)
        table.add_row(
            decision.patient,
            month,
            str(decision.minutes.counted),
            _to_next(decision),
            _lines(decision) or "-",
            Text(status, style=_COLOR[status]),
            Text(first_reason(decision)),
        )
    return table


def status_of(decision: Decision) -> str:
    """The worst status of the month's lines; "nothing" where there is none."""
    found = {line.status for line in decision.lines}
    if not found:
        return "nothing"
    return "needs-review" if "needs-review" in found else "billable"


def _to_next(decision: Decision) -> str:
    """Blank where minutes alone would not help."""
    tier, chosen = decision.minutes.next, leading(decision)
    if tier is None or (chosen and any(f.blocks and f.requirement != "minutes" for f in chosen.findings)):
        return ""
    return f"{tier.missing} to {tier.code}"


def _lines(decision: Decision) -> str:
    return ", ".join(f"{line.code} × {line.units}" for line in decision.lines)


def first_reason(decision: Decision) -> str:
    """What stands in the way, or, where nothing does, the finding on the minutes."""
    chosen = leading(decision)
    if chosen is None:
        return "no care team, no work"
    stop = next((f for f in chosen.findings if f.blocks), None) or next((f for f in chosen.findings if f.open), None)
    return (
        _sentence(stop) if stop else _sentence(next((f for f in chosen.findings if f.requirement == "minutes"), None))
    )


def leading(decision: Decision) -> Candidate | None:
    """The candidate of the first line, else the one with the fewest requirements that block."""
    if decision.lines:
        first = decision.lines[0].code
        return next(c for c in decision.candidates if c.code == first)
    near = decision.minutes.next.code if decision.minutes.next else ""
    alone = [c for c in decision.candidates if c.code not in _ADD_ONS]
    return min(alone, key=lambda c: (c.blocked, c.code != near), default=None)


def _sentence(finding: Finding | None) -> str:
    return f"{finding.requirement}: {finding.because}" if finding else ""


def show_month(console: Console, decisions: Iterable[Decision], month: str) -> None:
    console.print(month_table(decisions, month))
