"""The month at a glance: one row per patient, as a biller would want it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

import click

from bhi_fhir.domain.decision import Candidate, Decision, Finding
from bhi_fhir.policy import policy

_ADD_ONS = {code.code for code, _ in policy().codes if code.adds_to}
_COLOR = {"billable": "green", "needs-review": "yellow", "charged": "green", "nothing": "red"}
_HEAD = ("patient", "month", "min", "to next", "lines", "status", "first reason")
_NUMBERS = _HEAD.index("min")
_NARROWEST = 24
"""Characters of the last column, also where the page has no room for them."""


def month_table(decisions: Iterable[Decision], month: str, width: int) -> str:
    """Patient, month, minutes counted and missing, code × units, status, the first reason; `width` in characters.

    In colours, which click.echo leaves away where there is no terminal. Made by hand: to import a library for
    tables takes longer than to decide a patient's month.
    """
    rows = [_row(decision, month) for decision in decisions]
    widths = [max(map(len, column)) for column in zip(_HEAD, *rows, strict=True)][:-1]
    indent = sum(widths) + 2 * len(widths)
    lines = [click.style("  ".join((*_aligned(_HEAD, widths), _HEAD[-1])), bold=True)]
    for row in rows:
        *cells, status = _aligned(row, widths)
        reason, *more = textwrap.wrap(row[-1], max(width - indent, _NARROWEST), break_on_hyphens=False) or [""]
        lines.append("  ".join((*cells, click.style(status, fg=_COLOR[status.strip()]), reason)))
        lines += [" " * indent + part for part in more]
    return "\n".join(lines)


def _row(decision: Decision, month: str) -> tuple[str, ...]:
    """The cells under _HEAD."""
    counted, status = str(decision.minutes.counted), status_of(decision)
    cells = (decision.patient, month, counted, _to_next(decision), codes_of(decision) or "-", status)
    return *cells, _reason(decision)


def _reason(decision: Decision) -> str:
    """Where no line names the code that the reason speaks of, the reason does: it may be another than the next."""
    chosen = leading(decision)
    return " ".join((*([chosen.code] if chosen and not decision.lines else []), first_reason(decision)))


def _aligned(row: tuple[str, ...], widths: list[int]) -> list[str]:
    """All cells but the last."""
    cells = enumerate(zip(row, widths, strict=False))
    return [cell.rjust(width) if column == _NUMBERS else cell.ljust(width) for column, (cell, width) in cells]


def status_of(decision: Decision) -> str:
    """The worst status of the month's lines; where there is none, "charged" if a code is already, else "nothing"."""
    found = {line.status for line in decision.lines}
    if not found:
        return "charged" if any(c.charged_by for c in decision.candidates) else "nothing"
    return "needs-review" if "needs-review" in found else "billable"


def _to_next(decision: Decision) -> str:
    """Blank where minutes alone would not help."""
    tier, chosen = decision.minutes.next, leading(decision)
    if tier is None or (chosen and any(f.blocks and f.requirement != "minutes" for f in chosen.findings)):
        return ""
    return f"{tier.missing} to {tier.code}"


def codes_of(decision: Decision) -> str:
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
