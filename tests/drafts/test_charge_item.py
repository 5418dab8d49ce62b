from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from drafts.samples import COCM_FIRST, CONFIDENTIALITY, HCPCS, MARIA, RUN, met, monthly, since, until

from bhi_fhir.domain.decision import Candidate, Decision, Finding, Line
from bhi_fhir.domain.record import CareEpisode, Chart, Program
from bhi_fhir.domain.time import Period, ServiceMonth
from bhi_fhir.domain.value import replace as changed
from bhi_fhir.drafts.models import draft


def the_charge(decision: Decision = COCM_FIRST, chart: Chart = MARIA, month: ServiceMonth = RUN.month) -> Any:
    (made,) = draft(decision, chart, replace(RUN, month=month)).charge_items
    return made


@pytest.mark.parametrize(
    ("month", "start", "end"),
    [
        pytest.param(0, "2026-03-01T00:00:00-06:00", "2026-03-31T23:59:59-05:00", id="an hour shorter in March"),
        pytest.param(1, "2026-04-01T00:00:00-05:00", "2026-04-30T23:59:59-05:00", id="summer time throughout"),
        pytest.param(8, "2026-11-01T00:00:00-05:00", "2026-11-30T23:59:59-06:00", id="an hour longer in November"),
    ],
)
def test_the_occurrence_is_the_month_in_the_practices_own_time(month: int, start: str, end: str) -> None:
    period = the_charge(month=RUN.month.shifted(month)).model_dump(mode="json")["occurrencePeriod"]
    assert period == {"start": start, "end": end}


def test_only_billable_lines_are_drafted() -> None:
    review = changed(COCM_FIRST, lines=(changed(monthly("99492"), status="needs-review"),))
    assert draft(review, MARIA, RUN).resources == ()


def test_a_site_may_have_lines_that_need_review_drafted_too() -> None:
    review = changed(COCM_FIRST, lines=(changed(monthly("99492"), status="needs-review"),))
    run = replace(RUN, site=replace(RUN.site, draft_review=True))
    (charge,) = draft(review, MARIA, run).charge_items
    assert (charge.status, [note.text for note in charge.note]) == ("planned", ["Needs review: its base does"])


def test_the_draft_of_a_line_that_needs_review_says_what_is_open() -> None:
    asked = Finding("care-planning", "not-met", "b", "c", level="review")
    candidate = changed(COCM_FIRST.candidates[0], findings=(asked, Finding("consent", "unknown", "b", "c")))
    review = changed(COCM_FIRST, lines=(changed(monthly("99492"), status="needs-review"),), candidates=(candidate,))
    run = replace(RUN, site=replace(RUN.site, draft_review=True))
    (charge,) = draft(review, MARIA, run).charge_items
    assert [note.text for note in charge.note] == ["Needs review: care-planning, consent"]


def test_the_definition_is_the_rule_with_its_version() -> None:
    assert the_charge().definitionCanonical == ["https://bhi.example.org/fhir/ChargeItemDefinition/99492|2026.1"]


def test_a_code_without_a_title_has_no_text_and_no_code_has_a_display() -> None:
    code = draft(COCM_FIRST, MARIA, replace(RUN, titles={})).charge_items[0].code.model_dump()
    assert code == {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "99492"}]}


@pytest.mark.parametrize(
    ("program", "period", "context"),
    [
        pytest.param(Program.COCM, since(2026, 3, 20), "EpisodeOfCare/e", id="begun in the month"),
        pytest.param(Program.COCM, until(2026, 3, 2), "EpisodeOfCare/e", id="ended in the month"),
        pytest.param(Program.COCM, until(2026, 2, 2), None, id="ended before the month"),
        pytest.param(Program.COCM, since(2026, 4, 2), None, id="begun after the month"),
        pytest.param(Program.GENERAL, since(2026, 3, 2), None, id="of the other program"),
    ],
)
def test_the_context_is_the_episode_of_the_program_or_nothing(
    program: Program, period: Period, context: str | None
) -> None:
    found = the_charge(chart=changed(MARIA, care_episodes=(CareEpisode("EpisodeOfCare/e", program, period),))).context
    assert (found.reference if found else None) == context


def test_the_evidence_is_named_once_in_order_and_only_where_it_leads_somewhere() -> None:
    assert [ref.reference for ref in the_charge().supportingInformation or []] == [
        "Condition/depression",
        "Consent/verbal",
        "Encounter/call-1",
        "Encounter/call-2",
        "QuestionnaireResponse/phq9",
    ]


def test_the_labels_of_the_evidence_are_carried_and_no_others() -> None:
    assert {label.code for label in the_charge().meta.security} == {"R", "42CFRPart2"}


def test_a_label_of_the_patient_is_carried() -> None:
    chart = changed(MARIA, security=(("Patient/maria", CONFIDENTIALITY, "V"),))
    assert [label.code for label in the_charge(chart=chart).meta.security] == ["V"]


def test_a_label_of_evidence_that_has_only_a_full_url_is_carried() -> None:
    url = "urn:uuid:0a1b2c3d-0000-4000-8000-000000000001"
    chart = changed(MARIA, security=((url, CONFIDENTIALITY, "R"),))
    assert [label.code for label in the_charge(chart=chart).meta.security] == ["R"]


def of_a_day(practitioner: str) -> Line:
    days = ((date(2026, 3, 4), 1), (date(2026, 3, 18), 2))
    return Line("G0560", HCPCS, 3, "billable", practitioner, date(2026, 3, 18), days)


def test_a_service_of_a_day_keeps_its_days() -> None:
    safety = Candidate("G0560", "billable", 3, (met("minutes", "Encounter/plan"),))
    charge = the_charge(changed(COCM_FIRST, lines=(of_a_day("Practitioner/pcp"),), candidates=(safety,)))
    assert charge.quantity.value == 3
    assert [note.text for note in charge.note] == ["Units by day: 2026-03-04 1, 2026-03-18 2"]


def test_a_service_of_a_day_by_two_people_is_two_charges() -> None:
    two = changed(COCM_FIRST, lines=(of_a_day("Practitioner/pcp"), of_a_day("Practitioner/other")))
    charges: Any = draft(two, MARIA, RUN).charge_items
    assert len({charge.identifier[0].value for charge in charges}) == 2


def test_a_monthly_service_keeps_its_identity_when_the_practitioner_is_corrected() -> None:
    corrected = changed(COCM_FIRST, lines=(changed(monthly("99492"), practitioner="Practitioner/other"),))
    assert the_charge(corrected).identifier == the_charge().identifier
