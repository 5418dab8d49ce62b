"""A patient's lines as draft professional Claims, one for each billing practitioner, without prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart, Cover, Diagnosis
from bhi_fhir.domain.time import ServiceMonth, midnight
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.elements import Json
from bhi_fhir.drafts.identity import identifier
from bhi_fhir.drafts.site import DraftRun

CLAIM_TYPE = "http://terminology.hl7.org/CodeSystem/claim-type"
CARE_TEAM_ROLE = "http://terminology.hl7.org/CodeSystem/claimcareteamrole"
PRIORITY = "http://terminology.hl7.org/CodeSystem/processpriority"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
PLACE = "https://www.cms.gov/Medicare/Coding/place-of-service-codes/Place_of_Service_Code_Set"

_NO_DIAGNOSIS = "The Claim names no diagnosis: the record holds no ICD-10-CM code that it could name."


def claims(
    decision: Decision, lines: Sequence[Line], chart: Chart, run: DraftRun
) -> tuple[tuple[Json, ...], tuple[str, ...]]:
    """The Claims, and a sentence for each line that no Claim can carry.

    FHIR wants a Coverage in every Claim: a line without one in force on its date stands by itself.
    """
    remarks: list[str] = []
    by_practitioner: dict[str, list[Line]] = {}
    for line in lines:
        remark = _obstacle(line, chart, run.month)
        if remark or line.practitioner is None:
            remarks.append(remark)
        else:
            by_practitioner.setdefault(line.practitioner, []).append(line)
    drafts = tuple(
        _claim(decision, _in_claim_order(own, run.adds_to), practitioner, chart, run)
        for practitioner, own in by_practitioner.items()
    )
    remarks += [_NO_DIAGNOSIS for draft in drafts if "diagnosis" not in draft]
    return drafts, tuple(remarks)


def _obstacle(line: Line, chart: Chart, month: ServiceMonth) -> str:
    """Why no Claim can carry the line; "" if one can."""
    if line.practitioner is None:
        return f"{line.code} stands without a Claim: the record names no billing practitioner."
    bare = [day for day, _ in _served(line) if not _in_force(chart, day, month)]
    if bare:
        return f"{line.code} stands without a Claim: no Coverage is in force on {bare[0]}."
    return ""


def _claim(decision: Decision, lines: list[Line], practitioner: str, chart: Chart, run: DraftRun) -> Json:
    site, month = run.site, run.month
    rests_on = frozenset[str]().union(*(elements.evidence(decision, line) for line in lines))
    diagnoses = diagnoses_of(chart, month, rests_on)
    covers = _covers(chart, lines, month)
    named = {*rests_on, *(d.ref for d in diagnoses), *(c.ref for c in covers)}
    codes = sorted({d.icd10 for d in diagnoses})
    return elements.present(
        resourceType="Claim",
        meta=elements.meta(site, elements.labels(chart, named)),
        identifier=[identifier(site.name, decision.patient, month, practitioner, "claim")],
        status="draft",
        type=elements.concept(CLAIM_TYPE, "professional"),
        use="claim",
        patient=elements.reference(decision.patient),
        billablePeriod=elements.whole_month(month),
        created=str(run.created),
        provider=elements.reference(site.provider or practitioner),
        priority=elements.concept(PRIORITY, "normal"),
        careTeam=[
            {
                "sequence": 1,
                "provider": elements.reference(practitioner),
                "responsible": True,
                "role": elements.concept(CARE_TEAM_ROLE, "primary"),
            }
        ],
        diagnosis=[
            {"sequence": number, "diagnosisCodeableConcept": elements.concept(ICD10, code)}
            for number, code in enumerate(codes, 1)
        ],
        insurance=[
            {"sequence": number, "focal": number == 1, "coverage": elements.reference(cover.ref)}
            for number, cover in enumerate(covers, 1)
        ],
        item=_items(lines, len(codes), run),
    )


def _items(lines: list[Line], diagnoses: int, run: DraftRun) -> list[Json]:
    served = [(line, day, number) for line in lines for day, number in _served(line)]
    return [
        elements.present(
            sequence=sequence,
            careTeamSequence=[1],
            diagnosisSequence=list(range(1, diagnoses + 1)),
            productOrService=elements.service(line, run.titles),
            servicedDate=str(day),
            locationCodeableConcept=elements.concept(PLACE, run.site.place_of_service),
            quantity=elements.units(number),
        )
        for sequence, (line, day, number) in enumerate(served, 1)
    ]


def _served(line: Line) -> tuple[tuple[date, int], ...]:
    """The units of each day on which the line is claimed."""
    return line.days or ((line.date_of_service, line.units),)


def _in_claim_order(lines: list[Line], adds_to: Mapping[str, Sequence[str]]) -> list[Line]:
    """The lines in their order, an add-on directly after its base."""
    add_ons = [line for line in lines if adds_to.get(line.code)]
    ordered: list[Line] = []
    for line in (line for line in lines if line not in add_ons):
        ordered += [line, *(added for added in add_ons if line.code in adds_to[added.code])]
    # The base of an add-on may be charged already and so be no line of ours.
    return [*ordered, *(added for added in add_ons if added not in ordered)]


def _in_force(chart: Chart, day: date, month: ServiceMonth) -> list[Cover]:
    hours = midnight(day, month.zone), midnight(day + timedelta(days=1), month.zone)
    return [cover for cover in chart.covers if not cover.doubt and cover.period.meets(hours)]


def _covers(chart: Chart, lines: list[Line], month: ServiceMonth) -> list[Cover]:
    """The insurances in force on the days of the lines: Medicare, then the others in their own order."""
    days = {day for line in lines for day, _ in _served(line)}
    found = {cover.ref: cover for day in days for cover in _in_force(chart, day, month)}
    return sorted(found.values(), key=_turn)


def _turn(cover: Cover) -> tuple[bool, bool, int, str]:
    return cover.medicare is not True, cover.order is None, cover.order or 0, cover.ref


def diagnoses_of(chart: Chart, month: ServiceMonth, rests_on: frozenset[str]) -> list[Diagnosis]:
    """The behavioral diagnoses of the month, and any other that a line rests on (R45.851 for G0560)."""
    return [
        diagnosis
        for diagnosis in chart.diagnoses
        if diagnosis.icd10
        and not diagnosis.doubt
        and (diagnosis.behavioral or diagnosis.ref in rests_on)
        and diagnosis.period.meets(month.span)
    ]
