"""What a run, or a share of it, comes to: all numbers that are shown at its end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bhi_fhir.domain.decision import Decision

Counts = dict[str, int]


@dataclass
class Tally:
    patients: int = 0
    not_whole: int = 0
    """Patients of whose record something is withheld."""
    counted: int = 0
    """Minutes."""
    lines: Counts = field(default_factory=dict)
    """ "99492 billable" -> how many"""
    not_counted: Counts = field(default_factory=dict)
    """reason -> minutes"""
    entries: Counts = field(default_factory=dict)
    """reason -> entries, also where their minutes cannot be read"""
    drafts: Counts = field(default_factory=dict)
    set_aside: Counts = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        self.patients += other.patients
        self.not_whole += other.not_whole
        self.counted += other.counted
        for name in ("lines", "not_counted", "entries", "drafts", "set_aside"):
            add(getattr(self, name), getattr(other, name).items())

    def take(self, decision: Decision) -> None:
        self.patients += 1
        self.not_whole += bool(decision.withheld)
        self.counted += decision.minutes.counted
        add(self.lines, ((f"{line.code} {line.status}", 1) for line in decision.lines))
        add(self.entries, ((piece.reason, 1) for piece in decision.minutes.not_counted))
        add(self.not_counted, ((piece.reason, piece.minutes or 0) for piece in decision.minutes.not_counted))


def add(counts: Counts, more: Iterable[tuple[str, int]]) -> None:
    for name, number in more:
        counts[name] = counts.get(name, 0) + number
