"""A month's entries, sorted by what can become of them, and the pieces of work that count."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import force_setattr

from bhi_fhir.domain.record import Activity
from bhi_fhir.domain.time import BEGINNING, Span, length
from bhi_fhir.domain.value import Value
from bhi_fhir.rules.track import BHI_KINDS, OWN_SERVICES

WORK = BHI_KINDS | {"psychiatric-review"}
"""Every kind of BHI work, timed or not."""


class Piece(Value, frozen=True):
    """Work of the month that counts: exact stretches, or a duration somewhere in its day."""

    activity: Activity
    spans: tuple[Span, ...] = ()
    floating: timedelta = timedelta()
    begins: datetime = BEGINNING
    ends: datetime = BEGINNING
    counted: timedelta = timedelta()
    """The last three follow from the others."""

    def __post_init__(self) -> None:
        spans, when = self.spans, self.activity.when
        if spans:
            begins, ends = spans[0][0], spans[-1][1]
            counted = ends - begins if len(spans) == 1 else length(spans)
        else:
            assert when is not None
            begins = ends = when.earliest
            counted = self.floating
        force_setattr(self, "begins", begins)
        force_setattr(self, "ends", ends)
        force_setattr(self, "counted", counted)


class Entries(Value, frozen=True):
    """A month's entries, sorted by what can become of them whoever did them."""

    unplaced: tuple[Activity, ...]
    """No map knows what they are."""
    never: tuple[tuple[Activity, str], ...]
    """No BHI time, and why."""
    whole: tuple[Piece, ...]
    """Work that counts whole where it counts: it lies in the month, and nobody did anything else in its time."""
    work: tuple[Activity, ...]
    """All other work."""
    last_work: datetime | None
    """When the last BHI work of the month began that was done."""

    @property
    def moments(self) -> list[datetime]:
        """When work began that may count, the latest first."""
        work = [*(piece.activity for piece in self.whole), *self.work]
        return sorted({entry.when.earliest for entry in work if entry.when}, reverse=True)


def sort_out(found: list[Activity], month: Span, taken: list[Span]) -> Entries:
    """`taken`: the time of other services, whoever did them."""
    unplaced, never, whole, work = [], [], [], []
    last: datetime | None = None
    for entry in found:
        if not entry.kinds:
            if entry.duration is not None or entry.trouble:
                unplaced.append(entry)
            continue
        if entry.state == "done" and entry.kinds & WORK and "administrative" not in entry.kinds:
            begun = entry.when.earliest if entry.when else None
            if begun and month[0] <= begun < month[1] and (last is None or last < begun):
                last = begun
        if reason := _never_time(entry):
            never.append((entry, reason))
        elif span := _own_time(entry, month, taken):
            whole.append(Piece(entry, (span,)))
        elif entry.duration is not None or entry.trouble:
            work.append(entry)  # else it is evidence that documents no time
    return Entries(tuple(unplaced), tuple(never), tuple(whole), tuple(work), last)


def _own_time(entry: Activity, month: Span, taken: list[Span]) -> Span | None:
    """The time of what was done from beginning to end in the month, and stands for nothing else."""
    span = entry.span
    if span is None or entry.state != "done" or entry.trouble or entry.inside is not None:
        return None
    if span[0] < month[0] or month[1] < span[1]:
        return None
    for start, end in taken:
        if start < span[1] and span[0] < end:
            return None
    return span


def _never_time(activity: Activity) -> str:
    """Why an entry is no BHI time, whoever did it; "" if it may be."""
    if activity.state == "not-done":
        return "not-finished"
    if "administrative" in activity.kinds:
        return "administrative"
    return "other-service" if activity.billing_codes or activity.kinds & OWN_SERVICES else ""
