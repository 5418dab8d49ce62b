"""The initiating visit of an episode, as it is found month by month."""

from __future__ import annotations

from bhi_fhir.domain.record import Visit
from bhi_fhir.domain.time import ServiceMonth, Span, local_day
from bhi_fhir.rules import gates
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.billing import Billing
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.pieces import Piece
from bhi_fhir.rules.tally import Tally
from bhi_fhir.rules.track import Track

Billers = tuple[str, ...]


def initiating_visit(
    patient: PatientMonth, track: Track, who: Billing, tally: Tally, this: ServiceMonth, opened: dict[Billers, Answer]
) -> Answer:
    """The visit that opens the month's work, which is left out before it.

    `opened`: by billing practitioners, the visit before their first work in the running episode.
    """
    known = opened.get(who.people)
    if known is not None:
        return known
    found = patient.openings(track.opened_by, who.people)
    if tally.unread and found.certain and not patient.chart.lacks("Encounter", "Procedure"):
        gates.gate_unread(tally, min(window[0] for window, _ in (*found.certain, *found.possible)))
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
            opened[who.people] = answer
        return answer
    perhaps = found.perhaps(spans) or found.first(spans)
    if perhaps:
        return Answer(
            "unknown",
            "a visit is on file, but its code, person or time does not settle it",
            (perhaps[1].ref,),
        )
    return _no_visit(patient, track, tally, found.certain, had_work)


def _floating_span(piece: Piece) -> Span:
    when = piece.activity.when
    assert when is not None
    return when.earliest, max(when.latest, when.earliest)


def _opened(visit: Visit, month: ServiceMonth) -> str:
    day = local_day(visit.when.earliest, month.zone) if visit.when else "an unknown day"
    return f"the initiating visit of {day} with the billing practitioner opens the episode"


def _no_visit(
    patient: PatientMonth, track: Track, tally: Tally, certain: tuple[tuple[Span, Visit], ...], had_work: bool
) -> Answer:
    reason = patient.chart.lacks("Encounter", "Procedure")
    late = [visit for window, visit in certain if all(p.begins < window[0] for p in tally.pieces)]
    if had_work and late and not reason:
        gates.gate_visit(tally, max(p.ends for p in tally.pieces))
        return Answer("not-met", "the initiating visit came after all of the month's work", (late[0].ref,))
    if reason:
        return Answer("unknown", reason)
    wanted = " or ".join(sorted(track.opened_by)) or "initiating"
    if certain:
        refs = (certain[-1][1].ref,)
        years = patient.rules.values["initiating_visit_years"]
        ago = "a year" if years == 1 else f"{years} years"
        said = f"the last initiating visit lies more than {ago} before the first counted work"
        return Answer("not-met", said, refs)
    return Answer(
        "not-met", f"no {wanted} visit with the billing practitioner is on file before the first counted work"
    )
