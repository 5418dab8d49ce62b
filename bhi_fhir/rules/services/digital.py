"""Digital mental health treatment: the device's supply, and the month of its management."""

from __future__ import annotations

from datetime import date

from bhi_fhir.domain.record import Activity
from bhi_fhir.domain.time import ServiceMonth, whole_minutes
from bhi_fhir.policy import Rules
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.services.answers import by_switch, performer, short_of
from bhi_fhir.rules.services.entries import day_of, days_worked
from bhi_fhir.rules.services.log import Log, unread
from bhi_fhir.rules.services.work import Service, Work


def managed(rules: Rules) -> set[str]:
    """Codes that an add-on extends over the month."""
    return {base for c in rules.codes.values() if not c.program for base in c.adds_to}


def of_supply(service: Service, log: Log) -> Work:
    entries = [a for mine in log.by_whom.values() for a in mine]
    done = [a for a in entries if a.state == "done"]
    sources = tuple(sorted(a.ref for a in done or entries))
    by = performer(service.chart, log)
    if by.outcome == "met" and not done:
        by = Answer("unknown", "whether the device was supplied cannot be read", sources)
    days = days_worked(done, service.month)[:1]
    return Work(sources, log.only, 1, tuple((day, 1) for day in days), by)


def of_management(service: Service, log: Log) -> Work:
    """The billing practitioner's minutes of the month, never two people's together."""
    code, switches = service.code, service.switches
    by_whom = log.by_whom
    most = max(sorted(by_whom), key=lambda who: log.time(by_whom[who]))
    entries = by_whom[most]
    done = whole_minutes(log.time(entries))
    everything = [a for mine in by_whom.values() for a in mine]
    base = service.rules.codes[code.adds_to[0]] if code.adds_to else code
    assert base.minutes is not None
    first = thresholds.needed(base, switches)
    if code.adds_to:
        units = thresholds.each(code, done - base.minutes.full, switches)
        at = base.minutes.full + thresholds.needed(code, switches)
    else:
        units, at = int(done >= first), first
    said = f"{done} of {at} minutes of the billing practitioner are counted{by_switch(code, switches)}"
    said += log.left_out(everything)
    answer = Answer("met", said, log.sources)
    if not units:
        answer = short_of(service.chart, said, unread(everything), log.sources, everything, not code.adds_to)
    reached = at + (units - 1) * code.minutes.full if units and code.minutes else None
    return Work(
        sources=log.sources,
        practitioner=log.only,
        units=units or int(answer.outcome == "unknown" and not code.adds_to),
        performer=performer(service.chart, log),
        minutes=answer,
        counted=done,
        worked=days_worked(entries, service.month),
        reached=None if reached is None else _day_of_minute(reached, entries, log, service.month),
    )


def _day_of_minute(minutes: int, entries: list[Activity], log: Log, month: ServiceMonth) -> date | None:
    """The day on which the time of the month comes to so many minutes."""
    for day in days_worked(entries, month):
        until = [a for a in entries if (done := day_of(a, month)) and done <= day]
        if whole_minutes(log.time(until)) >= minutes:
            return day
    return None
