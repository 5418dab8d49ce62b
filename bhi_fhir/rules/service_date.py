"""The date of service of a line (switch A6): never after death or the end of coverage."""

from __future__ import annotations

from datetime import date, timedelta

from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth, local_day
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.course import Course
from bhi_fhir.rules.last_days import last_days, undated_death
from bhi_fhir.rules.services.work import Work


def date_of_service(
    chart: Chart,
    month: ServiceMonth,
    code: Code,
    course: Course,
    units: int,
    rules: Rules,
    switches: Switches,
) -> date:
    """One local day of the month; the day of death or of the end of coverage where all work lies `beyond` it."""
    if switches.date_of_service == "last_day_of_month" and not last_days(chart, month):
        return month.last_day
    worked = sorted(local_day(p.begins, month.zone) for p in course.pieces)
    reached = day_reached(month, code, course, units, rules, switches)
    return _day(chart, month, worked, reached, switches)


def day_reached(
    month: ServiceMonth, code: Code, course: Course, units: int, rules: Rules, switches: Switches
) -> date | None:
    """The day on which the counted time came to so many units of the code; None if it never did."""
    return _threshold_day(course, month, _needed(code, course, units, rules, switches))


def date_of_related(chart: Chart, month: ServiceMonth, work: Work, switches: Switches) -> date:
    """The last day of a service of a day; a service of the month is dated like a monthly line."""
    if work.days:
        return min([work.days[-1][0], *last_days(chart, month).values()])
    return _day(chart, month, list(work.worked), work.reached, switches)


def _day(chart: Chart, month: ServiceMonth, worked: list[date], reached: date | None, switches: Switches) -> date:
    """`worked` in order; `reached`: when the threshold was met."""
    wanted = month.last_day
    if worked and (switches.date_of_service == "last_service" or undated_death(chart, month)):
        wanted = worked[-1]  # nothing says that the patient lived any longer
    elif switches.date_of_service == "threshold_met" and worked:
        wanted = reached or worked[-1]
    limit = min(last_days(chart, month).values(), default=wanted)
    if wanted <= limit:
        return wanted
    before = [day for day in worked if day <= limit]
    return before[-1] if before else limit


def _needed(code: Code, course: Course, units: int, rules: Rules, switches: Switches) -> int:
    if not code.adds_to:
        return thresholds.needed(code, switches)
    first = course.first_month in (None, rules.month)
    wanted = "initial" if first else "later"
    base = next(b for b in code.adds_to if rules.codes[b].episode_month == wanted)
    return thresholds.unit_at(rules.codes[base], code, units, switches)


def _threshold_day(course: Course, month: ServiceMonth, at: int) -> date | None:
    missing = timedelta(minutes=at)
    for piece in sorted(course.pieces, key=lambda p: (p.begins, p.activity.ref)):
        for start, end in piece.spans:
            if end - start >= missing:  # the minute that ends at midnight is still of the day before
                return local_day(start + missing - timedelta(microseconds=1), month.zone)
            missing -= end - start
        missing -= piece.floating
        if missing <= timedelta():
            return local_day(piece.begins, month.zone)
    return None
