"""The related services: consultation, referral, safety planning, crisis calls, digital treatment.

None of them shares minutes with BHI, and each is for its own day or month.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta

from bhi_fhir.domain.record import Activity, Chart, Member, Role, Stay
from bhi_fhir.domain.time import Moment, ServiceMonth, length, local_day, union, whole_minutes
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.course import Answer
from bhi_fhir.rules.permission import permission
from bhi_fhir.rules.track import known_kind, members_in, members_on

_NONE = Answer("met", "not asked for")
_BY_TREATING = frozenset({"safety-planning", "dmht-supply", "dmht-management", "crisis-follow-up"})
"""Services of the billing practitioner: somebody else's time does not count."""
_VERBAL, _WRITTEN = "interprofessional-consultation", "interprofessional-consultation-written"
"""A consultation with both reports is the verbal one."""


@dataclass(frozen=True, slots=True)
class Work:
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

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted(a.ref for mine in self.by_person.values() for a in mine))


def related(chart: Chart, code: Code, month: ServiceMonth, rules: Rules, switches: Switches) -> Work | None:
    """The month's work for one related code; None if there is none."""
    entries = [
        a
        for a in chart.activities
        if _kinds(a) & set(code.activity) and a.state != "not-done" and "administrative" not in a.kinds
        and (month.holds(a.when) or (a.when is None and a.trouble))
    ]  # fmt: skip
    if not entries:
        return None
    log = _sort(chart, code, entries)
    if code.activity == ("crisis-follow-up",):
        return _calls(chart, code, month, rules, entries)
    if code.minutes is None:
        return _supply(log, month)
    if code.adds_to or code.code in _managed(rules):
        return _month_of_management(log, code, month, rules, switches)
    return _days(chart, log, code, month, switches)


def _kinds(activity: Activity) -> frozenset[str]:
    return activity.kinds - {_WRITTEN} if _VERBAL in activity.kinds else activity.kinds


def _managed(rules: Rules) -> set[str]:
    """Codes that an add-on extends over the month."""
    return {base for c in rules.codes.values() if not c.program for base in c.adds_to}


def _sort(chart: Chart, code: Code, entries: list[Activity]) -> _Log:
    log = _Log()
    for entry in entries:
        able = {p: _may(chart, code, entry, p) for p in sorted(entry.people)}
        yes = [p for p, may in able.items() if may]
        if yes:
            log.by_person[yes[0]].append(entry)
        elif not able or None in able.values():
            log.doubtful.append(entry)
        else:
            log.refused.append(entry)
    return log


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
    return [m for program in programs for _, m in members_on(chart, program, when)]


def _treating(chart: Chart, code: Code, when: Moment) -> set[str]:
    """The treating practitioners at a moment who may bill, or of whom nothing says that they may not."""
    return {
        m.person
        for m in _members(chart, when)
        if Role.TREATING in m.roles and m.person and known_kind(chart.kinds_of(m.person), code.billers) is not False
    }


def _performer(log: _Log) -> Answer:
    if log.by_person:
        return _performed("met", set(log.by_person), log.sources)
    outcome, entries = ("unknown", log.doubtful) if log.doubtful else ("not-met", log.refused)
    return _performed(outcome, set(), tuple(sorted(a.ref for a in entries)))


def _performed(outcome: str, people: set[str], refs: tuple[str, ...]) -> Answer:
    if outcome == "met":
        return Answer("met", f"{' and '.join(sorted(people))} performed it and may bill it", refs)
    if outcome == "unknown":
        return Answer("unknown", "nothing says whether the person who performed it may bill it", refs)
    return Answer("not-met", "nobody who performed it may bill it", refs)


def _entries(log: _Log) -> dict[str, list[Activity]]:
    """By whom what was done; where nobody surely may bill, what perhaps counts."""
    if log.by_person:
        return dict(log.by_person)
    return {"": log.doubtful or log.refused}


def _seconds(entries: list[Activity]) -> timedelta:
    read = [a for a in entries if a.state == "done"]
    spans = union(a.span for a in read if a.span is not None)
    floating = [a.duration for a in read if a.span is None and a.duration is not None and not a.trouble]
    return length(spans) + sum(floating, timedelta())


def _unread(entries: list[Activity]) -> tuple[str, ...]:
    """Work whose minutes cannot be read; what documents no time is evidence without minutes."""
    return tuple(sorted(a.ref for a in entries if a.trouble or a.state == "unknown"))


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
    outcomes = {work.performer.outcome, work.minutes.outcome, work.consent.outcome}
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
        done = whole_minutes(_seconds(mine))
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
    total = sum(units.values())
    return Work(
        sources=refs,
        practitioner=next(iter(people)) if len(people) == 1 else None,
        units=total or int(bool(unread)),
        days=tuple(sorted(units.items())) or tuple((day, 1) for day in sorted(unread_days)[:1]),
        performer=_performed(performed, people, refs),
        minutes=_day_minutes(code, total, best, tuple(sorted(unread)), refs, switches),
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
    code: Code, total: int, best: int, unread: tuple[str, ...], refs: tuple[str, ...], switches: Switches
) -> Answer:
    assert code.minutes is not None
    at, through = thresholds.needed(code, switches), code.minutes.through
    wanted = f"{at} to {through}" if through else f"{at} or more"
    said = f"{best} minutes of one person on one day; the code is for {wanted}{_by_switch(code, switches)}"
    if total:
        return Answer("met", said, refs)
    first_band = code.minutes.rule != "band" or at == 5  # unread time raises no band
    if unread and first_band:
        return Answer("unknown", f"{said}; time that cannot be read may reach it", unread)
    return Answer("not-met", said, refs)


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
        for _, m in members_in(chart, program, month.span)
        if Role.TREATING in m.roles and m.person
    }
    allowed = permission(chart, tuple(sorted(parties)), ("bhi", "interprofessional"), month, switches)
    entries = [a for a in entries if a.when]
    refs = tuple(sorted({c.ref for c in allowed.serving}))
    sure = [a for a in entries if _inside(a, allowed.certain)]
    if entries and len(sure) == len(entries):
        return Answer("met", "consent is in force on the day of the service", refs)
    if any(_inside(a, allowed.possible) for a in entries if a not in sure):
        return Answer("unknown", allowed.doubts[0] if allowed.doubts else "the consent's date has no time", refs)
    if reason := chart.lacks("Consent"):
        return Answer("unknown", reason)
    if any(c.kind == "unplaced" for c in chart.consents):
        return Answer("unknown", "a consent is on file whose category no map knows")
    return Answer("not-met", "no consent to consultation is in force on the day of the service", refs)


def _day_of(activity: Activity, month: ServiceMonth) -> date | None:
    return local_day(activity.when.earliest, month.zone) if activity.when else None


def _inside(activity: Activity, windows: tuple[tuple[object, object], ...]) -> bool:
    when = activity.when
    return when is not None and any(s <= when.latest and when.earliest < e for s, e in windows)  # type: ignore[operator]


# -- services of a month ----------------------------------------------------------------------------


def _month_of_management(log: _Log, code: Code, month: ServiceMonth, rules: Rules, switches: Switches) -> Work:
    """Digital treatment management: the billing practitioner's minutes of the month."""
    entries = [a for mine in _entries(log).values() for a in mine]
    done = whole_minutes(_seconds(entries))
    unread = _unread(entries)
    base = rules.codes[code.adds_to[0]] if code.adds_to else code
    assert base.minutes is not None
    first = thresholds.needed(base, switches)
    if code.adds_to:
        units = thresholds.each(code, done - base.minutes.full, switches)
        at = base.minutes.full + thresholds.needed(code, switches)
    else:
        units, at = int(done >= first), first
    said = f"{done} of {at} minutes of the billing practitioner are counted{_by_switch(code, switches)}"
    answer = Answer("met", said, log.sources)
    if not units:
        may_reach = bool(unread) and not code.adds_to
        answer = Answer("unknown" if may_reach else "not-met", said, unread or log.sources)
    return Work(
        sources=log.sources,
        practitioner=_only(log),
        units=units or int(answer.outcome == "unknown"),
        performer=_performer(log),
        minutes=answer,
        counted=done,
        worked=_worked(entries, month),
        reached=_reached(entries, at + (units - 1) * code.minutes.full, month) if units and code.minutes else None,
    )


def _worked(entries: list[Activity], month: ServiceMonth) -> tuple[date, ...]:
    return tuple(sorted({day for a in entries if (day := _day_of(a, month))}))


def _reached(entries: list[Activity], minutes: int, month: ServiceMonth) -> date | None:
    """The day on which the time of the month comes to so many minutes."""
    for day in _worked(entries, month):
        until = [a for a in entries if (done := _day_of(a, month)) and done <= day]
        if whole_minutes(_seconds(until)) >= minutes:
            return day
    return None


def _supply(log: _Log, month: ServiceMonth) -> Work:
    entries = [a for mine in _entries(log).values() for a in mine]
    done = [a for a in entries if a.state == "done"]
    sources = tuple(sorted(a.ref for a in done or entries))
    performer = _performer(log)
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
