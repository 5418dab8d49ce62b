"""One track from its first month to the month that is decided: episodes, consent, visit, the month's count."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from bhi_fhir.domain.decision import NotCounted, Outcome
from bhi_fhir.domain.record import Chart, Visit
from bhi_fhir.domain.time import Moment, Period, ServiceMonth, Span, local_day, month_index, whole_minutes
from bhi_fhir.domain.value import Value, replace
from bhi_fhir.rules import gates
from bhi_fhir.rules.billing import Billing, billing
from bhi_fhir.rules.counting import Scope, candidates
from bhi_fhir.rules.patient_month import PatientMonth, Piece
from bhi_fhir.rules.permission import Permission
from bhi_fhir.rules.tally import Dropped, Tally, not_counted
from bhi_fhir.rules.thresholds import breakpoints
from bhi_fhir.rules.track import Track


class Answer(Value, frozen=True):
    """An outcome on its way to becoming a finding."""

    outcome: Outcome
    because: str
    evidence: tuple[str, ...] = ()


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
    key = (track.teams, track.kinds(patient.switches), staff, who.people, is_own, by_program)
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
    had_work: bool
    agreed: bool
    """Some of the work is, or may be, of the time of a consent."""
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
    elif index in perhaps or (
        tally.unread and any(a.when is not None for a in patient.chart.activities if a.ref in tally.unread)
    ):
        walk.may_be_work(index)


def _course(track: Track, counted: _Counted, walk: _Walk, patient: PatientMonth) -> Course:
    tally, allowed, this = counted.tally, counted.allowed, patient.month.index
    return Course(
        track=track,
        billing=counted.billing,
        consent=_consent(patient, counted),
        visit=counted.visit,
        pieces=tuple(tally.pieces),
        dropped=tuple(tally.dropped),
        unread=tuple(sorted(set(tally.unread))),
        minutes=counted.minutes,
        sources=counted.sources,
        first_month=walk.first,
        doubtful_first_month=(walk.first or this) == this and walk.first_if_unread_counted not in (None, this),
        month_before_break=walk.before,
        episode_witnesses=walk.witnesses,
        consent_window=allowed.certain or allowed.possible,
    )


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
    who, tally = _count(patient, track, this)
    allowed, had_work = patient.permission(who.people), bool(tally.pieces)
    gates.gate_consent(tally, allowed)
    agreed = bool(tally.pieces or tally.uncertain)
    undecided = bool(tally.uncertain) and _matters(tally, patient, track, walk.first is None)
    gates.keep_uncertain(tally, counts=undecided)
    visit = _visit(patient, track, who, tally, this, walk)
    gates.gate_overlap(tally)
    sources = tuple(sorted({p.activity.ref for p in tally.pieces}))
    return _Counted(who, allowed, tally, had_work, agreed, undecided, visit, tally.minutes, sources)


def _count(patient: PatientMonth, track: Track, month: ServiceMonth) -> tuple[Billing, Tally]:
    """Who bills depends on the last counted work, and what counts on who bills: two rounds settle it."""
    last = patient.entries(month).last_work
    who = billing(patient, track, month, last)
    tally = candidates(Scope(patient, track, month, who.people))
    counted = max([p.begins for p in tally.pieces], default=last)
    if counted != last:
        before, who = who, billing(patient, track, month, counted)
        if who.people != before.people:
            tally = candidates(Scope(patient, track, month, who.people))
    return who, tally


def _matters(tally: Tally, patient: PatientMonth, track: Track, first_month: bool) -> bool:
    """Would the uncertain work of the consent's day change any code?"""
    with_it = whole_minutes(tally.counted + sum((p.counted for p in tally.uncertain[1:]), tally.uncertain[0].counted))
    found = breakpoints(patient.rules, track.program, first_month, patient.switches, with_it)
    return any(at > tally.minutes for at in found)


# -- consent ----------------------------------------------------------------------------------------


def _consent(patient: PatientMonth, counted: _Counted) -> Answer:
    chart, who, allowed = patient.chart, counted.billing, counted.allowed
    start, end = patient.month.span
    refs = tuple(sorted({c.ref for c in allowed.serving}))
    if counted.undecided:
        because = "the consent has a date without time, and work of that day decides"
        return Answer("unknown", allowed.doubts[0] if allowed.doubts else because, refs)
    in_month = any(s[0] < end and s[1] > start for s in allowed.certain)
    if in_month and (reason := chart.lacks("Consent")):
        return Answer("unknown", f"what is missing may take the consent back or precede it: {reason}", refs)
    if in_month and (counted.agreed or not counted.had_work):
        return Answer("met", f"consent is in force for {who.practitioner or 'the billing practitioner'}", refs)
    if in_month:
        return Answer("not-met", "all of the month's work lies before the consent or after its end", refs)
    if any(s[0] < end and s[1] > start for s in allowed.possible):
        because = allowed.doubts[0] if allowed.doubts else "the consent's date is not exact enough"
        return Answer("unknown", because, refs)
    if reason := chart.lacks("Consent"):
        return Answer("unknown", reason)
    if any(c.kind == "unplaced" for c in chart.consents):
        unplaced = tuple(c.ref for c in chart.consents if c.kind == "unplaced")
        return Answer("unknown", "a consent is on file whose category no map knows", unplaced)
    return _no_consent(chart, who, allowed)


def _no_consent(chart: Chart, who: Billing, allowed: Permission) -> Answer:
    mine = [c for c in chart.consents if c.kind == "bhi"]
    refs = tuple(c.ref for c in mine)
    if allowed.serving:
        first = min((s[0] for s in allowed.certain), default=None)
        word = "had ended before this month" if first else "is refused or withdrawn"
        return Answer("not-met", f"the consent was given after this month or {word}", refs)
    if any(c.permits for c in mine):
        name = who.practitioner or "the billing practitioner"
        return Answer("not-met", f"the consent on file names somebody else, not {name}", refs)
    if mine:
        return Answer("not-met", "the patient refused", refs)
    return Answer("not-met", "no BHI consent is on file")


# -- visit ------------------------------------------------------------------------------------------


def _visit(patient: PatientMonth, track: Track, who: Billing, tally: Tally, this: ServiceMonth, walk: _Walk) -> Answer:
    known = walk.opened.get(who.people)
    if known is not None:
        return known
    found = patient.openings(track.time_of, who.people)
    spans: list[Span] = []
    days: list[Span] = []
    for piece in tally.pieces:
        if piece.spans:
            spans += piece.spans
        else:
            days.append(_floating_span(piece))
    had_work = bool(spans or days)
    # Work of a day without time of day may lie before a visit of that very day.
    sure = spans + [day for day in days if found.opened_before(day[0])] if days else spans
    first = found.first(sure if had_work else [this.span])
    spans = spans + days if had_work else [this.span]
    if first:
        start, visit = first
        answer = Answer("met", _opened(visit, this), (visit.ref,))
        if had_work:
            gates.gate_visit(tally, start)
            walk.opened[who.people] = answer
        return answer
    perhaps = found.perhaps(spans) or found.first(spans)
    if perhaps:
        return Answer(
            "unknown",
            "a visit is on file, but its code, person or time does not settle it",
            (perhaps[1].ref,),
        )
    return _no_visit(patient.chart, track, tally, found.certain, had_work)


def _floating_span(piece: Piece) -> Span:
    when = piece.activity.when
    assert when is not None
    return when.earliest, max(when.latest, when.earliest)


def _opened(visit: Visit, month: ServiceMonth) -> str:
    day = local_day(visit.when.earliest, month.zone) if visit.when else "an unknown day"
    return f"the initiating visit of {day} with the billing practitioner opens the episode"


def _no_visit(
    chart: Chart, track: Track, tally: Tally, certain: tuple[tuple[Span, Visit], ...], had_work: bool
) -> Answer:
    reason = chart.lacks("Encounter", "Procedure")
    late = [visit for window, visit in certain if all(p.begins < window[0] for p in tally.pieces)]
    if had_work and late and not reason:
        gates.gate_visit(tally, max(p.ends for p in tally.pieces))
        return Answer("not-met", "the initiating visit came after all of the month's work", (late[0].ref,))
    if reason:
        return Answer("unknown", reason)
    wanted = "90791" if track.time_of == "billing-practitioner" else "initiating"
    if certain:
        refs = (certain[-1][1].ref,)
        return Answer("not-met", "the last initiating visit lies more than a year before the first counted work", refs)
    return Answer(
        "not-met", f"no {wanted} visit with the billing practitioner is on file before the first counted work"
    )
