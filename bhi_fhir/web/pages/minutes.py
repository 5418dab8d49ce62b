"""The month's minutes as a bar against the tiers of its codes."""

from __future__ import annotations

from dataclasses import dataclass

from bhi_fhir.jobs.explain_tiers import tiers
from bhi_fhir.jobs.telling import Told, count
from bhi_fhir.rules import thresholds

_WIDTH = 720
_LEAST_GAP = 180
"""So far apart stand two labels at least; else the later one goes to the next row."""


@dataclass(frozen=True)
class Mark:
    """A tier. `missing` 0: reached. `x` in the drawing, `row` of its label."""

    code: str
    at: int
    missing: int
    x: float
    row: int


@dataclass(frozen=True)
class Bar:
    """`missing`: what the nearest tier lacks, as a sentence; "" where no more minutes lift a code."""

    counted: int
    filled: float
    marks: tuple[Mark, ...]
    missing: str

    width = _WIDTH

    @property
    def said(self) -> str:
        reached = [f"{m.code} at {m.at} is reached" for m in self.marks if not m.missing]
        ahead = [f"{m.code} at {m.at} lacks {m.missing}" for m in self.marks if m.missing]
        return f"{count(self.counted, 'minute')} counted; {'; '.join([*reached, *ahead]) or 'no tier'}."

    @property
    def height(self) -> int:
        return 44 + 16 * (1 + max((m.row for m in self.marks), default=0))


def bar(told: Told) -> Bar:
    done = told.decision.minutes.counted
    ahead = tiers(told)
    found = sorted({*_reached(told, done), *((t.at, t.code) for t in ahead)})
    most = max([*(at for at, _ in found), done, 1])
    scale = (_WIDTH - 8) / (most * 1.06)
    marks, ends = [], list[float]()
    for at, code in found:
        x = at * scale
        row = next((i for i, end in enumerate(ends) if x - end >= _LEAST_GAP), len(ends))
        ends[row : row + 1] = [x]
        marks.append(Mark(code, at, max(0, at - done), x, row))
    missing = f"{count(ahead[0].missing, 'more minute')} to {ahead[0].code}" if ahead else ""
    return Bar(done, done * scale, tuple(marks), missing)


def _reached(told: Told, done: int) -> set[tuple[int, str]]:
    """The thresholds of the month's lines and of the code whose minutes these are."""
    found: set[tuple[int, str]] = set()
    lines = {line.code: line.units for line in told.decision.lines}
    for candidate in told.decision.candidates:
        code = told.code(candidate)
        if not told.shares_count(candidate) or not code.minutes:
            continue
        if not code.adds_to:
            at = thresholds.needed(code, told.switches)
            if at <= done and (candidate.code in lines or candidate == told.nearest):
                found.add((at, code.code))
        for base in (told.rules.codes[each] for each in code.adds_to if each in lines):
            units = range(1, lines.get(code.code, 0) + 1)
            found |= {(thresholds.unit_at(base, code, unit, told.switches), code.code) for unit in units}
    return found
