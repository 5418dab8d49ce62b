from __future__ import annotations

import dataclasses
from datetime import date
from typing import Any

from drafts.samples import (
    COCM_FIRST,
    COCM_LATER,
    DIABETES,
    HCPCS,
    MARIA,
    MEDICARE,
    MEDIGAP,
    RUN,
    met,
    monthly,
    since,
    until,
)

from bhi_fhir.domain.decision import Candidate, Decision, Line
from bhi_fhir.domain.record import Chart, Diagnosis
from bhi_fhir.domain.value import replace
from bhi_fhir.drafts.models import draft


def the_claim(decision: Decision = COCM_FIRST, chart: Chart = MARIA) -> Any:
    (made,) = draft(decision, chart, RUN).claims
    return made


def codes(claim: Any) -> list[str]:
    return [item.productOrService.coding[0].code for item in claim.item or []]


def diagnoses(claim: Any) -> list[str]:
    return [each.diagnosisCodeableConcept.coding[0].code for each in claim.diagnosis or []]


def insurances(chart: Chart) -> list[tuple[str, bool]]:
    return [(each.coverage.reference, each.focal) for each in the_claim(chart=chart).insurance]


def test_without_coverage_there_is_no_claim_and_a_sentence_says_so() -> None:
    drafts = draft(COCM_FIRST, replace(MARIA, covers=()), RUN)
    assert len(drafts.charge_items) == 1
    assert drafts.claims == ()
    assert drafts.remarks == ("99492 stands without a Claim: no Coverage is in force on 2026-03-31.",)


def test_a_coverage_that_ended_before_the_date_of_service_makes_no_claim() -> None:
    ended = replace(MARIA, covers=(replace(MEDICARE, period=until(2026, 3, 30)),))
    assert draft(COCM_FIRST, ended, RUN).claims == ()


def test_a_coverage_that_ends_on_the_date_of_service_is_still_in_force() -> None:
    assert insurances(replace(MARIA, covers=(replace(MEDICARE, period=until(2026, 3, 31)),))) == [
        ("Coverage/medicare-b", True)
    ]


def test_a_coverage_in_doubt_is_not_put_on_a_claim() -> None:
    doubtful = replace(MEDIGAP, doubt="ended without a date")
    assert insurances(replace(MARIA, covers=(doubtful, MEDICARE))) == [("Coverage/medicare-b", True)]


def test_medicare_is_focal_and_the_others_follow_in_their_order() -> None:
    second = replace(MEDIGAP, ref="Coverage/a", order=None)
    assert insurances(replace(MARIA, covers=(second, MEDIGAP, MEDICARE))) == [
        ("Coverage/medicare-b", True),
        ("Coverage/medigap", False),
        ("Coverage/a", False),
    ]


def test_the_add_on_stands_directly_after_its_base() -> None:
    lines = (monthly("99494", units=2), monthly("G0544", system=HCPCS), monthly("99493"))
    assert codes(the_claim(replace(COCM_LATER, lines=lines))) == ["G0544", "99493", "99494"]


def test_an_add_on_beside_a_base_that_is_charged_already_stands_alone() -> None:
    assert codes(the_claim(replace(COCM_LATER, lines=(monthly("99494"),)))) == ["99494"]


def test_a_service_of_a_day_has_an_item_for_each_day() -> None:
    days = ((date(2026, 3, 4), 1), (date(2026, 3, 18), 2))
    line = Line("G0560", HCPCS, 3, "billable", "Practitioner/pcp", date(2026, 3, 18), days)
    items = the_claim(replace(COCM_FIRST, lines=(line,))).item or []
    assert [(item.sequence, item.servicedDate, item.quantity.value) for item in items] == [
        (1, date(2026, 3, 4), 1),
        (2, date(2026, 3, 18), 2),
    ]


def test_each_billing_practitioner_has_a_claim_of_their_own() -> None:
    other = replace(monthly("G0544", system=HCPCS), practitioner="Practitioner/other")
    claims = draft(replace(COCM_FIRST, lines=(*COCM_FIRST.lines, other)), MARIA, RUN).claims
    assert [(claim.provider.reference, codes(claim)) for claim in claims] == [
        ("Practitioner/pcp", ["99492"]),
        ("Practitioner/other", ["G0544"]),
    ]
    assert claims[0].identifier != claims[1].identifier


def test_the_sites_organization_bills_and_the_practitioner_is_its_care_team() -> None:
    run = dataclasses.replace(RUN, site=dataclasses.replace(RUN.site, provider="Organization/clinic"))
    claim: Any = draft(COCM_FIRST, MARIA, run).claims[0]
    assert claim.provider.reference == "Organization/clinic"
    assert [member.provider.reference for member in claim.careTeam] == ["Practitioner/pcp"]


def test_a_line_without_a_practitioner_makes_no_claim_and_says_so() -> None:
    nobody = replace(COCM_FIRST, lines=(replace(monthly("99492"), practitioner=None),))
    drafts = draft(nobody, MARIA, RUN)
    assert drafts.claims == ()
    assert drafts.charge_items[0].performer is None
    assert drafts.remarks == ("99492 stands without a Claim: the record names no billing practitioner.",)


def test_the_diagnoses_are_the_behavioral_ones_in_force() -> None:
    over = Diagnosis("Condition/over", True, until(2026, 2, 1), icd10="F43.2")
    doubtful = Diagnosis("Condition/doubtful", True, since(2026, 1, 1), doubt="provisional", icd10="F31.9")
    again = Diagnosis("Condition/again", True, since(2026, 1, 1), icd10="F32.1")
    chart = replace(MARIA, diagnoses=(*MARIA.diagnoses, over, doubtful, again))
    assert diagnoses(the_claim(chart=chart)) == ["F32.1", "F41.1"]


def test_a_diagnosis_that_a_line_rests_on_is_named_though_it_is_not_behavioral() -> None:
    risk = Diagnosis("Condition/ideation", False, since(2026, 3, 1), icd10="R45.851", risk=True)
    safety = Candidate("99492", "billable", 1, (met("suicide-or-overdose-risk", "Condition/ideation"),))
    chart = replace(MARIA, diagnoses=(DIABETES, risk))
    assert diagnoses(the_claim(replace(COCM_FIRST, candidates=(safety,)), chart)) == ["R45.851"]


def test_a_claim_without_a_diagnosis_is_drafted_and_says_so() -> None:
    drafts = draft(COCM_FIRST, replace(MARIA, diagnoses=(DIABETES,)), RUN)
    claim: Any = drafts.claims[0]
    assert claim.diagnosis is None
    assert claim.item[0].diagnosisSequence is None
    assert len(drafts.remarks) == 1


def test_the_labels_of_coverage_and_diagnoses_are_carried_too() -> None:
    labelled = tuple((ref, "urn:x", ref) for ref in ("Coverage/medigap", "Condition/anxiety", "Condition/diabetes"))
    claim = the_claim(chart=replace(MARIA, security=labelled))
    assert [label.code for label in claim.meta.security] == ["Condition/anxiety", "Coverage/medigap"]


def test_no_claim_names_a_price() -> None:
    text = the_claim(COCM_LATER).model_dump_json()
    assert not any(word in text for word in ("unitPrice", "net", "total", "currency"))
