"""The entries of a service by who did them and may bill them, and the time that is theirs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from bhi_fhir.domain.record import Activity, Chart, Member, Role
from bhi_fhir.domain.time import Moment, ServiceMonth, Span, intersect, length, subtract, union
from bhi_fhir.policy import Code
from bhi_fhir.rules.services.work import Service
from bhi_fhir.rules.track import at_moment, known_kind, places_on

_BY_TREATING = frozenset({"safety-planning", "dmht-supply", "dmht-management", "crisis-follow-up"})
"""Services of the billing practitioner: somebody else's time does not count."""


@dataclass
class Log:
    """The entries of one service. Each counts by one person: the first of its people who may bill."""

    by_person: dict[str, list[Activity]] = field(default_factory=lambda: defaultdict(list))
    doubtful: list[Activity] = field(default_factory=list)
    """By somebody of whom nothing says whether that person may bill, or by nobody named."""
    refused: list[Activity] = field(default_factory=list)
    _spans: dict[str, list[Span]] = field(default_factory=dict)
    """By entry: its time in the month that is no other service's."""
    _billed_otherwise: set[str] = field(default_factory=set)
    """Entries of which another billed service has some of the time."""

    @classmethod
    def of(cls, service: Service, entries: list[Activity]) -> Log:
        log = cls()
        for entry in entries:
            able = {p: _may(service.chart, service.code, entry, p) for p in sorted(entry.people)}
            yes = [p for p, may in able.items() if may]
            log._measure(service.chart, entry, yes[:1] or sorted(entry.people), service.month)
            if yes:
                log.by_person[yes[0]].append(entry)
            elif not able or None in able.values():
                log.doubtful.append(entry)
            else:
                log.refused.append(entry)
        return log

    def _measure(self, chart: Chart, entry: Activity, people: list[str], month: ServiceMonth) -> None:
        """The entry's time in the month, without what these people did for another billed service."""
        if entry.billing_codes:
            self._billed_otherwise.add(entry.ref)
            return
        inside = intersect([entry.span], month.span) if entry.span else []
        busy = [[o.span for o in chart.other_services if p in o.people] for p in people]
        left = union(s for mine in busy for s in subtract(inside, mine)) if busy else inside
        self._spans[entry.ref] = left
        if length(left) < length(inside):
            self._billed_otherwise.add(entry.ref)

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted(a.ref for mine in self.by_person.values() for a in mine))

    @property
    def only(self) -> str | None:
        """The one person who did all that counts."""
        return next(iter(self.by_person)) if len(self.by_person) == 1 else None

    @property
    def by_whom(self) -> dict[str, list[Activity]]:
        """`by_person`; where nobody surely may bill, what perhaps counts, by who took part."""
        if self.by_person:
            return dict(self.by_person)
        found: dict[str, list[Activity]] = defaultdict(list)
        for entry in self.doubtful or self.refused:
            found[" ".join(sorted(entry.people))].append(entry)
        return found

    def person(self, activity: Activity) -> str | None:
        """By whom it counts."""
        return next((p for p, mine in self.by_person.items() if activity in mine), None)

    def time(self, entries: list[Activity], within: Span | None = None) -> timedelta:
        """The readable time of entries together, or what of it lies within a stretch."""
        read = [a for a in entries if a.state == "done" and not a.trouble and not a.billing_codes]
        spans = union(s for a in read for s in self._spans[a.ref])
        spans = intersect(spans, within) if within else spans
        floating = [a.duration for a in read if a.span is None and a.duration is not None]
        return length(spans) + sum(floating, timedelta())

    def left_out(self, entries: list[Activity]) -> str:
        taken = any(a.ref in self._billed_otherwise for a in entries)
        return "; time of another, separately billed service does not count" if taken else ""


def unread(entries: list[Activity]) -> tuple[str, ...]:
    """Work whose minutes cannot be read; what documents no time is evidence without minutes."""
    return tuple(sorted(a.ref for a in entries if not a.billing_codes and (a.trouble or a.state == "unknown")))


# -- who may bill -----------------------------------------------------------------------------------


def _may(chart: Chart, code: Code, entry: Activity, person: str) -> bool | None:
    """May this person bill the service? For the billing practitioner's services it must be the treating one."""
    kind = known_kind(chart.kinds_of(person), code.billers)
    if kind is False or not set(code.activity) & _BY_TREATING:
        return kind
    if entry.when is None:
        return None
    treating = treating_at(chart, code, entry.when)
    if person in treating:
        return kind if len(treating) == 1 else None
    mine = [m for m in _members(chart, entry.when) if m.person == person]
    return None if any(not m.roles for m in mine) else False


def treating_at(chart: Chart, code: Code, when: Moment) -> set[str]:
    """The treating practitioners at a moment who may bill, or of whom nothing says that they may not."""
    return {
        m.person
        for m in _members(chart, when)
        if Role.TREATING in m.roles and m.person and known_kind(chart.kinds_of(m.person), code.billers) is not False
    }


def _members(chart: Chart, when: Moment) -> list[Member]:
    programs = {t.program for t in chart.teams}
    return [m for program in programs for *_, m in at_moment(places_on(chart, program), when)]
