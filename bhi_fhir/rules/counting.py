"""Counting the time of one calendar month: what counts, and for each piece that does not, one reason.

Seconds are summed over the month and floored once. A minute counts once, however many people or
entries share it; the earlier start gets the credit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bhi_fhir.domain.decision import NotCounted
from bhi_fhir.domain.record import Activity, CareEpisode, Chart, Member, Role, Team
from bhi_fhir.domain.time import (
    BEGINNING,
    END,
    ServiceMonth,
    Span,
    intersect,
    length,
    subtract,
    union,
    whole_minutes,
)
from bhi_fhir.policy import Switches
from bhi_fhir.rules.permission import Permission
from bhi_fhir.rules.track import BHI_KINDS, Track, members_in, members_on, window

OWN_SERVICES = frozenset(
    {
        "safety-planning",
        "crisis-follow-up",
        "interprofessional-consultation",
        "interprofessional-consultation-written",
        "interprofessional-referral",
        "dmht-supply",
        "dmht-management",
        "dmht-interactive-contact",
        "dmht-device-use",
    }
)
"""Kinds of work that are services of their own: none of them shares minutes with BHI."""

_BECAUSE = {
    "administrative": "administrative and clerical time never counts",
    "not-on-team": "nobody who did it is on the care team at that time",
    "wrong-role": "this role's time does not count for this program",
    "before-consent": "it lies before the consent",
    "before-visit": "it lies before the initiating visit",
    "after-revocation": "consent had ended by then",
    "overlap": "the same minutes are counted in another entry",
    "not-finished": "it is not finished",
    "other-service": "it is time of another, separately billed service",
    "inpatient": "the patient was in inpatient or observation status (site policy)",
    "outside-month": "this part lies in another month",
    "outside-episode": "it lies outside the episode of care",
    "unreadable": "its time, person or state cannot be read",
}


@dataclass(frozen=True, slots=True)
class Piece:
    """Work of the month that counts: exact stretches, or a duration somewhere in `day`."""

    activity: Activity
    spans: tuple[Span, ...] = ()
    floating: timedelta = timedelta()

    @property
    def counted(self) -> timedelta:
        return length(self.spans) + self.floating

    @property
    def begins(self) -> datetime:
        if self.spans:
            return self.spans[0][0]
        assert self.activity.when is not None
        return self.activity.when.earliest

    @property
    def ends(self) -> datetime:
        return self.spans[-1][1] if self.spans else self.begins


@dataclass
class Tally:
    """The month's count while it is being made."""

    pieces: list[Piece] = field(default_factory=list)
    not_counted: list[NotCounted] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    """References of work whose minutes cannot be read."""
    uncertain: list[Piece] = field(default_factory=list)
    """Work that counts only if the consent of that day was given before it."""

    @property
    def counted(self) -> timedelta:
        return sum((p.counted for p in self.pieces), timedelta())

    @property
    def minutes(self) -> int:
        return whole_minutes(self.counted)

    def drop(self, activity: Activity, duration: timedelta | None, reason: str, because: str = "") -> None:
        """List time that does not count. Nothing is listed for nothing."""
        if duration is None or duration > timedelta():
            minutes = None if duration is None else whole_minutes(duration)
            self.not_counted.append(NotCounted(activity.ref, minutes, reason, because or _BECAUSE[reason]))

    def cannot_read(self, activity: Activity, because: str) -> None:
        self.unread.append(activity.ref)
        self.drop(activity, None, "unreadable", because)


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose time is counted for what: one track's month with the practitioners who may bill it."""

    chart: Chart
    track: Track
    month: ServiceMonth
    billers: tuple[str, ...]
    switches: Switches


def candidates(scope: Scope) -> Tally:
    """The month's work before consent, visit and overlap are looked at."""
    tally = Tally()
    for activity in scope.chart.activities:
        if _touches(activity, scope.month):
            _weigh(tally, activity, scope)
    return tally


def _touches(activity: Activity, month: ServiceMonth) -> bool:
    """Is it of this month, or may it be?"""
    span = activity.span
    if span:
        start, end = month.span
        return span[0] < end and (span[1] > start or (span[0] == span[1] and span[0] >= start))
    return month.may_hold(activity.when)


def _weigh(tally: Tally, activity: Activity, scope: Scope) -> None:
    """One entry: left out with its reason, unreadable, or placed in the month."""
    silent = activity.duration is None and not activity.trouble  # evidence that documents no time
    if not activity.kinds:
        if not silent and _by_counted(activity, scope):
            tally.cannot_read(activity, "no map knows what kind of work it is")
        return
    if reason := _never_time(activity):
        tally.drop(activity, _in_month(activity, scope.month), reason)
        return
    if silent and activity.state == "done":
        return
    reason, people = _who(activity, scope)
    if reason == "unreadable":
        tally.cannot_read(activity, "who did it cannot be read")
    elif reason:
        tally.drop(activity, _in_month(activity, scope.month), reason)
    elif why := _unreadable(activity):
        tally.cannot_read(activity, why)
    elif _lent(activity, scope.chart):
        said = "its time is the encounter's that it belongs to"
        tally.drop(activity, _in_month(activity, scope.month), "overlap", said)
    else:
        _place(tally, activity, people, scope)


def _never_time(activity: Activity) -> str:
    """Why an entry is no BHI time, whoever did it; "" if it may be."""
    if activity.state == "not-done":
        return "not-finished"
    if "administrative" in activity.kinds:
        return "administrative"
    return "other-service" if activity.billing_codes or activity.kinds & OWN_SERVICES else ""


def _unreadable(activity: Activity) -> str:
    if activity.state == "unknown":
        return "its status does not say whether it was done"
    return activity.trouble or ("its time cannot be read" if activity.duration is None else "")


def _in_month(activity: Activity, month: ServiceMonth) -> timedelta | None:
    """The part of its time that lies in the month; None where it cannot be read, nothing where none is documented."""
    if activity.span:
        return length(intersect([activity.span], month.span))
    if activity.duration is None:
        return None if activity.trouble else timedelta()
    return activity.duration


def _by_counted(activity: Activity, scope: Scope) -> bool:
    """Did somebody take part whose time this track may count? The treating practitioner's own visits are no BHI work.

    A member whose role no map knows may be the care manager.
    """
    if activity.when is None or activity.state == "not-done":
        return False
    if scope.track.time_of == "billing-practitioner":
        return bool(activity.people & set(scope.billers))
    wanted = scope.track.roles(scope.switches)
    members = members_on(scope.chart, scope.track.teams, activity.when)
    staff = {m.person for _, m in members if m.roles & wanted or not m.roles}
    return bool(activity.people & staff)


def _who(activity: Activity, scope: Scope) -> tuple[str, frozenset[str]]:
    """(reason why nobody's time counts, or ""; whose time counts)."""
    chart, track = scope.chart, scope.track
    if not activity.kinds & track.kinds(scope.switches):
        return "wrong-role", frozenset()
    if not activity.people:
        return "unreadable", frozenset()
    mine = [m for _, m in _on_team(activity, scope) if m.person in activity.people]
    good = {m.person for m in mine if m.person and _counts(m, scope)}
    if good:
        return "", frozenset(good)
    if not mine:  # a place that names nobody may be this person's, and so may one on a team that was not read
        unnamed = any(m.person is None and _counts(m, scope) for _, m in _on_team(activity, scope))
        return "unreadable" if unnamed or chart.lacks("CareTeam") else "not-on-team", frozenset()
    unsure = any(not m.roles for m in mine) or bool(chart.lacks("CareTeam"))
    return "unreadable" if unsure else "wrong-role", frozenset()


def _on_team(activity: Activity, scope: Scope) -> list[tuple[Team, Member]]:
    """Who was on the program's teams at any time of an entry."""
    chart, teams = scope.chart, scope.track.teams
    if activity.when is None:
        return members_in(chart, teams, (BEGINNING, END))
    span = activity.span
    return members_in(chart, teams, span) if span and span[0] < span[1] else members_on(chart, teams, activity.when)


def _counts(member: Member, scope: Scope) -> bool:
    """Does this place on the team make the person's time count?"""
    as_biller = Role.TREATING in member.roles and member.person in scope.billers
    return as_biller or bool(member.roles & scope.track.roles(scope.switches))


def _lent(activity: Activity, chart: Chart) -> bool:
    """A Procedure inside an Encounter lends its time only if that has none or is not itself work."""
    if activity.inside is None:
        return False
    outer = next((a for a in chart.activities if a.ref == activity.inside), None)
    return (
        outer is not None
        and bool(outer.kinds)
        and not outer.billing_codes
        and outer.state == "done"
        and outer.duration is not None
        and not outer.trouble
    )


def _place(tally: Tally, activity: Activity, people: frozenset[str], scope: Scope) -> None:
    """Cut away what is in another month, outside the episode, in hospital, or another service's."""
    span, duration = activity.span, activity.duration
    assert duration is not None
    episodes = episodes_of(scope.chart, scope.track, scope.month)
    doubt = next((e.doubt for e in episodes if e.doubt and e.period.holds(activity_start(activity))), "")
    if doubt and not any(not e.doubt and e.period.holds(activity_start(activity)) for e in episodes):
        tally.cannot_read(activity, f"whether it lies in the episode of care: {doubt}")
    elif span is None:
        _place_floating(tally, activity, duration, episodes, scope)
    else:
        _place_span(tally, activity, span, people, scope)


def activity_start(activity: Activity) -> datetime:
    assert activity.when is not None
    return activity.when.earliest


def _place_floating(
    tally: Tally, activity: Activity, duration: timedelta, episodes: list[CareEpisode], scope: Scope
) -> None:
    """A duration on a day, without time of day."""
    assert activity.when is not None
    day = window(activity.when)
    hospital = [] if scope.switches.count_inpatient_minutes else inpatient(scope.chart)
    if not scope.month.holds(activity.when):
        tally.cannot_read(activity, "its date is not exact enough to know the month")
    elif not subtract([day], after_death(scope.chart)):
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
    chart = scope.chart
    inside = intersect([span], scope.month.span)
    tally.drop(activity, length([span]) - length(inside), "outside-month")
    inside = _cut(tally, activity, inside, after_death(chart), "outside-episode", "the patient had died")
    inside = _cut(tally, activity, inside, _outside_episodes(chart, scope.track, scope.month, span), "outside-episode")
    if not scope.switches.count_inpatient_minutes:
        inside = _cut(tally, activity, inside, inpatient(chart), "inpatient")
    inside = _cut(tally, activity, inside, subtract([span], _on_duty(activity, people, scope)), "not-on-team")
    free: list[Span] = []
    for person in people:
        busy = [o.span for o in chart.other_services if person in o.people] + _own_services(chart, person)
        free += subtract(inside, busy)
    left = union(free)
    tally.drop(activity, length(inside) - length(left), "other-service")
    if left:
        tally.pieces.append(Piece(activity, tuple(left)))


def _on_duty(activity: Activity, people: frozenset[str], scope: Scope) -> list[Span]:
    """When those whose time counts were on the team: the period bounds the membership."""
    places = [(t, m) for t, m in _on_team(activity, scope) if m.person in people and _counts(m, scope)]
    return union(team.membership(member) for team, member in places)


def _own_services(chart: Chart, person: str) -> list[Span]:
    """When this person did what is charged as a related service of its own."""
    return [
        a.span
        for a in chart.activities
        if a.kinds & OWN_SERVICES and a.state == "done" and person in a.people and a.span is not None
    ]


def _cut(
    tally: Tally, activity: Activity, spans: list[Span], away: Iterable[Span], reason: str, because: str = ""
) -> list[Span]:
    left = subtract(spans, away)
    tally.drop(activity, length(spans) - length(left), reason, because)
    return left


def episodes_of(chart: Chart, track: Track, month: ServiceMonth) -> list[CareEpisode]:
    """The program's episodes of care; one that begins after the month says nothing about it."""
    return [e for e in chart.care_episodes if e.program == track.program and e.period.opens < month.span[1]]


def _outside_episodes(chart: Chart, track: Track, month: ServiceMonth, span: Span) -> list[Span]:
    """The parts of a stretch that no EpisodeOfCare of the program covers; none if there is none."""
    mine = episodes_of(chart, track, month)
    return subtract([span], [(e.period.opens, e.period.closes) for e in mine]) if mine else []


# -- consent, visit, overlap ------------------------------------------------------------------------


def gate_consent(tally: Tally, permission: Permission) -> None:
    """Work before consent or after its end counts nothing; where there is no certain consent all is shown."""
    if not permission.certain:
        return
    pieces, tally.pieces = tally.pieces, []
    for piece in pieces:
        if piece.spans:
            _gate_spans(tally, piece, permission)
        else:
            _gate_floating(tally, piece, permission)


def _gate_spans(tally: Tally, piece: Piece, permission: Permission) -> None:
    sure = union(s for window in permission.certain for s in intersect(piece.spans, window))
    rest = subtract(piece.spans, sure)
    perhaps = union(s for window in permission.possible for s in intersect(rest, window))
    if sure:
        tally.pieces.append(Piece(piece.activity, tuple(sure)))
    if perhaps:
        tally.uncertain.append(Piece(piece.activity, tuple(perhaps)))
    for span in subtract(rest, perhaps):
        tally.drop(piece.activity, length([span]), _side(span, permission))


def _gate_floating(tally: Tally, piece: Piece, permission: Permission) -> None:
    when = piece.activity.when
    assert when is not None
    day = (when.earliest, when.latest)
    if any(start <= day[0] and day[1] <= end for start, end in permission.certain):
        tally.pieces.append(piece)
    elif any(intersect([day], window) for window in permission.possible):
        tally.uncertain.append(piece)
    else:
        tally.drop(piece.activity, piece.floating, _side(day, permission))


def _side(span: Span, permission: Permission) -> str:
    return "before-consent" if span[1] <= permission.certain[0][0] else "after-revocation"


def keep_uncertain(tally: Tally, counts: bool) -> None:
    """Work of the day of a consent without time: counted where the answer is unknown anyway, else left out."""
    for piece in tally.uncertain:
        if counts:
            tally.pieces.append(piece)
        else:
            tally.drop(piece.activity, piece.counted, "before-consent", "the consent of that day has no time")
    tally.uncertain = []


def gate_visit(tally: Tally, start: datetime) -> None:
    """Work before the initiating visit counts nothing."""
    pieces, tally.pieces = tally.pieces, []
    for piece in pieces:
        if piece.spans:
            before = [s for span in piece.spans for s in intersect([span], (span[0], max(span[0], start)))]
            tally.drop(piece.activity, length(before), "before-visit")
            after = subtract(piece.spans, before)
            if after:
                tally.pieces.append(Piece(piece.activity, tuple(after)))
        elif piece.begins < start and (piece.activity.when is None or piece.activity.when.latest <= start):
            tally.drop(piece.activity, piece.floating, "before-visit")
        else:
            tally.pieces.append(piece)


def gate_overlap(tally: Tally) -> None:
    """A minute counts once; the earlier start gets the credit."""
    pieces, tally.pieces = sorted(tally.pieces, key=_order), []
    taken: list[Span] = []
    for piece in pieces:
        if not piece.spans:
            tally.pieces.append(piece)
            continue
        left = subtract(piece.spans, taken)
        tally.drop(piece.activity, length(piece.spans) - length(left), "overlap")
        taken = union([*taken, *left])
        if left:
            tally.pieces.append(Piece(piece.activity, tuple(left)))


def _order(piece: Piece) -> tuple[datetime, datetime, str]:
    return piece.begins, piece.ends, piece.activity.ref


WORK = BHI_KINDS | {"psychiatric-review"}
"""Every kind of BHI work, timed or not."""


def works_of(chart: Chart) -> list[Activity]:
    """Everything that is BHI work by its kind and has a date."""
    return [a for a in chart.activities if a.when is not None and a.kinds & WORK]
