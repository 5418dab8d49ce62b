"""The last days on which something can be charged: the patient lived, and was covered."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from bhi_fhir.domain.decision import Outcome
from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth, local_day
from bhi_fhir.rules.answer import Answer

DEATH, COVERAGE = "the patient's death", "the end of coverage"


def last_days(chart: Chart, month: ServiceMonth) -> dict[str, date]:
    """The last day on which the patient lived, and was covered; without what lasts beyond the month."""
    ends = {}
    if chart.died is not None:
        ends[DEATH] = local_day(chart.died.latest - timedelta(microseconds=1) if not chart.died.exact
                                else chart.died.earliest, month.zone)  # fmt: skip
    covers = [c for c in chart.covers if c.period.meets(month.span)]
    medicare = [c for c in covers if c.medicare] or covers
    if medicare and all(c.period.end for c in medicare):
        ends[COVERAGE] = max(local_day(c.period.closes - timedelta(microseconds=1), month.zone) for c in medicare)
    return ends


def undated_death(chart: Chart, month: ServiceMonth) -> str:
    """That the patient died, perhaps before the month's last work, and no day is known; "" otherwise."""
    died = chart.died
    if died is None or died.within_a_day or died.earliest >= month.span[1] or died.latest <= month.span[0]:
        return ""
    return "the patient has died, and nothing readable says on which day"


def beyond(limits: dict[str, date], days: Iterable[date]) -> Answer | None:
    """Nothing is done for the dead (not-met); a coverage may have been renewed (unknown). None if a day is in time.

    `limits`: see `last_days`.
    """
    first = min(days, default=None) if limits else None
    for what, last in limits.items():
        if first and first > last:
            outcome: Outcome = "not-met" if what == DEATH else "unknown"
            return Answer(outcome, f"it was done after {what} ({last})")
    return None
