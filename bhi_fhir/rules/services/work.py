"""What is asked of one related service, and what its work of the month comes to."""

from __future__ import annotations

from datetime import date

from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import Value
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules.answer import Answer

NOT_ASKED = Answer("met", "not asked for")


class Service(Value, frozen=True):
    """One related code, asked of one patient's month."""

    chart: Chart
    code: Code
    month: ServiceMonth
    rules: Rules
    switches: Switches


class Work(Value, frozen=True):
    """What was done for one related code in the month, and what that comes to."""

    sources: tuple[str, ...]
    practitioner: str | None
    units: int
    days: tuple[tuple[date, int], ...] = ()
    performer: Answer = NOT_ASKED
    minutes: Answer = NOT_ASKED
    consent: Answer = NOT_ASKED
    discharge: Answer = NOT_ASKED
    call: Answer = NOT_ASKED
    counted: int = 0
    worked: tuple[date, ...] = ()
    """Of a service of the month: the days on which it was done."""
    reached: date | None = None
    """Of a service of the month: the day on which it was reached."""


def obstacles(work: Work) -> tuple[bool, bool]:
    """Does anything refuse it, is anything unknown? What sorts first is nearest to a line."""
    answers = (work.performer, work.minutes, work.consent, work.discharge, work.call)
    outcomes = {answer.outcome for answer in answers}
    return "not-met" in outcomes, "unknown" in outcomes
