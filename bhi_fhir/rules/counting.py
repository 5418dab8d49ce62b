"""Counting the time of one calendar month: whose work it is, and where it lies. What then counts: see `gates`.

Seconds are summed over the month and floored once. A minute counts once, however many people or
entries share it; the earlier start gets the credit.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from bhi_fhir.domain.record import Activity, CareEpisode, Chart, Member, Role
from bhi_fhir.domain.time import END, ServiceMonth, Span, intersect, length, subtract, union
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.pieces import Piece
from bhi_fhir.rules.tally import NOTHING, Tally
from bhi_fhir.rules.track import Track, window


class Scope:
    """Whose time is counted for what: one track's month with the practitioners who may bill it."""

    def __init__(self, patient: PatientMonth, track: Track, month: ServiceMonth, billers: tuple[str, ...]) -> None:
        self.patient, self.track, self.month, self.billers = patient, track, month, billers
        self.chart, self.span, self.crew = patient.chart, month.span, patient.crew(track.teams)
        self.kinds, self.roles = track.kinds(patient.switches), track.roles(patient.switches)
        self.after_death = after_death(self.chart)
        self.episodes = episodes_of(self.chart, track, month) if self.chart.care_episodes else []
        self.hospital = [] if patient.switches.count_inpatient_minutes else inpatient(self.chart)
        self.steady = self.crew.steady
        self.interrupted = bool(self.after_death or self.episodes or self.hospital) or not self.steady
        """Something may cut into an entry's time."""
        self.staff = self.crew.staff(self.roles, billers) if self.steady else frozenset[str]()
        """On a steady crew: whose time counts."""

    def whose(self, activity: Activity) -> frozenset[str]:
        """Whose time counts of those who did it."""
        if self.steady:
            return activity.people & self.staff
        seats = self.crew.seats(activity)
        mine = [m for *_, m in seats if m.person in activity.people]
        return frozenset([m.person for m in mine if m.person and _counts(m, self)])


def candidates(scope: Scope) -> Tally:
    """The month's work before consent, visit and overlap are looked at."""
    tally, entries = Tally(), scope.patient.entries(scope.month)
    for activity in entries.unplaced:
        if _by_counted(activity, scope):
            tally.cannot_read(activity, "no map knows what kind of work it is")
    for activity, reason in entries.never:
        tally.drop(activity, _in_month(activity, scope), reason)
    for piece in entries.whole:
        activity = piece.activity
        if scope.interrupted or scope.kinds.isdisjoint(activity.kinds) or scope.staff.isdisjoint(activity.people):
            _weigh(tally, activity, scope)
        else:
            tally.pieces.append(piece)
    for activity in entries.work:
        _weigh(tally, activity, scope)
    if tally.unread:
        _bound_unread(tally, scope)
    return tally


def _weigh(tally: Tally, activity: Activity, scope: Scope) -> None:
    """One entry: left out with its reason, unreadable, or placed in the month."""
    reason, people = _who(activity, scope)
    if reason == "unreadable":
        tally.cannot_read(activity, "who did it cannot be read")
    elif reason:
        tally.drop(activity, _in_month(activity, scope), reason)
    elif activity.inside and _lent(activity, scope.chart):
        said = "its time is the encounter's that it belongs to"
        tally.drop(activity, _in_month(activity, scope), "overlap", said)
    elif why := _unreadable(activity):
        if not _borrows(activity, scope):
            tally.cannot_read(activity, why)
    else:
        _place(tally, activity, people, scope)


def _unreadable(activity: Activity) -> str:
    if activity.state == "unknown":
        return "its status does not say whether it was done"
    return activity.trouble or ("its time cannot be read" if activity.duration is None else "")


def _in_month(activity: Activity, scope: Scope) -> timedelta | None:
    """The part of its time that lies in the month; None where it cannot be read, nothing where none is documented."""
    span, month = activity.span, scope.span
    if span:
        if month[0] <= span[0] and span[1] <= month[1]:
            return activity.duration
        return length(intersect([span], month))
    if activity.duration is None:
        return None if activity.trouble else NOTHING
    return activity.duration


def _by_counted(activity: Activity, scope: Scope) -> bool:
    """Did somebody take part whose time this track may count? The treating practitioner's own visits are no BHI work.

    A member whose role no map knows may be the care manager.
    """
    if activity.when is None or activity.state == "not-done":
        return False
    if scope.track.time_of == "billing-practitioner":
        return bool(activity.people & set(scope.billers))
    staff = {m.person for *_, m in scope.crew.present(activity) if m.roles & scope.roles or not m.roles}
    return bool(activity.people & staff)


def _who(activity: Activity, scope: Scope) -> tuple[str, frozenset[str]]:
    """(reason why nobody's time counts, or ""; whose time counts)."""
    if not activity.kinds & scope.kinds:
        return "wrong-role", frozenset()
    if not activity.people:
        return "unreadable", frozenset()
    if good := scope.whose(activity):
        return "", good
    seats = scope.crew.seats(activity)
    mine = [m for *_, m in seats if m.person in activity.people]
    if not mine:  # a place that names nobody may be this person's, and so may one on a team that was not read
        unnamed = any(m.person is None and _counts(m, scope) for *_, m in seats)
        return "unreadable" if unnamed or scope.chart.lacks("CareTeam") else "not-on-team", frozenset()
    unsure = any(not m.roles for m in mine) or bool(scope.chart.lacks("CareTeam"))
    return "unreadable" if unsure else "wrong-role", frozenset()


def _counts(member: Member, scope: Scope) -> bool:
    """Does this place on the team make the person's time count?"""
    as_biller = Role.TREATING in member.roles and member.person in scope.billers
    return as_biller or not scope.roles.isdisjoint(member.roles)


def _lent(activity: Activity, chart: Chart) -> bool:
    """A Procedure inside an Encounter lends its time only if that has none or is not itself work."""
    outer = next((a for a in chart.activities if a.ref == activity.inside), None)
    return (
        outer is not None
        and bool(outer.kinds)
        and not outer.billing_codes
        and outer.state == "done"
        and outer.duration is not None
        and not outer.trouble
    )


def _borrows(activity: Activity, scope: Scope) -> bool:
    """An Encounter without a time of its own that a Procedure inside it lends one."""
    return (
        activity.state == "done"
        and activity.duration is None
        and any(
            a.inside == activity.ref and a.state == "done" and a.duration and a.kinds & scope.kinds
            for a in scope.chart.activities
        )
    )


def _bound_unread(tally: Tally, scope: Scope) -> None:
    """Leave out what cannot count whenever in its time it was."""
    tally.cut_unread(lambda _, spans: intersect(spans, scope.span), "outside-month")
    tally.cut_unread(lambda _, spans: subtract(spans, scope.after_death), "outside-episode")
    if scope.episodes:
        mine = [(e.period.opens, e.period.closes) for e in scope.episodes]
        tally.cut_unread(lambda _, spans: [s for each in mine for s in intersect(spans, each)], "outside-episode")
    tally.cut_unread(lambda _, spans: subtract(spans, scope.hospital), "inpatient")
    tally.cut_unread(lambda each, spans: _free(list(spans), each.activity.people, scope), "other-service")


def _place(tally: Tally, activity: Activity, people: frozenset[str], scope: Scope) -> None:
    """Cut away what is in another month, outside the episode, in hospital, or another service's."""
    span, duration = activity.span, activity.duration
    assert duration is not None
    if scope.episodes and (doubt := _doubtful_episode(activity, scope)):
        tally.cannot_read(activity, f"whether it lies in the episode of care: {doubt}")
    elif span is None:
        _place_floating(tally, activity, duration, scope)
    else:
        _place_span(tally, activity, span, people, scope)


def _doubtful_episode(activity: Activity, scope: Scope) -> str:
    """Why only a doubtful episode of care holds it; "" if that is not so."""
    holding = [e for e in scope.episodes if e.period.holds(activity_start(activity))]
    return holding[0].doubt if holding and all(e.doubt for e in holding) else ""


def activity_start(activity: Activity) -> datetime:
    assert activity.when is not None
    return activity.when.earliest


def _place_floating(tally: Tally, activity: Activity, duration: timedelta, scope: Scope) -> None:
    """A duration on a day, without time of day."""
    assert activity.when is not None
    day, hospital, episodes = window(activity.when), scope.hospital, scope.episodes
    if not scope.month.holds(activity.when):
        tally.cannot_read(activity, "its date is not exact enough to know the month")
    elif not subtract([day], scope.after_death):
        tally.drop(activity, duration, "outside-episode", "the patient had died")
    elif hospital and not subtract([day], hospital):
        tally.drop(activity, duration, "inpatient")
    elif any(intersect([day], stay) for stay in hospital):
        tally.cannot_read(activity, "whether it was before or after the hospital stay of that day")
    elif episodes and not any(e.period.holds(activity_start(activity)) for e in episodes):
        tally.drop(activity, duration, "outside-episode")
    else:
        tally.pieces.append(Piece(activity, floating=duration))


def after_death(chart: Chart) -> list[Span]:
    return [(chart.died.latest, END)] if chart.died is not None else []


def inpatient(chart: Chart) -> list[Span]:
    return [(s.period.opens, s.period.closes) for s in chart.stays if s.kind == "inpatient"]


def _place_span(tally: Tally, activity: Activity, span: Span, people: frozenset[str], scope: Scope) -> None:
    start, end = scope.span
    inside = [span]
    if span[0] < start or end < span[1]:
        inside = intersect(inside, scope.span)
        tally.drop(activity, length([span]) - length(inside), "outside-month")
    if scope.interrupted:
        inside = _cut(tally, activity, inside, scope.after_death, "outside-episode", "the patient had died")
        inside = _cut(tally, activity, inside, _outside_episodes(scope, span), "outside-episode")
        inside = _cut(tally, activity, inside, scope.hospital, "inpatient")
        inside = _cut(tally, activity, inside, _off_duty(activity, span, people, scope), "not-on-team")
    left = _free(inside, people, scope)
    if left is not inside:
        tally.drop(activity, length(inside) - length(left), "other-service")
    if left:
        tally.pieces.append(Piece(activity, tuple(left)))


def _off_duty(activity: Activity, span: Span, people: frozenset[str], scope: Scope) -> list[Span]:
    """When those whose time counts were not on the team: the period bounds the membership."""
    if scope.crew.steady:
        return []
    seats = scope.crew.seats(activity)
    on_duty = [(s, e) for s, e, _, m in seats if m.person in people and _counts(m, scope)]
    if any(start <= span[0] and span[1] <= end for start, end in on_duty):
        return []
    return subtract([span], union(on_duty))


def _free(inside: list[Span], people: frozenset[str], scope: Scope) -> list[Span]:
    """What at least one of these people did not spend on another service; all of it where nobody is known."""
    if not people:
        return inside
    busy = []
    for person in people:
        if not (mine := scope.patient.busy(person)):
            return inside
        busy.append(mine)
    return union(s for mine in busy for s in subtract(inside, mine))


def _cut(
    tally: Tally, activity: Activity, spans: list[Span], away: list[Span], reason: str, because: str = ""
) -> list[Span]:
    if not away:
        return spans
    left = subtract(spans, away)
    tally.drop(activity, length(spans) - length(left), reason, because)
    return left


def episodes_of(chart: Chart, track: Track, month: ServiceMonth) -> list[CareEpisode]:
    """The program's episodes of care; one that begins after the month says nothing about it."""
    return [e for e in chart.care_episodes if e.program == track.program and e.period.opens < month.span[1]]


def _outside_episodes(scope: Scope, span: Span) -> list[Span]:
    """The parts of a stretch that no EpisodeOfCare of the program covers; none if there is none."""
    mine = scope.episodes
    return subtract([span], [(e.period.opens, e.period.closes) for e in mine]) if mine else []
