"""Who bills: the treating practitioner in force at the month's last counted work."""

from __future__ import annotations

from datetime import datetime, timedelta

from bhi_fhir.domain.decision import Outcome
from bhi_fhir.domain.record import Chart, Role
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import Value
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.track import Track, at_instant, in_stretch, known_kind


class Billing(Value, frozen=True):
    """`people`: who may be meant; exactly one where it is clear. `treating` where nobody may bill."""

    people: tuple[str, ...]
    outcome: Outcome
    because: str
    evidence: tuple[str, ...] = ()

    @property
    def practitioner(self) -> str | None:
        return self.people[0] if len(self.people) == 1 else None


def billing(patient: PatientMonth, track: Track, month: ServiceMonth, last_work: datetime | None) -> Billing:
    """The billing practitioner at the last work of the month, else at its end, else at any time of it."""
    if last_work is None or not patient.crew(track.teams).steady:
        return _billing(patient, track, month, last_work)
    if track not in patient.billings:
        patient.billings[track] = _billing(patient, track, month, last_work)
    return patient.billings[track]


def _billing(patient: PatientMonth, track: Track, month: ServiceMonth, last_work: datetime | None) -> Billing:
    chart, places = patient.chart, patient.crew(track.teams).places
    treats = [place for place in places if Role.TREATING in place[3].roles]
    at = last_work or month.span[1] - timedelta(microseconds=1)
    at_last = at_instant(treats, at)
    treating = at_last or in_stretch(treats, month.span)
    evidence = tuple(sorted({team.ref for _, _, team, _ in treating}))
    if not treating:
        unplaced = any(not m.roles for *_, m in in_stretch(places, month.span))
        reason = chart.lacks("CareTeam")
        if unplaced or reason:
            return Billing((), "unknown", reason or "a team member's role is one that no map knows", evidence)
        return Billing((), "not-met", "no treating practitioner is on a care team in the month")
    people = sorted({m.person for *_, m in treating if m.person})
    if not people:
        return Billing((), "unknown", "the treating practitioner on the care team is not named by reference", evidence)
    could = [p for p in people if known_kind(chart.kinds_of(p), track.billers) is not False]
    if len(could) > 1:
        return Billing(
            tuple(could), "unknown",
            f"{' and '.join(could)} are treating practitioners at once and both could bill", evidence,
        )  # fmt: skip
    if not could and (reason := chart.lacks("PractitionerRole", "Practitioner")):
        return Billing(tuple(people), "unknown", reason, evidence)
    if not could:
        return Billing(
            tuple(people), "not-met", f"{' and '.join(people)} may not bill this code by specialty", evidence
        )
    if last_work is not None and not at_last:
        because = f"{could[0]} was the treating practitioner in the month, but nobody was at its last work"
        return Billing((could[0],), "unknown", because, evidence)
    return _one(
        chart, track, could[0], evidence, any(team.certain for _, _, team, m in treating if m.person == could[0])
    )


def _one(chart: Chart, track: Track, who: str, evidence: tuple[str, ...], certain: bool) -> Billing:
    if known_kind(chart.kinds_of(who), track.billers) is None:
        return Billing((who,), "unknown", f"nothing says what {who} is, so whether {who} may bill", evidence)
    if not certain:
        because = "the care team is ended and nothing says since when"
        return Billing((who,), "unknown", because, evidence)
    return Billing((who,), "met", f"{who} is the treating practitioner and may bill this code", evidence)


def one_of(several: list[Billing]) -> Billing:
    """None of them can be told: what counts for the one makes another the last."""
    people = tuple(sorted({person for each in several for person in each.people}))
    said = f"{' and '.join(people)} treated in the month, and which work counts depends on who bills"
    return Billing(people, "unknown", said, tuple(sorted({ref for each in several for ref in each.evidence})))
