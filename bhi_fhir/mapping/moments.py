"""FHIR dates and dateTimes to `domain.time.Moment`, in the site's zone where the text has none."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from bhi_fhir.domain.time import ALWAYS, Moment, Period, midnight
from bhi_fhir.views.common import PeriodPart

_DATE = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2}))?)?", re.ASCII)
_INSTANT = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::(?P<seconds>\d{2})(?:\.\d+)?)?(?P<zone>Z|[+-]\d{2}:?\d{2})?",
    re.ASCII,
)
_KEPT = 100_000
_YEARS = range(1800, 9000)
_USUAL = {"--T::-:", "--T::+:", "--T::Z"}
"""Every third character from the fifth on, of 2026-03-02T08:30:00-06:00 and with Z."""
_USUAL_LENGTHS = (25, 20)
_SENTINEL = re.compile(r"(0001|9999)-")
"""What other systems write where nothing is known: 0001-01-01, 9999-12-31."""


class Clock:
    """Reads dates for one site and remembers which had to be read in the site's own zone."""

    def __init__(self, zone: ZoneInfo) -> None:
        self.zone = zone
        self.assumed = 0
        """How many dateTimes had no zone and were read in the site's."""
        self._seen: dict[str, Moment | None] = {}
        self._periods: dict[tuple[str | None, str | None], Period] = {}

    def moment(self, text: str | None) -> Moment | None:
        """A Moment, or None where the text is missing or no date at all."""
        if not text:
            return None
        if text in self._seen:
            return self._seen[text]
        try:
            found = self._read(text.strip())
        except (ValueError, OverflowError):
            found = None
        if len(self._seen) < _KEPT:
            self._seen[text] = found
        return found

    def period(self, part: PeriodPart | None) -> Period:
        if part is None:
            return ALWAYS
        key = part.start, part.end
        found = self._periods.get(key)
        if found is None:
            found = Period(self.moment(part.start), self.moment(part.end))
            if len(self._periods) < _KEPT:
                self._periods[key] = found
        return found

    def can_read(self, text: str | None) -> bool:
        """False for a date that is given and is none; the sentinels of other systems are no date and mean none."""
        return not text or self.moment(text) is not None or _SENTINEL.match(text) is not None

    def can_read_period(self, part: PeriodPart | None) -> bool:
        return part is None or (self.can_read(part.start) and self.can_read(part.end))

    def _read(self, text: str) -> Moment:
        if len(text) <= 10:
            return self._partial(text)
        if text[4::3] in _USUAL and len(text) in _USUAL_LENGTHS and "1800" <= text[:4] < "9000" and text[17] != "6":
            instant = datetime.fromisoformat(text).astimezone(UTC)
            return Moment(instant, instant)
        found = _INSTANT.fullmatch(text)
        if not found or int(text[:4]) not in _YEARS:
            raise ValueError(text)
        leap = found["seconds"] == "60"  # a legal FHIR instant and no Python one
        instant = datetime.fromisoformat(text.replace(":60", ":59", 1) if leap else text)
        if not found["zone"]:
            self.assumed += 1
            instant = instant.replace(tzinfo=self.zone)
        instant = instant.astimezone(UTC) + timedelta(seconds=leap)
        return Moment(instant, instant)

    def _partial(self, text: str) -> Moment:
        found = _DATE.fullmatch(text)
        if not found or int(found[1]) not in _YEARS:
            raise ValueError(text)
        year, month, day = int(found[1]), found[2], found[3]
        if day:
            first = date(year, int(month), int(day))
            after = first + timedelta(days=1)
        elif month:
            first = date(year, int(month), 1)
            after = date(year + int(month) // 12, int(month) % 12 + 1, 1)
        else:
            first, after = date(year, 1, 1), date(year + 1, 1, 1)
        return Moment(midnight(first, self.zone), midnight(after, self.zone))
