"""The related services: consultation, referral, safety planning, crisis calls, digital treatment.

None of them shares minutes with BHI, and each is for its own day or month.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta

from bhi_fhir.domain.record import Activity, Chart, Member, Role, Stay
from bhi_fhir.domain.time import (
    Moment,
    ServiceMonth,
    Span,
    intersect,
    length,
    local_day,
    subtract,
    union,
    whole_minutes,
)
from bhi_fhir.domain.value import Value, replace
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.course import Answer
from bhi_fhir.rules.patient_month import last_days
from bhi_fhir.rules.permission import permission
from bhi_fhir.rules.service_date import beyond
from bhi_fhir.rules.track import OWN_SERVICES, at_moment, in_stretch, known_kind, places_on

_NONE = Answer("met", "not asked for")
_BY_TREATING = frozenset({"safety-planning", "dmht-supply", "dmht-management", "crisis-follow-up"})
"""Services of the billing practitioner: somebody else's time does not count."""
_VERBAL, _WRITTEN = "interprofessional-consultation", "interprofessional-consultation-written"
"""A consultation with both reports is the verbal one."""
_CHARGED = OWN_SERVICES - {"dmht-interactive-contact", "dmht-device-use"}
"""Kinds with a code of their own; the others are what a code requires beside its time."""
_UNREADABLE = "time that cannot be read may reach it"
_SHARED = "the same minutes are recorded for two related services, and only one may count them"
_SEVERAL = "several people performed it; one line cannot name them all"


class Work(Value, frozen=True):
    """What was done for one related code in the month, and what that comes to."""

    sources: tuple[str, ...]
    practitioner: str | None
    units: int
    days: tuple[tuple[date, int], ...] = ()
    performer: Answer = _NONE
    minutes: Answer = _NONE
    consent: Answer = _NONE
    discharge: Answer = _NONE
    call: Answer = _NONE
    counted: int = 0
    worked: tuple[date, ...] = ()
    """Of a service of the month: the days on which it was done."""
    reached: date | None = None
    """Of a service of the month: the day on which it was reached."""


@dataclass
class _Log:
    """The entries of one kind, by who did them."""

    by_person: dict[str, list[Activity]] = field(default_factory=lambda: defaultdict(list))
    doubtful: list[Activity] = field(default_factory=list)
    """By somebody of whom nothing says whether that person may bill, or by nobody named."""
    refused: list[Activity] = field(default_factory=list)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    """By entry: its time in the month that is no other service's."""
    billed_otherwise: set[str] = field(default_factory=set)
    """Entries of which another billed service has some of the time."""

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted(a.ref for mine in self.by_person.values() for a in mine))


def related(chart: Chart, code: Code, month: ServiceMonth, rules: Rules, switches: Switches) -> Work | None:
    """The month's work for one related code; None if there is none.

    What was done after death or the end of coverage is left out, unless nothing else could be charged.
    """
    busy = _busy(chart, month)
    entries = [
        replace(a, trouble=_SHARED) if _is_shared(a, busy) else a
        for a in chart.activities
        if _kinds(a) & set(code.activity) and _may_count(a) and _of_month(a, code, month)
    ]
    limits = last_days(chart, month)
    too_late = {day for day in _worked(entries, month) if beyond(limits, [day])}
    timely = [a for a in entries if _day_of(a, month) not in too_late]
    said = beyond(limits, sorted(too_late))
    found = [_work(chart, code, month, rules, switches, timely)] if timely else []
    if said:
        found = [_without_late(work, said) for work in found]
        found.append(_too_late(_work(chart, code, month, rules, switches, entries), said))
    return min(found, key=_obstacles, default=None)


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


def _without_late(work: Work, late: Answer) -> Work:
    """What else was done came too late: each answer about who did it or how often says so."""
    said = f"; more is left out: {late.because}"
    return replace(
        work,
        performer=replace(work.performer, because=work.performer.because + said),
        call=replace(work.call, because=work.call.because + said),
    )


def _too_late(work: Work, late: Answer) -> Work:
    said = replace(late, evidence=work.sources)
    return replace(work, performer=said, call=said, days=(), worked=(), reached=None)


def _work(
    chart: Chart, code: Code, month: ServiceMonth, rules: Rules, switches: Switches, entries: list[Activity]
) -> Work:
    if code.activity == ("crisis-follow-up",):
        return _calls(chart, code, month, rules, entries)
    log = _sort(chart, code, entries, month)
    if code.minutes is None:
        return _supply(chart, log, month)
    if code.adds_to or code.code in _managed(rules):
        return _month_of_management(chart, log, code, month, rules, switches)
    return _days(chart, log, code, month, switches)


def _kinds(activity: Activity) -> frozenset[str]:
    return activity.kinds - {_WRITTEN} if _VERBAL in activity.kinds else activity.kinds


def _managed(rules: Rules) -> set[str]:
    """Codes that an add-on extends over the month."""
    return {base for c in rules.codes.values() if not c.program for base in c.adds_to}


def _sort(chart: Chart, code: Code, entries: list[Activity], month: ServiceMonth) -> _Log:
    log = _Log()
    for entry in entries:
        able = {p: _may(chart, code, entry, p) for p in sorted(entry.people)}
        yes = [p for p, may in able.items() if may]
        _measure(chart, log, entry, yes[:1] or sorted(entry.people), month)
        if yes:
            log.by_person[yes[0]].append(entry)
        elif not able or None in able.values():
            log.doubtful.append(entry)
        else:
            log.refused.append(entry)
    return log


def _measure(chart: Chart, log: _Log, entry: Activity, people: list[str], month: ServiceMonth) -> None:
    """The entry's time in the month, without what these people did for another billed service."""
    if entry.billing_codes:
        log.billed_otherwise.add(entry.ref)
        return
    inside = intersect([entry.span], month.span) if entry.span else []
    busy = [[o.span for o in chart.other_services if p in o.people] for p in people]
    left = union(s for mine in busy for s in subtract(inside, mine)) if busy else inside
    log.spans[entry.ref] = left
    if length(left) < length(inside):
        log.billed_otherwise.add(entry.ref)


def _may(chart: Chart, code: Code, entry: Activity, person: str) -> bool | None:
    """May this person bill the service? For the billing practitioner's services it must be the treating one."""
    kind = known_kind(chart.kinds_of(person), code.billers)
    if kind is False or not set(code.activity) & _BY_TREATING:
        return kind
    if entry.when is None:
        return None
    treating = _treating(chart, code, entry.when)
    if person in treating:
        return kind if len(treating) == 1 else None
    mine = [m for m in _members(chart, entry.when) if m.person == person]
    return None if any(not m.roles for m in mine) else False


def _members(chart: Chart, when: Moment) -> list[Member]:
    programs = {t.program for t in chart.teams}
    return [m for program in programs for *_, m in at_moment(places_on(chart, program), when)]


def _treating(chart: Chart, code: Code, when: Moment) -> set[str]:
    """The treating practitioners at a moment who may bill, or of whom nothing says that they may not."""
    return {
        m.person
        for m in _members(chart, when)
        if Role.TREATING in m.roles and m.person and known_kind(chart.kinds_of(m.person), code.billers) is not False
    }


def _performer(chart: Chart, log: _Log) -> Answer:
    if log.by_person:
        return _performed(chart, "met" if _only(log) else "several", set(log.by_person), log.sources)
    outcome, entries = ("unknown", log.doubtful) if log.doubtful else ("not-met", log.refused)
    return _performed(chart, outcome, set(), tuple(sorted(a.ref for a in entries)))


def _performed(chart: Chart, outcome: str, people: set[str], refs: tuple[str, ...]) -> Answer:
    if outcome == "several":
        return Answer("unknown", _SEVERAL, refs)
    if outcome == "met":
        return Answer("met", f"{' and '.join(sorted(people))} performed it and may bill it", refs)
    if outcome == "unknown":
        return Answer("unknown", "nothing says whether the person who performed it may bill it", refs)
    if reason := chart.lacks("PractitionerRole", "Practitioner", "CareTeam"):
        return Answer("unknown", reason, refs)
    return Answer("not-met", "nobody who performed it may bill it", refs)


def _entries(log: _Log) -> dict[str, list[Activity]]:
    """By whom what was done; where nobody surely may bill, what perhaps counts, by who took part."""
    if log.by_person:
        return dict(log.by_person)
    found: dict[str, list[Activity]] = defaultdict(list)
    for entry in log.doubtful or log.refused:
        found[" ".join(sorted(entry.people))].append(entry)
    return found


def _seconds(entries: list[Activity], log: _Log) -> timedelta:
    read = [a for a in entries if a.state == "done" and not a.trouble and not a.billing_codes]
    spans = union(s for a in read for s in log.spans[a.ref])
    floating = [a.duration for a in read if a.span is None and a.duration is not None]
    return length(spans) + sum(floating, timedelta())


def _unread(entries: list[Activity]) -> tuple[str, ...]:
    """Work whose minutes cannot be read; what documents no time is evidence without minutes."""
    return tuple(sorted(a.ref for a in entries if not a.billing_codes and (a.trouble or a.state == "unknown")))


def _short_of(
    chart: Chart, said: str, unread: tuple[str, ...], refs: tuple[str, ...], entries: list[Activity], raises: bool
) -> Answer:
    """Too few minutes. Unread work may reach the code only where it raises no tier."""
    if unread and raises:
        shared = any(a.trouble == _SHARED for a in entries if a.ref in unread)
        return Answer("unknown", f"{said}; {_SHARED if shared else _UNREADABLE}", unread)
    if reason := chart.lacks("Encounter", "Procedure"):
        return Answer("unknown", f"{said}; {reason}", refs)
    return Answer("not-met", said, unread or refs)


def _left_out(entries: list[Activity], log: _Log) -> str:
    taken = any(a.ref in log.billed_otherwise for a in entries)
    return "; time of another, separately billed service does not count" if taken else ""


def _only(log: _Log) -> str | None:
    return next(iter(log.by_person)) if len(log.by_person) == 1 else None


# -- services of a day ------------------------------------------------------------------------------


def _days(chart: Chart, log: _Log, code: Code, month: ServiceMonth, switches: Switches) -> Work:
    """Consultation, referral and safety planning: the minutes of one person on one day.

    What was done by somebody who may bill, with consent, comes first; else the best of the rest.
    """
    known = [a for mine in log.by_person.values() for a in mine]
    agreed = [a for a in known if _consent(chart, log, [a], month, switches).outcome == "met"]
    found = [
        _days_of(chart, log, code, pool, performed, month, switches)
        for pool, performed in ((agreed, "met"), (known, "met"), (log.doubtful, "unknown"), (log.refused, "not-met"))
        if pool
    ]
    return min(found, key=_obstacles)


def _obstacles(work: Work) -> tuple[bool, bool]:
    answers = (work.performer, work.minutes, work.consent, work.discharge, work.call)
    outcomes = {answer.outcome for answer in answers}
    return "not-met" in outcomes, "unknown" in outcomes


def _days_of(
    chart: Chart, log: _Log, code: Code, pool: list[Activity], performed: str, month: ServiceMonth, switches: Switches
) -> Work:
    units: dict[date, int] = {}
    best = 0
    counted: list[Activity] = []
    unread: list[str] = []
    unread_days: list[date] = []
    for (_, day), mine in _by_person_and_day(pool, log, month).items():
        done = whole_minutes(_seconds(mine, log))
        best = max(best, done)
        count = _units(code, done, switches) if day else 0
        if count and day:
            units[day] = units.get(day, 0) + count
            counted += mine
        elif done < thresholds.needed(code, switches):
            unread += _unread(mine)
            unread_days += [day] if day and _unread(mine) else []
    chosen = counted or pool
    refs = tuple(sorted(a.ref for a in chosen))
    people = {p for a in chosen if (p := _person(a, log))} if performed == "met" else set()
    performed = "several" if counted and len(people) > 1 else performed
    total = sum(units.values())
    minutes = _day_minutes(chart, log, code, total, best, tuple(sorted(unread)), chosen, switches)
    perhaps = int(minutes.outcome == "unknown" and _raises_no_tier(code, switches))
    days = tuple((day, 1) for day in sorted(unread_days or _worked(pool, month))[:perhaps])
    return Work(
        sources=refs,
        practitioner=next(iter(people)) if len(people) == 1 else None,
        units=total or perhaps,
        days=tuple(sorted(units.items())) or days,
        performer=_performed(chart, performed, people, refs),
        minutes=minutes,
        consent=_consent(chart, log, chosen, month, switches) if "consent" in code.block else _NONE,
        counted=best,
    )


def _person(activity: Activity, log: _Log) -> str | None:
    """By whom it counts: the one who may bill it."""
    return next((p for p, mine in log.by_person.items() if activity in mine), None)


def _by_person_and_day(
    pool: list[Activity], log: _Log, month: ServiceMonth
) -> dict[tuple[str, date | None], list[Activity]]:
    """Of somebody who perhaps may bill each entry's people are taken as one person."""
    found: dict[tuple[str, date | None], list[Activity]] = defaultdict(list)
    for entry in pool:
        dated = entry.when is not None and entry.when.within_a_day
        who = _person(entry, log) or " ".join(sorted(entry.people))
        found[who, _day_of(entry, month) if dated else None].append(entry)
    return found


def _units(code: Code, minutes: int, switches: Switches) -> int:
    threshold = code.minutes
    assert threshold is not None
    if threshold.rule == "each-strict-or-midpoint":
        return thresholds.each(code, minutes, switches)
    if minutes < thresholds.needed(code, switches):
        return 0
    return 1 if threshold.through is None or minutes <= threshold.through else 0


def _day_minutes(
    chart: Chart,
    log: _Log,
    code: Code,
    total: int,
    best: int,
    unread: tuple[str, ...],
    entries: list[Activity],
    switches: Switches,
) -> Answer:
    assert code.minutes is not None
    at, through = thresholds.needed(code, switches), code.minutes.through
    wanted = f"{at} to {through}" if through else f"{at} or more"
    said = f"{best} minutes of one person on one day; the code is for {wanted}{_by_switch(code, switches)}"
    said += _left_out(entries, log)
    refs = tuple(sorted(a.ref for a in entries))
    if total:
        return Answer("met", said, refs)
    if best >= at and not unread:
        return Answer("not-met", said, refs)
    return _short_of(chart, said, unread, refs, entries, _raises_no_tier(code, switches))


def _raises_no_tier(code: Code, switches: Switches) -> bool:
    """Unread time raises no band: it may be the first one."""
    assert code.minutes is not None
    return code.minutes.rule != "band" or thresholds.needed(code, switches) == 5


def _by_switch(code: Code, switches: Switches) -> str:
    strict_matters = code.minutes is not None and "strict" in code.minutes.rule
    return " (site policy strict_time_related = false)" if strict_matters and not switches.strict_time_related else ""


def _consent(chart: Chart, log: _Log, entries: list[Activity], month: ServiceMonth, switches: Switches) -> Answer:
    """Consent to consultation, or to BHI, which permits consulting specialists, in force at every consultation.

    It names the consultant, the treating practitioner or whoever took part.
    """
    parties = set(log.by_person) | {p for a in entries for p in a.people}
    parties |= {
        m.person
        for program in {t.program for t in chart.teams}
        for *_, m in in_stretch(places_on(chart, program), month.span)
        if Role.TREATING in m.roles and m.person
    }
    allowed = permission(chart, tuple(sorted(parties)), ("bhi", "interprofessional"), month, switches)
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
    return Answer("not-met", "no consent to consultation is in force on the day of the service", refs)


def _day_of(activity: Activity, month: ServiceMonth) -> date | None:
    """The day on which its part in the month began."""
    return local_day(max(activity.when.earliest, month.span[0]), month.zone) if activity.when else None


def _inside(activity: Activity, windows: tuple[tuple[object, object], ...]) -> bool:
    when = activity.when
    return when is not None and any(s <= when.latest and when.earliest < e for s, e in windows)  # type: ignore[operator]


# -- services of a month ----------------------------------------------------------------------------


def _month_of_management(
    chart: Chart, log: _Log, code: Code, month: ServiceMonth, rules: Rules, switches: Switches
) -> Work:
    """Digital treatment management: the billing practitioner's minutes of the month, never two people's together."""
    by_person = _entries(log)
    most = max(sorted(by_person), key=lambda who: _seconds(by_person[who], log))
    entries = by_person[most]
    done = whole_minutes(_seconds(entries, log))
    everything = [a for mine in by_person.values() for a in mine]
    base = rules.codes[code.adds_to[0]] if code.adds_to else code
    assert base.minutes is not None
    first = thresholds.needed(base, switches)
    if code.adds_to:
        units = thresholds.each(code, done - base.minutes.full, switches)
        at = base.minutes.full + thresholds.needed(code, switches)
    else:
        units, at = int(done >= first), first
    said = f"{done} of {at} minutes of the billing practitioner are counted{_by_switch(code, switches)}"
    said += _left_out(everything, log)
    answer = Answer("met", said, log.sources)
    if not units:
        answer = _short_of(chart, said, _unread(everything), log.sources, everything, not code.adds_to)
    return Work(
        sources=log.sources,
        practitioner=_only(log),
        units=units or int(answer.outcome == "unknown" and not code.adds_to),
        performer=_performer(chart, log),
        minutes=answer,
        counted=done,
        worked=_worked(entries, month),
        reached=_reached(entries, log, at + (units - 1) * code.minutes.full, month) if units and code.minutes else None,
    )


def _worked(entries: list[Activity], month: ServiceMonth) -> tuple[date, ...]:
    return tuple(sorted({day for a in entries if (day := _day_of(a, month))}))


def _reached(entries: list[Activity], log: _Log, minutes: int, month: ServiceMonth) -> date | None:
    """The day on which the time of the month comes to so many minutes."""
    for day in _worked(entries, month):
        until = [a for a in entries if (done := _day_of(a, month)) and done <= day]
        if whole_minutes(_seconds(until, log)) >= minutes:
            return day
    return None


def _supply(chart: Chart, log: _Log, month: ServiceMonth) -> Work:
    entries = [a for mine in _entries(log).values() for a in mine]
    done = [a for a in entries if a.state == "done"]
    sources = tuple(sorted(a.ref for a in done or entries))
    performer = _performer(chart, log)
    if performer.outcome == "met" and not done:
        performer = Answer("unknown", "whether the device was supplied cannot be read", sources)
    days = _worked(done, month)[:1]
    return Work(sources, _only(log), 1, tuple((day, 1) for day in days), performer)


def _calls(chart: Chart, code: Code, month: ServiceMonth, rules: Rules, entries: list[Activity]) -> Work:
    """Calls after an emergency discharge: one unit a month, billed by the treating practitioner."""
    done = [a for a in entries if a.state == "done" and a.when]
    refs = tuple(sorted(a.ref for a in done))
    if not done:
        unclear = tuple(sorted(a.ref for a in entries))
        call = Answer("unknown", "whether a follow-up call was made cannot be read", unclear)
        return Work(unclear, None, 1, call=call, discharge=Answer("unknown", "no call has a readable date", unclear))
    first = min(done, key=lambda a: (a.when.earliest if a.when else month.span[0], a.ref))
    assert first.when is not None
    said = f"{len(done)} follow-up call{'s' if len(done) > 1 else ''} in the month: one unit"
    treating = _treating(chart, code, first.when)
    return Work(
        sources=refs,
        practitioner=next(iter(treating)) if len(treating) == 1 else None,
        units=1,
        call=Answer("met", said, refs),
        discharge=_discharge(chart, month, rules, first),
        worked=_worked(done, month),
        reached=_day_of(first, month),
    )


def _discharge(chart: Chart, month: ServiceMonth, rules: Rules, first: Activity) -> Answer:
    """An emergency visit that ended before the first call, in the same or the previous month."""
    assert first.when is not None
    earliest = month.shifted(-rules.values["emergency_months"]).span[0]
    visits = [s for s in chart.stays if s.kind == "emergency" and s.finished is not False]
    call = first.when.earliest
    ended = [
        s for s in visits if s.finished and (end := s.period.end) and earliest <= end.earliest and end.latest <= call
    ]
    if ended:
        return Answer("met", "an emergency visit ended before the first call", tuple(sorted(s.ref for s in ended)))
    vague = [s for s in visits if s.period.closes >= earliest and _may_have_ended(s, first.when)]
    if vague:
        refs = tuple(sorted(s.ref for s in vague))
        return Answer("unknown", "nothing says exactly whether the emergency visit ended before the first call", refs)
    if reason := chart.lacks("Encounter"):
        return Answer("unknown", reason)
    return Answer("not-met", "no emergency visit ended before the first call, in this or the previous month")


def _may_have_ended(stay: Stay, call: Moment) -> bool:
    ends = stay.period.end or stay.period.start
    return ends is None or ends.earliest < call.latest or ends.earliest == call.earliest
