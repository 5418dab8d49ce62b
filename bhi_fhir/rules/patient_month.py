"""One patient's month: the chart, what is asked of it, and its work arranged once for all codes."""

from __future__ import annotations

from collections import defaultdict
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec.structs import force_setattr

from bhi_fhir.domain.decision import Finding
from bhi_fhir.domain.record import Activity, Chart, Program, Role
from bhi_fhir.domain.time import BEGINNING, END, ServiceMonth, Span, length, local_day, month_index
from bhi_fhir.domain.value import Value
from bhi_fhir.rules.permission import Permission, permission
from bhi_fhir.rules.track import BHI_KINDS, OWN_SERVICES, Place, Track, at_moment, in_stretch, places_on, window
from bhi_fhir.rules.visits import Openings, openings

if TYPE_CHECKING:
    from bhi_fhir.rules.billing import Billing
    from bhi_fhir.rules.course import Course
    from bhi_fhir.rules.requirements import Check
    from bhi_fhir.rules.setting import Setting

WORK = BHI_KINDS | {"psychiatric-review"}
"""Every kind of BHI work, timed or not."""
_TREATING = frozenset({Role.TREATING})
_CLINICAL = frozenset(Role) - {Role.ADMINISTRATIVE}
_CONSULTANT = frozenset({Role.CONSULTANT})


class Piece(Value, frozen=True):
    """Work of the month that counts: exact stretches, or a duration somewhere in its day."""

    activity: Activity
    spans: tuple[Span, ...] = ()
    floating: timedelta = timedelta()
    begins: datetime = BEGINNING
    ends: datetime = BEGINNING
    counted: timedelta = timedelta()
    """The last three follow from the others."""

    def __post_init__(self) -> None:
        spans, when = self.spans, self.activity.when
        if spans:
            begins, ends = spans[0][0], spans[-1][1]
            counted = ends - begins if len(spans) == 1 else length(spans)
        else:
            assert when is not None
            begins = ends = when.earliest
            counted = self.floating
        force_setattr(self, "begins", begins)
        force_setattr(self, "ends", ends)
        force_setattr(self, "counted", counted)


class Entries(Value, frozen=True):
    """A month's entries, sorted by what can become of them whoever did them."""

    unplaced: tuple[Activity, ...]
    """No map knows what they are."""
    never: tuple[tuple[Activity, str], ...]
    """No BHI time, and why."""
    whole: tuple[Piece, ...]
    """Work that counts whole where it counts: it lies in the month, and nobody did anything else in its time."""
    work: tuple[Activity, ...]
    """All other work."""
    last_work: datetime | None
    """When the last BHI work of the month began that was done."""


def sort_out(found: list[Activity], month: Span, taken: list[Span]) -> Entries:
    """`taken`: the time of other services, whoever did them."""
    unplaced, never, whole, work = [], [], [], []
    last: datetime | None = None
    for entry in found:
        if not entry.kinds:
            if entry.duration is not None or entry.trouble:
                unplaced.append(entry)
            continue
        if entry.state == "done" and entry.kinds & WORK and "administrative" not in entry.kinds:
            begun = entry.when.earliest if entry.when else None
            if begun and month[0] <= begun < month[1] and (last is None or last < begun):
                last = begun
        if reason := _never_time(entry):
            never.append((entry, reason))
        elif span := _own_time(entry, month, taken):
            whole.append(Piece(entry, (span,)))
        elif entry.duration is not None or entry.trouble or entry.state != "done":
            work.append(entry)  # else it is evidence that documents no time
    return Entries(tuple(unplaced), tuple(never), tuple(whole), tuple(work), last)


def _own_time(entry: Activity, month: Span, taken: list[Span]) -> Span | None:
    """The time of what was done from beginning to end in the month, and stands for nothing else."""
    span = entry.span
    if span is None or entry.state != "done" or entry.trouble or entry.inside is not None:
        return None
    if span[0] < month[0] or month[1] < span[1]:
        return None
    for start, end in taken:
        if start < span[1] and span[0] < end:
            return None
    return span


def _never_time(activity: Activity) -> str:
    """Why an entry is no BHI time, whoever did it; "" if it may be."""
    if activity.state == "not-done":
        return "not-finished"
    if "administrative" in activity.kinds:
        return "administrative"
    return "other-service" if activity.billing_codes or activity.kinds & OWN_SERVICES else ""


class Crew:
    """Who was on a program's teams when an entry was made."""

    def __init__(self, places: list[Place], activities: tuple[Activity, ...]) -> None:
        self.places = places
        self._seats: dict[str, list[Place]] = {}
        moments = [a.when for a in activities if a.when]
        first = min((m.earliest for m in moments), default=END)
        last = max((*(m.latest for m in moments), *(a.span[1] for a in activities if a.span)), default=BEGINNING)
        self.steady = all(place[0] < first and last < place[1] for place in places)
        """Everybody was there from before the first entry until after the last."""
        self.is_plain = self.steady and all(member.person and member.roles for *_, member in places)
        """Steady, and everybody is known by name and role."""
        self._with: dict[frozenset[Role], frozenset[str]] = {}
        self._staff: dict[tuple[frozenset[Role], tuple[str, ...]], frozenset[str]] = {}

    def having(self, roles: frozenset[Role]) -> frozenset[str]:
        """Everybody who ever had one of these roles; on a steady crew, at every entry."""
        known = self._with.get(roles)
        if known is None:
            mine = [m.person for *_, m in self.places if m.person and not roles.isdisjoint(m.roles)]
            known = self._with[roles] = frozenset(mine)
        return known

    def did(self, activity: Activity, kind: str) -> bool:
        """Was it surely done by a clinical member of the team (the consultant, for a psychiatric review)?"""
        if not activity.people or activity.when is None:
            return False
        wanted = _CONSULTANT if kind == "psychiatric-review" else _CLINICAL
        if self.steady:
            return not activity.people.isdisjoint(self.having(wanted))
        return any(m.person in activity.people and m.roles & wanted for *_, m in self.present(activity))

    def staff(self, roles: frozenset[Role], billers: tuple[str, ...]) -> frozenset[str]:
        """Whose time counts: everybody with one of these roles, and those of the billers who treat."""
        key = (roles, billers)
        if key not in self._staff:
            self._staff[key] = self.having(roles) | self.having(_TREATING).intersection(billers)
        return self._staff[key]

    def seats(self, activity: Activity) -> list[Place]:
        """Who was there at any time of an entry."""
        if self.steady:
            return self.places
        if activity.ref not in self._seats:
            self._seats[activity.ref] = self._seats_of(activity)
        return self._seats[activity.ref]

    def _seats_of(self, activity: Activity) -> list[Place]:
        if activity.when is None:
            return in_stretch(self.places, (BEGINNING, END))
        span = activity.span
        if span and span[0] < span[1]:
            return in_stretch(self.places, span)
        return at_moment(self.places, activity.when)

    def present(self, activity: Activity) -> list[Place]:
        """Who was there when an entry began."""
        if self.steady or activity.when is None:
            return self.places
        return at_moment(self.places, activity.when)


class PatientMonth:
    """Each answer is worked out when it is first asked for, and kept: many codes and tracks ask the same."""

    def __init__(self, chart: Chart, setting: Setting) -> None:
        self.chart, self.setting = chart, setting
        self.month, self.rules, self.switches = setting.month, setting.rules, setting.switches
        self.findings: dict[Check, Finding | None] = {}
        self.courses: dict[object, Course] = {}
        """What tracks come to, by what makes a difference to them: see `follow`."""
        self.billings: dict[Track, Billing] = {}
        """Who bills, where that is the same at every entry: see `billing`."""
        self._crews: dict[Program, Crew] = {}
        self._entries: dict[int, Entries] = {}
        self._elements: dict[tuple[Program, tuple[Span, ...]], dict[str, tuple[str, ...]]] = {}
        self._busy: dict[str, list[Span]] = {}
        self._permissions: dict[tuple[str, ...], Permission] = {}
        self._openings: dict[tuple[bool, tuple[str, ...]], Openings] = {}

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

    def openings(self, time_of: str, billers: tuple[str, ...]) -> Openings:
        """The visits that open BHI for any of these practitioners."""
        psychiatric = time_of == "billing-practitioner"
        key = (psychiatric, billers)
        if key not in self._openings:
            self._openings[key] = openings(self.chart, psychiatric, billers, self.month, self.rules, self.switches)
        return self._openings[key]


def allowed(consent: tuple[Span, ...], activity: Activity, kind: str) -> bool:
    """Not before the consent (outreach may precede it) nor after its end, where consent is known."""
    if kind == "outreach" or not consent or activity.when is None:
        return True
    start, end = window(activity.when)
    return any(start <= closes and end >= opens for opens, closes in consent)


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


DEATH, COVERAGE = "the patient's death", "the end of coverage"


def last_days(chart: Chart, month: ServiceMonth) -> dict[str, date]:
    """The last day on which the patient lived, and was covered; without what lasts beyond the month."""
    ends = {}
    if chart.died is not None:
        ends[DEATH] = local_day(chart.died.latest - timedelta(microseconds=1) if not chart.died.exact
                                else chart.died.earliest, month.zone)  # fmt: skip
    covers = [c for c in chart.covers if c.period.meets(month.span)]
    medicare = [c for c in covers if c.medicare] or covers
    if medicare and all(c.period.end for c in medicare):
        ends[COVERAGE] = max(local_day(c.period.closes - timedelta(microseconds=1), month.zone) for c in medicare)
    return ends


def undated_death(chart: Chart, month: ServiceMonth) -> str:
    """That the patient died, perhaps before the month's last work, and no day is known; "" otherwise."""
    died = chart.died
    if died is None or died.within_a_day or died.earliest >= month.span[1] or died.latest <= month.span[0]:
        return ""
    return "the patient has died, and nothing readable says on which day"


def _touches(activity: Activity, month: ServiceMonth) -> bool:
    """Is it of this month, or may it be?"""
    span = activity.span
    if span is None:
        return month.may_hold(activity.when)
    start, end = month.span
    return span[0] < end and (span[1] > start or (span[0] == span[1] and span[0] >= start))
