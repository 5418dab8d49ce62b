"""One patient's month: the chart, what is asked of it, and its work arranged once for all codes."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property

from bhi_fhir.domain.decision import Finding
from bhi_fhir.domain.record import Activity, Chart, Program
from bhi_fhir.domain.time import BEGINNING, END, ServiceMonth, Span, month_index
from bhi_fhir.rules.permission import Permission, permission
from bhi_fhir.rules.setting import Setting
from bhi_fhir.rules.track import BHI_KINDS, OWN_SERVICES, Place, at_moment, in_stretch, places_on
from bhi_fhir.rules.visits import Openings, openings

WORK = BHI_KINDS | {"psychiatric-review"}
"""Every kind of BHI work, timed or not."""


class PatientMonth:
    """Each answer is worked out when it is first asked for, and kept: many codes and tracks ask the same."""

    def __init__(self, chart: Chart, setting: Setting) -> None:
        self.chart, self.setting = chart, setting
        self.month, self.rules, self.switches = setting.month, setting.rules, setting.switches
        self.findings: dict[tuple[object, ...], Finding | None] = {}
        """By what a requirement looks at: see `requirements.check`."""
        self.team_work: dict[tuple[Program, str], bool | None] = {}
        """See `elements`."""
        self._places: dict[Program, list[Place]] = {}
        self._seats: dict[tuple[str, Program], list[Place]] = {}
        self._touching: dict[int, list[Activity]] = {}
        self._busy: dict[str, list[Span]] = {}
        self._permissions: dict[tuple[str, ...], Permission] = {}
        self._openings: dict[tuple[str, tuple[str, ...]], Openings] = {}

    # -- teams ----------------------------------------------------------------------------------

    def places(self, program: Program) -> list[Place]:
        if program not in self._places:
            self._places[program] = places_on(self.chart, program)
        return self._places[program]

    def seats(self, activity: Activity, program: Program) -> list[Place]:
        """Who was on the program's teams at any time of an entry."""
        key = (activity.ref, program)
        if key not in self._seats:
            self._seats[key] = self._seats_of(activity, self.places(program))
        return self._seats[key]

    @staticmethod
    def _seats_of(activity: Activity, places: list[Place]) -> list[Place]:
        if activity.when is None:
            return in_stretch(places, (BEGINNING, END))
        span = activity.span
        return in_stretch(places, span) if span and span[0] < span[1] else at_moment(places, activity.when)

    # -- work -----------------------------------------------------------------------------------

    def touching(self, month: ServiceMonth) -> list[Activity]:
        """What is of a month, or may be."""
        if month.index not in self._touching:
            self._touching[month.index] = [a for a in self.chart.activities if _touches(a, month)]
        return self._touching[month.index]

    @cached_property
    def documented(self) -> dict[str, list[Activity]]:
        """The entries of the month by kind, timed or not; "" holds all of them."""
        start, end = self.setting.start, self.setting.end
        found: dict[str, list[Activity]] = defaultdict(list)
        for activity in self.chart.activities:
            span = activity.span
            if (span and span[0] < end and span[1] > start) or self.month.holds(activity.when):
                for kind in ("", *activity.kinds):
                    found[kind].append(activity)
        return found

    @cached_property
    def worked_months(self) -> frozenset[int]:
        """Months up to the one that is decided with something that is BHI work, or, if no map knows it, may be."""
        found = set()
        for activity in self.chart.activities:
            if activity.when is not None and (not activity.kinds or activity.kinds & WORK):
                found |= self._months_of(activity)
        return frozenset(found)

    def _months_of(self, activity: Activity) -> set[int]:
        assert activity.when is not None
        begins, decided, zone = activity.when.earliest, self.month.index, self.month.zone
        if self.setting.start <= begins:
            return {decided} if begins < self.setting.end else set()
        first = month_index(begins, zone)
        last = month_index(activity.span[1], zone) if activity.span else first
        return set(range(first, min(last, decided) + 1))

    @cached_property
    def services(self) -> frozenset[str]:
        """The kinds of related services that the record holds."""
        return OWN_SERVICES & {kind for a in self.chart.activities for kind in a.kinds}

    def busy(self, person: str) -> list[Span]:
        """When somebody did what is charged as a service of its own, related or not."""
        if person not in self._busy:
            own = [
                a.span
                for a in (self.chart.activities if self.services else ())
                if a.kinds & OWN_SERVICES and a.state == "done" and person in a.people and a.span is not None
            ]
            self._busy[person] = [o.span for o in self.chart.other_services if person in o.people] + own
        return self._busy[person]

    # -- consent and visits ---------------------------------------------------------------------

    def permission(self, billers: tuple[str, ...]) -> Permission:
        """Consent to BHI for any of these practitioners."""
        if billers not in self._permissions:
            self._permissions[billers] = permission(self.chart, billers, ("bhi",), self.month, self.switches)
        return self._permissions[billers]

    def openings(self, time_of: str, billers: tuple[str, ...]) -> Openings:
        """The visits that open BHI for any of these practitioners."""
        key = (time_of, billers)
        if key not in self._openings:
            self._openings[key] = openings(self.chart, time_of, billers, self.month, self.rules, self.switches)
        return self._openings[key]


def _touches(activity: Activity, month: ServiceMonth) -> bool:
    """Is it of this month, or may it be?"""
    span = activity.span
    if span is None:
        return month.may_hold(activity.when)
    start, end = month.span
    return span[0] < end and (span[1] > start or (span[0] == span[1] and span[0] >= start))
