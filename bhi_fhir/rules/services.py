"""The related services: consultation, referral, safety planning, crisis calls, digital treatment.

None of them shares minutes with BHI, and each is for its own day or month (bhi-rules 7).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, timedelta

from bhi_fhir.domain.record import Activity, Chart, Role
from bhi_fhir.domain.time import ServiceMonth, length, local_day, union, whole_minutes
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.course import Answer
from bhi_fhir.rules.permission import permission
from bhi_fhir.rules.track import known_kind, members_on

_NONE = Answer("met", "not asked for")
_BY_TREATING = frozenset({"safety-planning", "dmht-supply", "dmht-management", "crisis-follow-up"})
"""Services of the billing practitioner: somebody else's time does not count."""


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
        if a.kinds & set(code.activity) and a.state != "not-done" and "administrative" not in a.kinds
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
        return _month_of_management(log, code, rules, switches)
    return _days(chart, log, code, month, switches)


def _managed(rules: Rules) -> set[str]:
    """Codes that an add-on extends over the month."""
    return {base for c in rules.codes.values() if not c.program for base in c.adds_to}


def _sort(chart: Chart, code: Code, entries: list[Activity]) -> _Log:
    log = _Log()
    for entry in entries:
        able = {p: _may(chart, code, entry, p) for p in sorted(entry.people)}
        yes = [p for p, may in able.items() if may]
        if yes and entry.state == "done":
            log.by_person[yes[0]].append(entry)
        elif yes or not able or None in able.values():
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
    teams = [members_on(chart, program, entry.when) for program in {t.program for t in chart.teams}]
    mine = [m for team in teams for _, m in team if m.person == person]
    if any(Role.TREATING in m.roles for m in mine):
        return kind
    return None if any(not m.roles for m in mine) else False


def _performer(log: _Log) -> Answer:
    if log.by_person:
        return Answer("met", f"{' and '.join(sorted(log.by_person))} performed it and may bill it", log.sources)
    if log.doubtful:
        refs = tuple(sorted(a.ref for a in log.doubtful))
        return Answer("unknown", "nothing says whether the person who performed it may bill it", refs)
    refs = tuple(sorted(a.ref for a in log.refused))
    return Answer("not-met", "nobody who performed it may bill it", refs)


def _entries(log: _Log) -> dict[str, list[Activity]]:
    """By whom what was done; where nobody surely may bill, what perhaps counts."""
    if log.by_person:
        return dict(log.by_person)
    return {"": log.doubtful or log.refused}


def _seconds(entries: list[Activity]) -> timedelta:
    spans = union(a.span for a in entries if a.span is not None)
    floating = [a.duration for a in entries if a.span is None and a.duration is not None and not a.trouble]
    return length(spans) + sum(floating, timedelta())


def _unread(entries: list[Activity]) -> tuple[str, ...]:
    return tuple(sorted(a.ref for a in entries if a.trouble or a.duration is None or a.state == "unknown"))


def _only(log: _Log) -> str | None:
    return next(iter(log.by_person)) if len(log.by_person) == 1 else None


# -- services of a day ------------------------------------------------------------------------------


def _days(chart: Chart, log: _Log, code: Code, month: ServiceMonth, switches: Switches) -> Work:
    """Consultation, referral and safety planning: the minutes of one person on one day."""
    units: dict[date, int] = {}
    best = 0
    sources: set[str] = set()
    practitioners: set[str] = set()
    for person, entries in _entries(log).items():
        for day, mine in _by_day(entries, month).items():
            done = whole_minutes(_seconds(mine))
            best = max(best, done)
            count = _units(code, done, switches)
            if count:
                units[day] = units.get(day, 0) + count
                sources |= {a.ref for a in mine}
                practitioners.add(person)
    unread = _unread([a for mine in _entries(log).values() for a in mine])
    refs = tuple(sorted(sources)) or log.sources
    total = sum(units.values())
    return Work(
        sources=refs,
        practitioner=next(iter(practitioners)) or None if len(practitioners) == 1 else None,
        units=total or int(bool(unread)),
        days=tuple(sorted(units.items())),
        performer=_performer(log),
        minutes=_day_minutes(code, total, best, unread, refs, switches),
        consent=_consultation_consent(chart, month, switches, log, units),
        counted=best,
    )


def _by_day(entries: list[Activity], month: ServiceMonth) -> dict[date, list[Activity]]:
    found: dict[date, list[Activity]] = defaultdict(list)
    for entry in entries:
        if entry.when is not None and entry.when.within_a_day:
            found[local_day(entry.when.earliest, month.zone)].append(entry)
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
    if unread and best < at and first_band:
        return Answer("unknown", f"{said}; time that cannot be read may reach it", unread)
    return Answer("not-met", said, refs)


def _by_switch(code: Code, switches: Switches) -> str:
    strict_matters = code.minutes is not None and "strict" in code.minutes.rule
    return " (site policy strict_time_related = false)" if strict_matters and not switches.strict_time_related else ""


def _consultation_consent(
    chart: Chart, month: ServiceMonth, switches: Switches, log: _Log, units: dict[date, int]
) -> Answer:
    """Consent to consultation, or to BHI, which permits consulting specialists, in force at every consultation."""
    parties = {p for c in chart.consents if c.names for p in c.names} | {"*"}
    allowed = permission(chart, tuple(sorted(parties)), ("bhi", "interprofessional"), month, switches)
    entries = [a for mine in _entries(log).values() for a in mine if a.when]
    entries = [a for a in entries if not units or _day_of(a, month) in units]
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


def _month_of_management(log: _Log, code: Code, rules: Rules, switches: Switches) -> Work:
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
    )


def _supply(log: _Log, month: ServiceMonth) -> Work:
    entries = [a for mine in _entries(log).values() for a in mine]
    first = min((a for a in entries if a.when), key=lambda a: a.when.earliest if a.when else 0, default=None)
    day = _day_of(first, month) if first else None
    sources = tuple(sorted(a.ref for a in entries))
    return Work(sources, _only(log), 1, ((day, 1),) if day else (), _performer(log))


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
    treating = {
        m.person
        for program in {t.program for t in chart.teams}
        for _, m in members_on(chart, program, first.when)
        if Role.TREATING in m.roles and m.person and known_kind(chart.kinds_of(m.person), code.billers) is not False
    }
    return Work(
        sources=refs,
        practitioner=next(iter(treating)) if len(treating) == 1 else None,
        units=1,
        call=Answer("met", said, refs),
        discharge=_discharge(chart, month, rules, first),
    )


def _discharge(chart: Chart, month: ServiceMonth, rules: Rules, first: Activity) -> Answer:
    """An emergency visit that ended before the first call, in the same or the previous month."""
    assert first.when is not None
    earliest = month.shifted(-rules.values["emergency_months"]).span[0]
    visits = [s for s in chart.stays if s.kind == "emergency"]
    ended = [
        s for s in visits
        if s.finished and s.period.end and earliest <= s.period.end.earliest and s.period.end.latest <= first.when.latest
    ]  # fmt: skip
    if ended:
        return Answer("met", "an emergency visit ended before the first call", tuple(sorted(s.ref for s in ended)))
    vague = [
        s for s in visits
        if s.period.opens <= first.when.latest and s.period.closes >= earliest
        and (not s.period.end or not s.period.end.exact) and s.finished
    ]  # fmt: skip
    if vague:
        refs = tuple(sorted(s.ref for s in vague))
        return Answer("unknown", "nothing says exactly when the emergency visit ended", refs)
    if reason := chart.lacks("Encounter"):
        return Answer("unknown", reason)
    return Answer("not-met", "no emergency visit ended before the first call, in this or the previous month")
