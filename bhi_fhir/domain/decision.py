"""What was decided of one patient's month, in the shape in which it is printed.

The field names are the JSON of `bhi-fhir evaluate --format json`; minutes and units are whole numbers.
"""

from __future__ import annotations

from datetime import date
from typing import Literal

from bhi_fhir.domain.value import Value

Outcome = Literal["met", "not-met", "unknown"]
Status = Literal["billable", "needs-review", "not-billable"]
Level = Literal["block", "review"]


class Finding(Value, frozen=True):
    """One requirement's answer: what it is, why in one sentence, by which source, on which evidence."""

    requirement: str
    outcome: Outcome
    because: str
    cite: str
    evidence: tuple[str, ...] = ()
    level: Level = "block"

    @property
    def blocks(self) -> bool:
        return self.level == "block" and self.outcome == "not-met"

    @property
    def open(self) -> bool:
        return self.outcome != "met"


class NotCounted(Value, frozen=True):
    """Work, or the part of it, that does not count: whole minutes (None where unreadable) and one reason."""

    source: str
    minutes: int | None
    reason: str
    because: str


class NextTier(Value, frozen=True):
    """The next code that more minutes would reach."""

    code: str
    at: int
    missing: int


class Minutes(Value, frozen=True):
    counted: int = 0
    not_counted: tuple[NotCounted, ...] = ()
    next: NextTier | None = None
    sources: tuple[str, ...] = ()


class Episode(Value, frozen=True):
    """The CoCM episode that the month belongs to."""

    first_month: str
    kind: Literal["initial", "later"]


class Line(Value, frozen=True):
    """What would be drafted (billable) or what a person must look at (needs-review)."""

    code: str
    system: str
    units: int
    status: Status
    practitioner: str | None
    date_of_service: date
    days: tuple[tuple[date, int], ...] = ()
    """For services of a day: the units of each day. Empty for a monthly service."""


ALREADY_CHARGED = "is already charged this month"
"""How a finding of exclusivity ends whose evidence is a charge of the code itself."""


class Candidate(Value, frozen=True):
    """One code with every requirement's finding."""

    code: str
    status: Status
    units: int
    findings: tuple[Finding, ...]

    @property
    def charged_by(self) -> str:
        """The charge of this very code that stands in the month; "" if there is none."""
        against = (f for f in self.findings if f.requirement == "exclusivity" and f.blocks)
        return next((f.evidence[0] for f in against if f.because.endswith(ALREADY_CHARGED)), "")

    @property
    def blocked(self) -> int:
        return sum(f.blocks for f in self.findings)

    @property
    def still_open(self) -> int:
        return sum(f.open for f in self.findings)


class Decision(Value, frozen=True):
    """One patient's calendar month."""

    patient: str
    program: str | None
    episode: Episode | None
    minutes: Minutes
    lines: tuple[Line, ...]
    candidates: tuple[Candidate, ...]
    withheld: tuple[str, ...] = ()
    """What of the record was held back: no finding rests on absence then."""
    warnings: tuple[str, ...] = ()
