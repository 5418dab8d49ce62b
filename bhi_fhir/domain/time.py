"""Instants, partial dates, and the calendar month of the practice.

Every instant is UTC. The site's zone is used only to find a day or a month:
subtracting two local times by the wall clock would win or lose an hour twice a year.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from zoneinfo import ZoneInfo

from msgspec.structs import force_setattr

from bhi_fhir.domain.value import Value

Span = tuple[datetime, datetime]
"""A half-open stretch of time, both ends UTC."""
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)
END = datetime(9999, 12, 30, tzinfo=UTC)


class Moment(Value, frozen=True):
    """A FHIR date or dateTime: when something was, as exactly as the record says.

    An instant has `earliest == latest`. A date covers its local day, a month its local month:
    it lies somewhere in [earliest, latest).
    """

    earliest: datetime
    latest: datetime

    @property
    def exact(self) -> bool:
        return self.earliest == self.latest

    @property
    def within_a_day(self) -> bool:
        """True for an instant or a date; False for a bare month or year (days have up to 25 hours)."""
        return self.latest - self.earliest <= timedelta(hours=25)


class Period(Value, frozen=True):
    """A FHIR Period. A missing end is open; the end's own day or instant is still inside."""

    start: Moment | None = None
    end: Moment | None = None
    opens: datetime = BEGINNING
    closes: datetime = END
    """Both follow from start and end."""

    def __post_init__(self) -> None:
        force_setattr(self, "opens", self.start.earliest if self.start else BEGINNING)
        force_setattr(self, "closes", self.end.latest if self.end else END)

    def holds(self, instant: datetime) -> bool:
        return self.opens <= instant and (
            instant < self.closes or (self.end is not None and self.end.exact and instant == self.closes)
        )

    def meets(self, span: Span) -> bool:
        """True if any of it lies in the half-open span; a period of one instant lies where the instant does."""
        return self.opens < span[1] and (self.closes > span[0] or self.opens == self.closes == span[0])

    def surely_meets(self, span: Span) -> bool:
        """True if some of it lies in the span whatever its dates, where they are a month or a year, stand for."""
        begun = self.start is None or self.start.latest <= span[1]
        return begun and (self.end is None or self.end.earliest >= span[0]) and self.meets(span)


ALWAYS = Period()


class ServiceMonth(Value, frozen=True, order=True):
    """One calendar month in the practice's own time: [first local midnight, the next month's)."""

    index: int
    zone: ZoneInfo
    span: Span = (BEGINNING, END)
    """Follows from the others."""

    def __post_init__(self) -> None:
        force_setattr(self, "span", _month_span(self.index, self.zone))

    @classmethod
    def parse(cls, text: str, zone: ZoneInfo) -> ServiceMonth:
        """ "2026-03" in `zone`; ValueError for anything that is no month."""
        found = re.fullmatch(r"(\d{4})-(\d{2})", text)
        if not found or not 1 <= int(found[2]) <= 12 or not 1900 <= int(found[1]) <= 9000:
            raise ValueError(f"{text!r} is not a month like 2026-03")
        return cls(int(found[1]) * 12 + int(found[2]) - 1, zone)

    @classmethod
    def of(cls, instant: datetime, zone: ZoneInfo) -> ServiceMonth:
        return cls(month_index(instant, zone), zone)

    def shifted(self, months: int) -> ServiceMonth:
        return ServiceMonth(self.index + months, self.zone)

    @property
    def first_day(self) -> date:
        return _first_day(self.index)

    @property
    def last_day(self) -> date:
        return _first_day(self.index + 1) - timedelta(days=1)

    def holds(self, moment: Moment | None) -> bool:
        """True if the moment lies in this month for certain: an instant, a day, or this very month."""
        if moment is None:
            return False
        start, end = self.span
        return start <= moment.earliest and moment.latest <= end and moment.earliest < end

    def may_hold(self, moment: Moment | None) -> bool:
        """True if the moment could lie in this month: it does, or it is not known exactly enough."""
        if moment is None:
            return True
        start, end = self.span
        return self.holds(moment) or (moment.earliest < end and moment.latest > start)

    def __str__(self) -> str:
        return f"{self.index // 12:04d}-{self.index % 12 + 1:02d}"


@cache
def _month_span(index: int, zone: ZoneInfo) -> Span:
    return midnight(_first_day(index), zone), midnight(_first_day(index + 1), zone)


def _first_day(index: int) -> date:
    return date(index // 12, index % 12 + 1, 1)


@lru_cache(4096)
def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The instant at which a local day begins, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def month_index(instant: datetime, zone: ZoneInfo) -> int:
    """The `ServiceMonth.index` of the local month in which an instant lies."""
    local = instant.astimezone(zone)
    return local.year * 12 + local.month - 1


def local_day(instant: datetime, zone: ZoneInfo) -> date:
    return instant.astimezone(zone).date()


def subtract(spans: Iterable[Span], away: Iterable[Span]) -> list[Span]:
    """What is left of `spans` when `away` is cut out of them."""
    left = list(spans)
    for cut_start, cut_end in away:
        kept: list[Span] = []
        for start, end in left:
            if cut_end <= start or end <= cut_start:
                kept.append((start, end))
                continue
            if start < cut_start:
                kept.append((start, cut_start))
            if cut_end < end:
                kept.append((cut_end, end))
        left = kept
    return left


def intersect(spans: Iterable[Span], window: Span) -> list[Span]:
    """The part of `spans` inside `window`."""
    return [(max(s, window[0]), min(e, window[1])) for s, e in spans if s < window[1] and window[0] < e]


def union(spans: Iterable[Span]) -> list[Span]:
    """The same time without overlaps, in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def length(spans: Iterable[Span]) -> timedelta:
    """How long `spans` are together; they must not overlap."""
    return sum((end - start for start, end in spans), timedelta())


def whole_minutes(duration: timedelta) -> int:
    """Whole minutes, rounded down."""
    return duration // timedelta(minutes=1)
