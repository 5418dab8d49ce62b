"""Which entries are of a service: its kind, its month, and no minute of another service's."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

from bhi_fhir.domain.record import Activity, Chart
from bhi_fhir.domain.time import ServiceMonth, Span, intersect, local_day, union
from bhi_fhir.domain.value import replace
from bhi_fhir.policy import Code
from bhi_fhir.rules.services.work import Service
from bhi_fhir.rules.track import OWN_SERVICES

_VERBAL, _WRITTEN = "interprofessional-consultation", "interprofessional-consultation-written"
"""A consultation with both reports is the verbal one."""
_CHARGED = OWN_SERVICES - {"dmht-interactive-contact", "dmht-device-use"}
"""Kinds with a code of their own; the others are what a code requires beside its time."""
SHARED = "the same minutes are recorded for two related services, and only one may count them"


def entries_of(service: Service) -> list[Activity]:
    """What may count for the code; where two services share the minutes, they cannot be read."""
    chart, code, month = service.chart, service.code, service.month
    busy = _busy(chart, month)
    return [
        replace(a, trouble=SHARED) if _is_shared(a, busy) else a
        for a in chart.activities
        if _kinds(a) & set(code.activity) and _may_count(a) and _of_month(a, code, month)
    ]


def _kinds(activity: Activity) -> frozenset[str]:
    return activity.kinds - {_WRITTEN} if _VERBAL in activity.kinds else activity.kinds


def _may_count(activity: Activity) -> bool:
    return activity.state != "not-done" and "administrative" not in activity.kinds


def _of_month(activity: Activity, code: Code, month: ServiceMonth) -> bool:
    """It began in the month, or the minutes that the code counts reach into it."""
    if activity.when is None:
        return bool(activity.trouble)
    span = activity.span if code.minutes else None
    return month.holds(activity.when) or (span is not None and span[0] < month.span[0] < span[1])


def _busy(chart: Chart, month: ServiceMonth) -> dict[tuple[str, str], list[Span]]:
    """When in the month each person did each kind of related service."""
    found: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for entry in chart.activities:
        if entry.span and _may_count(entry):
            for kind in _kinds(entry) & _CHARGED:
                for person in entry.people:
                    found[person, kind] += intersect([entry.span], month.span)
    return {key: union(spans) for key, spans in found.items()}


def _is_shared(activity: Activity, busy: dict[tuple[str, str], list[Span]]) -> bool:
    """Do its minutes stand for two related services, in this entry or in another of the same person?"""
    mine, span = _kinds(activity) & _CHARGED, activity.span
    if len(mine) > 1 or span is None:
        return len(mine) > 1
    return any(
        start < span[1] and span[0] < end
        for kind in _CHARGED - mine
        for person in activity.people
        for start, end in busy.get((person, kind), ())
    )


# -- days -------------------------------------------------------------------------------------------


def day_of(activity: Activity, month: ServiceMonth) -> date | None:
    """The day on which its part in the month began."""
    return local_day(max(activity.when.earliest, month.span[0]), month.zone) if activity.when else None


def days_worked(entries: list[Activity], month: ServiceMonth) -> tuple[date, ...]:
    return tuple(sorted({day for a in entries if (day := day_of(a, month))}))
