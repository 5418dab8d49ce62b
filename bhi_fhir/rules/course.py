"""One track from its first month to the month that is decided: episodes, consent, visit, the month's count."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from bhi_fhir.domain.decision import NotCounted, Outcome
from bhi_fhir.domain.record import Chart, Visit
from bhi_fhir.domain.time import Moment, Period, ServiceMonth, Span, local_day, whole_minutes
from bhi_fhir.policy import Rules, Switches
from bhi_fhir.rules import counting
from bhi_fhir.rules.billing import Billing, billing
from bhi_fhir.rules.counting import Piece, Scope, Tally
from bhi_fhir.rules.permission import Permission, permission
from bhi_fhir.rules.thresholds import breakpoints
from bhi_fhir.rules.track import Track
from bhi_fhir.rules.visits import openings


@dataclass(frozen=True, slots=True)
class Answer:
    """An outcome on its way to becoming a finding."""

    outcome: Outcome
    because: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Course:
    """What a track comes to in the month that is decided."""

    track: Track
    billing: Billing
    consent: Answer
    visit: Answer
    pieces: tuple[Piece, ...]
    not_counted: tuple[NotCounted, ...]
    unread: tuple[str, ...]
    minutes: int
    first_month: int | None
    """The first month of the episode that this month belongs to; None where nothing was counted or charged."""
    doubtful_first_month: bool
    """Unread earlier work could change which month is the first."""
    month_before_break: int | None = None
    """The last month of the episode before, if there was one."""
    episode_witnesses: tuple[str, ...] = ()
    """What shows which month is the first: its work and charges, or those of the last month before the break."""
    consent_window: tuple[Span, ...] = ()

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(sorted({p.activity.ref for p in self.pieces}))


@dataclass
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
    opened: dict[tuple[str, ...], Visit] = field(default_factory=dict)
    """Billing practitioners whose first work in the running episode had its visit."""

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


def follow(chart: Chart, track: Track, month: ServiceMonth, rules: Rules, switches: Switches) -> Course:
    """Walk the track's months in order and return what this month comes to."""
    walk = _Walk()
    charged, perhaps = _charged_months(chart, track, rules, month)
    months = _worked_months(chart, month) | set(charged) | perhaps | {month.index}
    course: Course | None = None
    for index in sorted(months):
        this = ServiceMonth(index, month.zone)
        walk.break_in_care(index, switches.episode_gap_months)
        tally, course = _month(chart, track, this, month, rules, switches, walk)
        if tally.minutes >= 1 or index in charged:
            walk.work(index, tuple(sorted({*course.sources, *charged.get(index, ())})))
        elif index in perhaps or any(a.when is not None for a in chart.activities if a.ref in tally.unread):
            walk.may_be_work(index)
    assert course is not None
    return replace(
        course,
        first_month=walk.first,
        month_before_break=walk.before,
        episode_witnesses=walk.witnesses,
        doubtful_first_month=walk.first_if_unread_counted not in (None, walk.first or month.index),
    )


def _worked_months(chart: Chart, month: ServiceMonth) -> set[int]:
    found = set()
    for activity in chart.activities:  # also what no map knows: it may be work
        if activity.when is None or (activity.kinds and not activity.kinds & counting.WORK):
            continue
        first = ServiceMonth.of(activity.when.earliest, month.zone).index
        last = ServiceMonth.of(activity.span[1], month.zone).index if activity.span else first
        found |= {i for i in range(first, last + 1) if i <= month.index}
    return found


def _charged_months(
    chart: Chart, track: Track, rules: Rules, month: ServiceMonth
) -> tuple[dict[int, list[str]], set[int]]:
    """Months in which a code of the program is charged, for certain (with the charges) and perhaps.

    Work was done then, whatever the record holds of it. A charge without a date may be of the month before.
    """
    sure: dict[int, list[str]] = {}
    perhaps: set[int] = set()
    for charge in (c for c in chart.charges if rules.programs.get(c.code) == track.program):
        certain = charge.when is not None and not charge.doubt and _is_within_a_month(charge.when.start, month)
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
    first = ServiceMonth.of(period.start.earliest, month.zone).index
    closes = period.closes if period.end else period.start.latest
    last = ServiceMonth.of(max(closes - timedelta(microseconds=1), period.start.earliest), month.zone).index
    return range(first, min(last, month.index) + 1)


def _month(
    chart: Chart,
    track: Track,
    this: ServiceMonth,
    decided: ServiceMonth,
    rules: Rules,
    switches: Switches,
    walk: _Walk,
) -> tuple[Tally, Course]:
    who, tally = _count(chart, track, this, switches)
    allowed = permission(chart, who.people, ("bhi",), this, switches)
    had_work = bool(tally.pieces)
    counting.gate_consent(tally, allowed)
    consent = _consent(chart, who, allowed, tally, this, had_work)
    matters = _matters(tally, rules, track, walk.first is None, switches)
    if matters:
        refs = tuple(sorted({c.ref for c in allowed.serving}))
        because = "the consent has a date without time, and work of that day decides"
        consent = Answer("unknown", allowed.doubts[0] if allowed.doubts else because, refs)
    counting.keep_uncertain(tally, counts=matters)
    visit = _visit(chart, track, who, tally, this, decided, rules, switches, walk)
    counting.gate_overlap(tally)
    course = Course(
        track=track,
        billing=who,
        consent=consent,
        visit=visit,
        pieces=tuple(tally.pieces),
        not_counted=tuple(sorted(tally.not_counted, key=lambda n: (n.source, n.reason, n.minutes or 0))),
        unread=tuple(sorted(set(tally.unread))),
        minutes=tally.minutes,
        first_month=None,
        doubtful_first_month=False,
        consent_window=allowed.certain or allowed.possible,
    )
    return tally, course


def _count(chart: Chart, track: Track, month: ServiceMonth, switches: Switches) -> tuple[Billing, Tally]:
    """Who bills depends on the last counted work, and what counts on who bills: two rounds settle it."""
    last: datetime | None = _last_work(chart, month)
    who = billing(chart, track, month, last)
    tally = counting.candidates(Scope(chart, track, month, who.people, switches))
    if tally.pieces:
        counted = max(p.begins for p in tally.pieces)
        if counted != last:
            who = billing(chart, track, month, counted)
            tally = counting.candidates(Scope(chart, track, month, who.people, switches))
    return who, tally


def _last_work(chart: Chart, month: ServiceMonth) -> datetime | None:
    start, end = month.span
    begun = [
        a.when.earliest
        for a in counting.works_of(chart)
        if a.when is not None
        and a.state == "done"
        and start <= a.when.earliest < end
        and "administrative" not in a.kinds
    ]
    return max(begun, default=None)


def _matters(tally: Tally, rules: Rules, track: Track, first_month: bool, switches: Switches) -> bool:
    """Would the uncertain work of the consent's day change any code?"""
    if not tally.uncertain:
        return False
    with_it = whole_minutes(tally.counted + sum((p.counted for p in tally.uncertain[1:]), tally.uncertain[0].counted))
    return any(at > tally.minutes for at in breakpoints(rules, track.program, first_month, switches, with_it))


# -- consent ----------------------------------------------------------------------------------------


def _consent(
    chart: Chart, who: Billing, allowed: Permission, tally: Tally, month: ServiceMonth, had_work: bool
) -> Answer:
    refs = tuple(sorted({c.ref for c in allowed.serving}))
    in_month = [s for s in allowed.certain if s[0] < month.span[1] and s[1] > month.span[0]]
    if in_month and (reason := chart.lacks("Consent")):
        return Answer("unknown", f"what is missing may take the consent back or precede it: {reason}", refs)
    if in_month and (not had_work or tally.pieces or tally.uncertain):
        return Answer("met", f"consent is in force for {who.practitioner or 'the billing practitioner'}", refs)
    if in_month:
        return Answer("not-met", "all of the month's work lies before the consent or after its end", refs)
    if any(s[0] < month.span[1] and s[1] > month.span[0] for s in allowed.possible):
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


def _visit(
    chart: Chart,
    track: Track,
    who: Billing,
    tally: Tally,
    this: ServiceMonth,
    decided: ServiceMonth,
    rules: Rules,
    switches: Switches,
    walk: _Walk,
) -> Answer:
    known = walk.opened.get(who.people)
    if known is not None:
        return Answer("met", _opened(known, this), (known.ref,))
    found = openings(chart, track, who.people, decided, rules, switches)
    spans = [s for p in tally.pieces for s in p.spans]
    days = [_floating_span(p) for p in tally.pieces if not p.spans]
    had_work = bool(spans or days)
    # Work of a day without time of day may lie before a visit of that very day.
    sure = spans + [day for day in days if found.opened_before(day[0])]
    first = found.first(sure if had_work else [this.span])
    spans = spans + days if had_work else [this.span]
    if first:
        start, visit = first
        if had_work:
            counting.gate_visit(tally, start)
            walk.opened[who.people] = visit
        return Answer("met", _opened(visit, this), (visit.ref,))
    perhaps = found.perhaps(spans) or found.first(spans)
    if perhaps:
        return Answer(
            "unknown",
            "a visit is on file, but its code, person or time does not settle it",
            (perhaps[1].ref,),
        )
    return _no_visit(chart, track, tally, found.certain, had_work)


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
        counting.gate_visit(tally, max(p.ends for p in tally.pieces))
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
