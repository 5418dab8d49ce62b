"""The related services: consultation, referral, safety planning, crisis calls, digital treatment.

None of them shares minutes with BHI, and each is for its own day or month.
"""

from __future__ import annotations

from bhi_fhir.domain.record import Activity, Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import replace
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.last_days import beyond, last_days, undated_death
from bhi_fhir.rules.services.crisis import of_calls
from bhi_fhir.rules.services.days import of_days
from bhi_fhir.rules.services.digital import managed, of_management, of_supply
from bhi_fhir.rules.services.entries import day_of, days_worked, entries_of
from bhi_fhir.rules.services.log import Log
from bhi_fhir.rules.services.work import Service, Work, obstacles

__all__ = ["Work", "related"]


def related(chart: Chart, code: Code, month: ServiceMonth, rules: Rules, switches: Switches) -> Work | None:
    """The month's work for one related code; None if there is none.

    What was done after death or the end of coverage is left out, unless nothing else could be charged.
    """
    service = Service(chart, code, month, rules, switches)
    entries, limits = entries_of(service), last_days(chart, month)
    too_late = {day for day in days_worked(entries, month) if beyond(limits, [day])}
    timely = [a for a in entries if day_of(a, month) not in too_late]
    said = beyond(limits, sorted(too_late))
    found = [_work(service, timely)] if timely else []
    if said:
        found = [_without_late(work, said) for work in found]
        found.append(_too_late(_work(service, entries), said))
    if undated := undated_death(chart, month):
        found = [_perhaps_too_late(work, undated) for work in found]
    return min(found, key=obstacles, default=None)


def _work(service: Service, entries: list[Activity]) -> Work:
    code = service.code
    if code.activity == ("crisis-follow-up",):
        return of_calls(service, entries)
    log = Log.of(service, entries)
    if code.minutes is None:
        return of_supply(service, log)
    if code.adds_to or code.code in managed(service.rules):
        return of_management(service, log)
    return of_days(service, log)


def _without_late(work: Work, late: Answer) -> Work:
    """What else was done came too late: each answer about who did it or how often says so."""
    said = f"; more is left out: {late.because}"
    return replace(
        work,
        performer=replace(work.performer, because=work.performer.because + said),
        call=replace(work.call, because=work.call.because + said),
    )


def _perhaps_too_late(work: Work, said: str) -> Work:
    doubt = Answer("unknown", said, work.sources)
    sure = {"performer": work.performer, "call": work.call}
    return replace(work, **{name: doubt for name, answer in sure.items() if answer.outcome == "met"})


def _too_late(work: Work, late: Answer) -> Work:
    said = replace(late, evidence=work.sources)
    return replace(work, performer=said, call=said, days=(), worked=(), reached=None)
