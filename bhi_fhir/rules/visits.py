"""Which initiating visits open BHI, for certain and possibly.

MLN909432, What Is Behavioral Health Integration?; Switches A11 (one year) and A12 (psychiatric evaluation).
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

from bhi_fhir.domain.record import Chart, Visit
from bhi_fhir.domain.time import END, ServiceMonth, Span, local_day, midnight
from bhi_fhir.domain.value import Value
from bhi_fhir.policy import Rules, Switches

Opening = tuple[Span, Visit]
"""The stretch in which the first counted work may begin, and the visit that opens it."""


class Openings(Value, frozen=True):
    certain: tuple[Opening, ...]
    possible: tuple[Opening, ...]

    def first(self, spans: list[Span]) -> tuple[datetime, Visit] | None:
        """The earliest instant of `spans` at which work may begin, and by which visit."""
        return _first(self.certain, spans)

    def opened_before(self, instant: datetime) -> bool:
        """Is work that begins at this instant surely opened?"""
        return any(window[0] <= instant < window[1] for window, _ in self.certain)

    def perhaps(self, spans: list[Span]) -> tuple[datetime, Visit] | None:
        return _first(self.possible, spans)


def openings(
    chart: Chart,
    opened_by: frozenset[str],
    billers: tuple[str, ...],
    month: ServiceMonth,
    rules: Rules,
    switches: Switches,
) -> Openings:
    """Qualifying visits by a billing practitioner up to the end of the month.

    `opened_by`: as `policy.Code.opened_by`.
    """
    certain: list[Opening] = []
    possible: list[Opening] = []
    end_of_month = month.span[1]
    for visit in chart.visits:
        sure = _qualifies(visit, opened_by, switches)
        by = bool(visit.people & set(billers))
        if sure is False or (visit.people and billers and not by):
            continue  # nobody's visit is ruled out where nothing says who bills
        if visit.when is None or visit.when.earliest >= end_of_month:
            if visit.when is None:
                possible.append(((datetime.min.replace(tzinfo=end_of_month.tzinfo), END), visit))
            continue
        first, last = visit.when.earliest, visit.when.latest
        closes = _closes(local_day(first, month.zone), month, rules, switches)
        if sure and by and last < closes:  # whenever on that day, or in that month, it was: after it the work is opened
            certain.append(((last, closes), visit))
        if not (sure and by and visit.when.exact):
            last_day = local_day(max(first, last - timedelta(microseconds=1)), month.zone)
            possible.append(((first, _closes(last_day, month, rules, switches)), visit))
    return Openings(tuple(sorted(certain, key=_order)), tuple(sorted(possible, key=_order)))


def _order(opening: Opening) -> tuple[Span, str]:
    return opening[0], opening[1].ref


def _qualifies(visit: Visit, opened_by: frozenset[str], switches: Switches) -> bool | None:
    if "unplaced" in visit.groups:
        return None
    if opened_by:
        if "initiating-visit-psychiatric" not in visit.groups:
            return False
        if visit.codes & opened_by:
            return True
        return True if switches.psych_eval_qualifies_for == "all" else None
    if "initiating-visit" in visit.groups:
        return True
    if "initiating-visit-psychiatric" in visit.groups:
        return True if switches.psych_eval_qualifies_for == "all" else None
    return None


def _closes(day: date, month: ServiceMonth, rules: Rules, switches: Switches) -> datetime:
    """The end of the last day on which work may begin: the same calendar day a year later."""
    if switches.initiating_visit_scope == "any_time":
        return END
    year = day.year + rules.values["initiating_visit_years"]
    try:
        last = day.replace(year=year)
    except ValueError:
        last = date(year, 2, 28)
    if (last.month, last.day) == (2, 28) and (last + timedelta(days=1)).day == 29:
        last += timedelta(days=1)  # 29 February's same day a year earlier is the 28th
    return midnight(last + timedelta(days=1), month.zone)


def _first(found: tuple[Opening, ...], spans: list[Span]) -> tuple[datetime, Visit] | None:
    first: tuple[datetime, Visit] | None = None
    for (opens, closes), visit in found:
        for start, end in spans:
            if (start < closes and opens < end) or (start == end and opens <= start < closes):
                begins = start if start > opens else opens
                if first is None or begins < first[0] or (begins == first[0] and visit.ref < first[1].ref):
                    first = begins, visit
    return first
