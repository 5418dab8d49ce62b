"""A month's count while it is being made: what counts, and for each piece that does not, one reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from bhi_fhir.domain.decision import NotCounted
from bhi_fhir.domain.record import Activity
from bhi_fhir.domain.time import whole_minutes
from bhi_fhir.rules.pieces import Piece

NOTHING = timedelta()
BECAUSE = {
    "administrative": "administrative and clerical time never counts",
    "not-on-team": "nobody who did it is on the care team at that time",
    "wrong-role": "this role's time does not count for this program",
    "before-consent": "it lies before the consent",
    "before-visit": "it lies before the initiating visit",
    "after-revocation": "consent had ended by then",
    "overlap": "the same minutes are counted in another entry",
    "not-finished": "it is not finished",
    "other-service": "it is time of another, separately billed service",
    "inpatient": "the patient was in inpatient or observation status (site policy)",
    "outside-month": "this part lies in another month",
    "outside-episode": "it lies outside the episode of care",
    "unreadable": "its time, person or state cannot be read",
}

Dropped = tuple[str, timedelta | None, str, str]
"""Time that does not count: whose, how long (None: unreadable), why, and a sentence where the usual one fails."""


def not_counted(dropped: Iterable[Dropped]) -> list[NotCounted]:
    """As it is told; few of the many counts of a patient's month are."""
    return [
        NotCounted(ref, None if duration is None else whole_minutes(duration), reason, because or BECAUSE[reason])
        for ref, duration, reason, because in dropped
    ]


@dataclass(slots=True)
class Tally:
    """The month's count while it is being made."""

    pieces: list[Piece] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """References of work whose minutes cannot be read."""
    uncertain: list[Piece] = field(default_factory=list)
    """Work that counts only if the consent of that day was given before it."""

    @property
    def counted(self) -> timedelta:
        return sum([p.counted for p in self.pieces], NOTHING)

    @property
    def minutes(self) -> int:
        return whole_minutes(self.counted)

    def drop(self, activity: Activity, duration: timedelta | None, reason: str, because: str = "") -> None:
        """List time that does not count. Nothing is listed for nothing."""
        if duration is None or duration > NOTHING:
            self.dropped.append((activity.ref, duration, reason, because))

    def cannot_read(self, activity: Activity, because: str) -> None:
        self.unread.append(activity.ref)
        self.drop(activity, None, "unreadable", because)
