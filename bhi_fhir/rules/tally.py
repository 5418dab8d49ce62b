"""A month's count while it is being made: what counts, and for each piece that does not, one reason."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from bhi_fhir.domain.decision import NotCounted
from bhi_fhir.domain.record import Activity
from bhi_fhir.domain.time import END, Span, length, whole_minutes
from bhi_fhir.domain.value import Value, replace
from bhi_fhir.rules.pieces import Piece
from bhi_fhir.rules.track import window

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


class Unread(Value, frozen=True):
    """Work whose minutes cannot be read, and why. `spans`: where they can lie; None: nobody knows."""

    activity: Activity
    because: str
    spans: tuple[Span, ...] | None

    @classmethod
    def of(cls, activity: Activity, because: str) -> Unread:
        if activity.span:
            return cls(activity, because, (activity.span,))
        if activity.when is None:
            return cls(activity, because, None)
        opens, closes = window(activity.when)
        return cls(activity, because, ((opens, END if activity.duration is None else closes),))

    @property
    def duration(self) -> timedelta | None:
        """How long it would be, where that much can be read."""
        return length(self.spans) if self.activity.span and self.spans else self.activity.duration


@dataclass(slots=True)
class Tally:
    """The month's count while it is being made."""

    pieces: list[Piece] = field(default_factory=list)
    dropped: list[Dropped] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
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
        self.unread.append(Unread.of(activity, because))

    def cut_unread(self, left: Callable[[Unread, tuple[Span, ...]], Iterable[Span]], reason: str) -> None:
        """Work that cannot be read may count only where something is left of the time in which it can lie."""
        unread, self.unread = self.unread, []
        for each in unread:
            if each.spans is None:
                self.unread.append(each)
            elif spans := tuple(left(each, each.spans)):
                self.unread.append(replace(each, spans=spans))
            else:
                self.drop(each.activity, each.duration, reason)

    @property
    def all_dropped(self) -> list[Dropped]:
        """With what cannot be read."""
        return [*self.dropped, *((u.activity.ref, None, "unreadable", u.because) for u in self.unread)]
