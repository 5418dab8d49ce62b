"""One track from its first month to the month that is decided: episodes, consent, visit, the month's count."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bhi_fhir.domain.decision import NotCounted
from bhi_fhir.domain.time import Moment, Period, ServiceMonth, Span, intersect, month_index, whole_minutes
from bhi_fhir.domain.value import Value, replace
from bhi_fhir.rules import gates
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.billing import Billing, billing, one_of
from bhi_fhir.rules.consent import consent_of_month
from bhi_fhir.rules.counting import Scope, candidates
from bhi_fhir.rules.initiating_visit import initiating_visit
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.permission import Permission
from bhi_fhir.rules.pieces import Piece
from bhi_fhir.rules.tally import Dropped, Tally, not_counted
from bhi_fhir.rules.thresholds import breakpoints
from bhi_fhir.rules.track import Track


class Course(Value, frozen=True):
    """What a track comes to in the month that is decided."""

    track: Track
    billing: Billing
    consent: Answer
    visit: Answer
    pieces: tuple[Piece, ...]
    dropped: tuple[Dropped, ...]
    """Time that does not count."""
    unread: tuple[str, ...]
    minutes: int
    sources: tuple[str, ...]
    """The entries that the counted time comes from."""
    first_month: int | None
    """The first month of the episode that this month belongs to; None where nothing was counted or charged."""
    doubtful_first_month: bool
    """Unread earlier work or charges could make this month, if it is the first, a later one."""
    month_before_break: int | None = None
    """The last month of the episode before, if there was one."""
    episode_witnesses: tuple[str, ...] = ()
    """What shows which month is the first: its work and charges, or those of the last month before the break."""
    consent_window: tuple[Span, ...] = ()

    @property
    def not_counted(self) -> tuple[NotCounted, ...]:
        """In the order in which it is shown."""
        told = not_counted(self.dropped)
        return tuple(sorted(told, key=lambda n: (n.source, n.reason, n.minutes or 0)))


@dataclass(slots=True)
class _Walk:
    """Where the walk over the months stands."""

    first: int | None = None
    last: int | None = None
    first_if_unread_counted: int | None = None
    last_if_unread_counted: int | None = None
    before: int | None = None
    """The last month before the last break."""
    witnesses: tuple[str, ...] = ()
    """What shows the episode's first month; after a break, until there is one, the last month before it."""
    last_seen: tuple[str, ...] = ()
    opened: dict[tuple[str, ...], Answer] = field(default_factory=dict)
    """By billing practitioners: the visit before their first work in the running episode."""

    def break_in_care(self, month: int, gap: int) -> None:
        if self.last is not None and month - self.last - 1 >= gap:
            self.before, self.witnesses = self.last, self.last_seen
            self.first = self.last = None
            self.opened = {}
        if self.last_if_unread_counted is not None and month - self.last_if_unread_counted - 1 >= gap:
            self.first_if_unread_counted = self.last_if_unread_counted = None

    def work(self, month: int, seen: tuple[str, ...]) -> None:
        if self.first is None:
            self.first = month
            self.witnesses = self.witnesses if self.before is not None else seen
        self.last, self.last_seen = month, seen
        self.may_be_work(month)

    def may_be_work(self, month: int) -> None:
        if self.first_if_unread_counted is None:
            self.first_if_unread_counted = month
        self.last_if_unread_counted = month


def follow(patient: PatientMonth, track: Track) -> Course:
    """What this month comes to for a track. Tracks that count the same work for the same people are walked once."""
    charged, perhaps = charged_months(patient, track)
    last = patient.entries(patient.month).last_work
    plain = patient.is_plain and patient.crew(track.teams).is_plain and last is not None
    if charged or perhaps or not plain:
        return walked(patient, track, charged, perhaps)
    who = billing(patient, track, patient.month, last)
    staff = patient.crew(track.teams).staff(track.roles(patient.switches), who.people) & patient.workers
    allowed = patient.permission(who.people)
    by_program = track.program if allowed.certain != allowed.possible else ""  # the thresholds decide: see `_matters`
    is_own = track.time_of == "billing-practitioner"
    key = (track.teams, track.kinds(patient.switches), staff, who.people, is_own, track.opened_by, by_program)
    same = patient.courses.get(key)
    if same is None:
        same = patient.courses[key] = walked(patient, track, charged, perhaps, nobody=not staff)
    return same if same.track is track else replace(same, track=track, billing=who)


def walked(
    patient: PatientMonth, track: Track, charged: dict[int, list[str]], perhaps: set[int], nobody: bool = False
) -> Course:
    """Walk the track's months in order. `nobody`: no month holds work of anybody whose time counts."""
    walk, month = _Walk(), patient.month
    earlier = set() if nobody else (patient.worked_months | set(charged) | perhaps) - {month.index}
    for index in sorted(earlier):
        walk.break_in_care(index, patient.switches.episode_gap_months)
        counted = _month(patient, track, ServiceMonth(index, month.zone), walk)
        _note(walk, index, counted, charged, perhaps, patient)
    walk.break_in_care(month.index, patient.switches.episode_gap_months)
    counted = _month(patient, track, month, walk)
    _note(walk, month.index, counted, charged, perhaps, patient)
    return _course(track, counted, walk, patient)


@dataclass(slots=True)
class _Counted:
    """One month of the walk."""

    billing: Billing
    allowed: Permission
    tally: Tally
    outside: bool
    """There was work, and none of it is, or may be, of the time of a consent."""
    undecided: bool
    """Work of the day of a consent without time would change a code."""
    visit: Answer
    minutes: int
    sources: tuple[str, ...]


def _note(
    walk: _Walk, index: int, counted: _Counted, charged: dict[int, list[str]], perhaps: set[int], patient: PatientMonth
) -> None:
    """What the month says about the episode."""
    tally = counted.tally
    if index in charged or counted.minutes >= 1:
        walk.work(index, tuple(sorted({*counted.sources, *charged.get(index, ())})))
    elif index in perhaps or any(each.spans is not None for each in tally.unread):
        walk.may_be_work(index)


def _course(track: Track, counted: _Counted, walk: _Walk, patient: PatientMonth) -> Course:
    tally, allowed, this = counted.tally, counted.allowed, patient.month.index
    return Course(
        track=track,
        billing=counted.billing,
        consent=consent_of_month(
            patient, counted.billing, allowed, undecided=counted.undecided, outside=counted.outside
        ),
        visit=counted.visit,
        pieces=tuple(tally.pieces),
        dropped=tuple(tally.all_dropped),
        unread=tuple(sorted({each.activity.ref for each in tally.unread})),
        minutes=counted.minutes,
        sources=counted.sources,
        first_month=walk.first,
        doubtful_first_month=(walk.first or this) == this and walk.first_if_unread_counted not in (None, this),
        month_before_break=walk.before,
        episode_witnesses=walk.witnesses,
        consent_window=_window(allowed),
    )


def _window(allowed: Permission) -> tuple[Span, ...]:
    """When consent is in force, with the day of a consent or a refusal that has no time."""
    sure = [perhaps for perhaps in allowed.possible if any(intersect([each], perhaps) for each in allowed.certain)]
    return tuple(sure) or allowed.possible


def charged_months(patient: PatientMonth, track: Track) -> tuple[dict[int, list[str]], set[int]]:
    """Months in which a code of the program is charged, for certain (with the charges) and perhaps.

    Work was done then, whatever the record holds of it. A charge without a date may be of the month before.
    """
    sure: dict[int, list[str]] = {}
    perhaps: set[int] = set()
    programs, month = patient.rules.programs, patient.month
    if not patient.chart.charges:
        return sure, perhaps
    for charge in (c for c in patient.chart.charges if not c.code or programs.get(c.code) == track.program):
        certain = charge.when is not None and not charge.doubt and _is_within_a_month(charge.when.start, month)
        certain = certain and bool(charge.code)  # one that cannot be read may be of any program
        for index in _months_of(charge.when, month):
            if certain:
                sure.setdefault(index, []).append(charge.ref)
            else:
                perhaps.add(index)
    return sure, perhaps - set(sure)


def _is_within_a_month(moment: Moment | None, month: ServiceMonth) -> bool:
    return moment is not None and ServiceMonth.of(moment.earliest, month.zone).holds(moment)


def _months_of(period: Period | None, month: ServiceMonth) -> range:
    """The months that a charge's period touches, up to the month that is decided."""
    if period is None or period.start is None:
        return range(month.index - 1, month.index)
    first = month_index(period.start.earliest, month.zone)
    closes = period.closes if period.end else period.start.latest
    last = month_index(max(closes - timedelta(microseconds=1), period.start.earliest), month.zone)
    return range(first, min(last, month.index) + 1)


def _month(patient: PatientMonth, track: Track, this: ServiceMonth, walk: _Walk) -> _Counted:
    who, allowed, tally, outside = _count(patient, track, this)
    undecided = bool(tally.uncertain) and _matters(tally, patient, track, walk.first is None)
    gates.keep_uncertain(tally, counts=undecided)
    visit = initiating_visit(patient, track, who, tally, this, walk.opened)
    gates.gate_overlap(tally)
    sources = tuple(sorted({p.activity.ref for p in tally.pieces}))
    return _Counted(who, allowed, tally, outside, undecided, visit, tally.minutes, sources)


_Consented = tuple[Billing, Permission, Tally, bool]
"""Who bills, when consent is in force for them, the work of its time, and whether all work lies outside of it."""


def _count(patient: PatientMonth, track: Track, month: ServiceMonth) -> _Consented:
    """Who bills depends on the last counted work, and what counts on who bills.

    It is the last for whom the last work that counts is work of the time in which they treat.
    """
    last = patient.entries(month).last_work
    found = _consented(patient, track, month, billing(patient, track, month, last))
    if patient.crew(track.teams).steady:
        return found
    tried = [found]
    for moment in patient.entries(month).moments:
        who = billing(patient, track, month, moment)
        if who.people not in [each[0].people for each in tried]:
            tried.append(_consented(patient, track, month, who))
    counting = [(each, counted) for each in tried if (counted := _last_counted(each[2]))]
    for each, counted in counting:
        who = billing(patient, track, month, counted)
        if who.people == each[0].people:
            return who, *each[1:]
    return _consented(patient, track, month, one_of([each[0] for each, _ in counting])) if counting else found


def _consented(patient: PatientMonth, track: Track, month: ServiceMonth, who: Billing) -> _Consented:
    tally = candidates(Scope(patient, track, month, who.people))
    allowed, had_work = patient.permission(who.people), bool(tally.pieces)
    gates.gate_consent(tally, allowed)
    return who, allowed, tally, had_work and not (tally.pieces or tally.uncertain)


def _last_counted(tally: Tally) -> datetime | None:
    """When the last of the work began that counts, or may."""
    return max([p.begins for p in (*tally.pieces, *tally.uncertain)], default=None)


def _matters(tally: Tally, patient: PatientMonth, track: Track, first_month: bool) -> bool:
    """Would the uncertain work of the consent's day change any code?"""
    with_it = whole_minutes(tally.counted + sum((p.counted for p in tally.uncertain[1:]), tally.uncertain[0].counted))
    found = breakpoints(patient.rules, track.program, first_month, patient.switches, with_it)
    return any(at > tally.minutes for at in found)
