"""Services of a day: consultation, referral, safety planning. The minutes of one person on one day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import date, timedelta

from bhi_fhir.domain.record import Activity, Role
from bhi_fhir.domain.time import ServiceMonth, Span, local_day, midnight, whole_minutes
from bhi_fhir.policy import Code, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.permission import permission
from bhi_fhir.rules.services.answers import by_switch, performed, short_of
from bhi_fhir.rules.services.entries import day_of, days_worked
from bhi_fhir.rules.services.log import Log, unread
from bhi_fhir.rules.services.work import NOT_ASKED, Service, Work, obstacles
from bhi_fhir.rules.track import in_stretch, places_on

_DAY = timedelta(days=1)


def of_days(service: Service, log: Log) -> Work:
    """What was done by somebody who may bill, with consent, comes first; else the best of the rest."""
    known = [a for mine in log.by_person.values() for a in mine]
    agreed = [a for a in known if _consent(service, log, [a]).outcome == "met"]
    found = [
        _work(service, log, pool, by)
        for pool, by in ((agreed, "met"), (known, "met"), (log.doubtful, "unknown"), (log.refused, "not-met"))
        if pool
    ]
    return min(found, key=obstacles)


def _work(service: Service, log: Log, pool: list[Activity], by: str) -> Work:
    """`by`: may those who did it bill it?"""
    chart, code, switches = service.chart, service.code, service.switches
    units: dict[date, int] = {}
    best = 0
    counted: list[Activity] = []
    unclear: list[str] = []
    unclear_days: list[date] = []
    zone = service.month.zone
    for (_, day), mine in _by_person_and_day(pool, log, service.month).items():
        done = whole_minutes(log.time(mine, (midnight(day, zone), midnight(day + _DAY, zone)) if day else None))
        best = max(best, done)
        count = _units(code, done, switches) if day else 0
        if count and day:
            units[day] = units.get(day, 0) + count
            counted += mine
        elif done < thresholds.needed(code, switches):
            unclear += unread(mine)
            unclear_days += [day] if day and unread(mine) else []
    chosen = counted or pool
    refs = tuple(sorted({a.ref for a in chosen}))
    people = {p for a in chosen if (p := log.person(a))} if by == "met" else set()
    by = "several" if counted and len(people) > 1 else by
    total = sum(units.values())
    minutes = _minutes(service, log, total, best, tuple(sorted(set(unclear))), chosen)
    perhaps = int(minutes.outcome == "unknown" and _is_lowest(service))
    days = tuple((day, 1) for day in sorted(unclear_days or days_worked(pool, service.month))[:perhaps])
    return Work(
        sources=refs,
        practitioner=next(iter(people)) if len(people) == 1 else None,
        units=total or perhaps,
        days=tuple(sorted(units.items())) or days,
        performer=performed(chart, by, people, refs),
        minutes=minutes,
        consent=_consent(service, log, chosen) if "consent" in code.block else NOT_ASKED,
        counted=best,
    )


def _by_person_and_day(
    pool: list[Activity], log: Log, month: ServiceMonth
) -> dict[tuple[str, date | None], list[Activity]]:
    """Of somebody who perhaps may bill each entry's people are taken as one person.

    What lasts over midnight is of both days.
    """
    found: dict[tuple[str, date | None], list[Activity]] = defaultdict(list)
    for entry in pool:
        who = log.person(entry) or " ".join(sorted(entry.people))
        for day in _days_of(entry, month):
            found[who, day].append(entry)
    return found


def _days_of(entry: Activity, month: ServiceMonth) -> Iterator[date | None]:
    """The days of the month on which it was done; None where that cannot be said to the day."""
    day = day_of(entry, month) if entry.when is not None and entry.when.within_a_day else None
    yield day
    if entry.span and day:
        ended = local_day(min(entry.span[1], month.span[1]) - timedelta(microseconds=1), month.zone)
        while (day := day + _DAY) <= ended:
            yield day


def _units(code: Code, minutes: int, switches: Switches) -> int:
    threshold = code.minutes
    assert threshold is not None
    if threshold.rule == "each-strict-or-midpoint":
        return thresholds.each(code, minutes, switches)
    if minutes < thresholds.needed(code, switches):
        return 0
    return 1 if threshold.through is None or minutes <= threshold.through else 0


def _minutes(
    service: Service, log: Log, total: int, best: int, unclear: tuple[str, ...], entries: list[Activity]
) -> Answer:
    code, switches = service.code, service.switches
    assert code.minutes is not None
    at, through = thresholds.needed(code, switches), code.minutes.through
    wanted = f"{at} to {through}" if through else f"{at} or more"
    said = f"{best} minutes of one person on one day; the code is for {wanted}{by_switch(code, switches)}"
    said += log.left_out(entries)
    refs = tuple(sorted({a.ref for a in entries}))
    if total:
        return Answer("met", said, refs)
    if best >= at and not unclear:
        return Answer("not-met", said, refs)
    return short_of(service.chart, said, unclear, refs, entries, _is_lowest(service))


def _is_lowest(service: Service) -> bool:
    """Unread time raises no band: it may be the first one."""
    code = service.code
    same = [c.minutes for c in service.rules.codes.values() if c.activity == code.activity and c.minutes]
    assert code.minutes is not None
    return code.minutes.rule != "band" or code.minutes.full == min(minutes.full for minutes in same)


# -- consent to consultation ------------------------------------------------------------------------

_CONSENTS = ("bhi", "interprofessional")


def _consent(service: Service, log: Log, entries: list[Activity]) -> Answer:
    """Consent to consultation, or to BHI, which permits consulting specialists, in force at every consultation.

    It names the consultant, the treating practitioner or whoever took part.
    """
    chart, treating = service.chart, _treating(service)
    parties = tuple(sorted(set(log.by_person) | {p for a in entries for p in a.people} | treating))
    allowed = permission(chart, parties, _CONSENTS, service.month, service.switches)
    entries = [a for a in entries if a.when]
    refs = tuple(sorted({c.ref for c in allowed.serving}))
    sure = [a for a in entries if _inside(a, allowed.certain)]
    if entries and len(sure) == len(entries):
        if reason := chart.lacks("Consent"):
            return Answer("unknown", f"what is missing may take the consent back: {reason}", refs)
        return Answer("met", "consent is in force on the day of the service", refs)
    if any(_inside(a, allowed.possible) for a in entries if a not in sure):
        return Answer("unknown", allowed.doubts[0] if allowed.doubts else "the consent's date has no time", refs)
    if reason := chart.lacks("Consent"):
        return Answer("unknown", reason)
    if any(c.kind == "unplaced" for c in chart.consents):
        return Answer("unknown", "a consent is on file whose category no map knows")
    perhaps = permission(chart, (), _CONSENTS, service.month, service.switches)
    if not treating and any(_inside(a, perhaps.possible) for a in entries):
        whose = tuple(sorted({c.ref for c in perhaps.serving}))
        return Answer("unknown", "nothing says whether the consent names the treating practitioner", whose)
    return Answer("not-met", "no consent to consultation is in force on the day of the service", refs)


def _treating(service: Service) -> set[str]:
    """Whoever is a treating practitioner at any time of the month."""
    return {
        member.person
        for program in {team.program for team in service.chart.teams}
        for *_, member in in_stretch(places_on(service.chart, program), service.month.span)
        if Role.TREATING in member.roles and member.person
    }


def _inside(activity: Activity, windows: tuple[Span, ...]) -> bool:
    when = activity.when
    return when is not None and any(start <= when.latest and when.earliest < end for start, end in windows)
