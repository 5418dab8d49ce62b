"""One patient's month: the chart, what is asked of it, and its work arranged once for all codes."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING

from bhi_fhir.domain.record import Activity, Chart, Program
from bhi_fhir.domain.time import ServiceMonth, Span, month_index
from bhi_fhir.rules.crew import Crew
from bhi_fhir.rules.last_days import last_days
from bhi_fhir.rules.permission import Permission, permission
from bhi_fhir.rules.pieces import WORK, Entries, sort_out
from bhi_fhir.rules.track import OWN_SERVICES, Track, places_on, window
from bhi_fhir.rules.visits import Openings, openings

if TYPE_CHECKING:
    from bhi_fhir.rules.billing import Billing
    from bhi_fhir.rules.course import Course
    from bhi_fhir.rules.setting import Setting


class PatientMonth:
    """Each answer is worked out when it is first asked for, and kept: many codes and tracks ask the same."""

    def __init__(self, chart: Chart, setting: Setting) -> None:
        self.chart, self.setting = chart, setting
        self.month, self.rules, self.switches = setting.month, setting.rules, setting.switches
        self.courses: dict[object, Course] = {}
        """What tracks come to, by what makes a difference to them: see `follow`."""
        self.billings: dict[Track, Billing] = {}
        """Who bills, where that is the same at every entry: see `billing`."""
        self._crews: dict[Program, Crew] = {}
        self._entries: dict[int, Entries] = {}
        self._elements: dict[tuple[Program, tuple[Span, ...]], dict[str, tuple[str, ...]]] = {}
        self._busy: dict[str, list[Span]] = {}
        self._permissions: dict[tuple[str, ...], Permission] = {}
        self._openings: dict[tuple[frozenset[str], tuple[str, ...]], Openings] = {}

    def crew(self, program: Program) -> Crew:
        """Everybody on the program's teams."""
        known = self._crews.get(program)
        if known is None:
            known = self._crews[program] = Crew(places_on(self.chart, program), self.chart.activities)
        return known

    # -- work -----------------------------------------------------------------------------------

    def entries(self, month: ServiceMonth) -> Entries:
        """What is of a month, or may be."""
        if month.index not in self._entries:
            found = [a for a in self.chart.activities if _touches(a, month)]
            self._entries[month.index] = sort_out(found, month.span, self._taken)
        return self._entries[month.index]

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

    def elements(self, teams: Program, consent: tuple[Span, ...]) -> dict[str, tuple[str, ...]]:
        """By kind, the month's entries of a team that surely document it: an element of a code."""
        key = (teams, consent)
        if key not in self._elements:
            found: dict[str, list[str]] = {}
            crew = self.crew(teams)
            for activity in self.documented.get("", ()):
                if activity.state != "done" or "administrative" in activity.kinds:
                    continue
                for kind in activity.kinds:
                    if crew.did(activity, kind) and allowed(consent, activity, kind):
                        found.setdefault(kind, []).append(activity.ref)
            self._elements[key] = {kind: tuple(sorted(refs)) for kind, refs in found.items()}
        return self._elements[key]

    @cached_property
    def undated(self) -> list[Activity]:
        """What was done, perhaps in the month: no date settles it."""
        may_hold, holds = self.month.may_hold, self.month.holds
        done = [a for a in self.chart.activities if a.span is None and a.state == "done"]
        return [a for a in done if not holds(a.when) and may_hold(a.when)]

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

    @cached_property
    def _taken(self) -> list[Span]:
        """When anybody did what is charged as a service of its own, related or not."""
        own = [a.span for a in self.chart.activities if a.span and a.kinds & OWN_SERVICES] if self.services else []
        return [o.span for o in self.chart.other_services] + own

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

    @cached_property
    def is_plain(self) -> bool:
        """Every entry is by somebody, known for what it is and timed exactly; only team and consent bound the work."""
        chart = self.chart
        if chart.care_episodes or chart.died or chart.withheld:
            return False
        return all(a.kinds and a.people and a.when and (a.span or a.duration is None) for a in chart.activities)

    @cached_property
    def workers(self) -> frozenset[str]:
        """Everybody who did something that the record holds."""
        return frozenset().union(*[a.people for a in self.chart.activities])

    @cached_property
    def last_days(self) -> dict[str, date]:
        return last_days(self.chart, self.month)

    # -- consent and visits ---------------------------------------------------------------------

    def permission(self, billers: tuple[str, ...]) -> Permission:
        """Consent to BHI for any of these practitioners."""
        if billers not in self._permissions:
            self._permissions[billers] = permission(self.chart, billers, ("bhi",), self.month, self.switches)
        return self._permissions[billers]

    def openings(self, opened_by: frozenset[str], billers: tuple[str, ...]) -> Openings:
        """The visits that open BHI for any of these practitioners; `opened_by`: as `policy.Code.opened_by`."""
        key = (opened_by, billers)
        if key not in self._openings:
            self._openings[key] = openings(self.chart, opened_by, billers, self.month, self.rules, self.switches)
        return self._openings[key]


def allowed(consent: tuple[Span, ...], activity: Activity, kind: str) -> bool:
    """Not before the consent (outreach may precede it) nor after its end, where consent is known."""
    if kind == "outreach" or not consent or activity.when is None:
        return True
    start, end = window(activity.when)
    return any(start < closes and (opens < end or opens <= start) for opens, closes in consent)


def by_team(patient: PatientMonth, teams: Program, activity: Activity, kind: str) -> bool | None:
    """Was it done by a clinical member of the team (the consultant, for a psychiatric review)? None: unreadable."""
    if not activity.people or activity.when is None:
        return None
    crew = patient.crew(teams)
    if crew.did(activity, kind):
        return True
    mine = [m.roles for *_, m in crew.present(activity) if m.person in activity.people]
    unsure = not all(mine) or (not mine and bool(patient.chart.lacks("CareTeam")))
    return None if unsure else False


def _touches(activity: Activity, month: ServiceMonth) -> bool:
    """Is it of this month, or may it be?"""
    span = activity.span
    if span is None:
        return month.may_hold(activity.when)
    start, end = month.span
    return span[0] < end and (span[1] > start or (span[0] == span[1] and span[0] >= start))
