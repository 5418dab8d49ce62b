from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import fhirkit
from drafts.samples import COCM_FIRST, GENERAL, MARIA, PAUL, RUN
from fhir.resources.R4B.bundle import Bundle

from bhi_fhir.domain.decision import Candidate, Decision, Finding
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.domain.value import replace
from bhi_fhir.drafts.bundle import draft_bundle as plain_bundle

Issue = tuple[str, str, str, str]


def draft_bundle(*what: Any) -> Bundle:
    return Bundle.model_validate(plain_bundle(*what))


def entries(decided: Sequence[tuple[Decision, Chart]], set_aside: Sequence[SetAside] = ()) -> list[Any]:
    named = [("maria.json", decision, chart) for decision, chart in decided]
    return list(draft_bundle(named, set_aside, RUN).entry or ())


def issues(outcome: Any) -> list[Issue]:
    return [(each.severity, each.code, each.details.text, each.diagnostics) for each in outcome.issue]


def the_issues(decision: Decision, chart: Chart) -> list[Issue]:
    return issues(entries([(decision, chart)])[-1].resource)


def kinds(*decided: tuple[Decision, Chart]) -> list[str]:
    return [entry.resource.get_resource_type() for entry in entries(decided)]


def test_each_patient_has_charges_then_claims_then_one_outcome() -> None:
    assert kinds((GENERAL, PAUL), (COCM_FIRST, MARIA)) == ["ChargeItem", "Claim", "OperationOutcome"] * 2


def test_no_full_url_stands_twice_even_if_two_files_hold_the_same_patient() -> None:
    twice = [(name, COCM_FIRST, MARIA) for name in ("a.json", "b.json")]
    urls = [entry.fullUrl for entry in draft_bundle(twice, [], RUN).entry]
    assert len(set(urls)) == len(urls) == 6
    assert all(url.startswith("urn:uuid:") for url in urls)


def test_nobody_and_nothing_make_an_empty_collection() -> None:
    bundle = draft_bundle([], [], RUN)
    assert bundle.model_dump() == {"resourceType": "Bundle", "type": "collection"}
    assert fhirkit.validate(bundle.model_dump_json()) == []


def test_the_first_issue_names_the_patient_and_what_is_drafted() -> None:
    assert the_issues(COCM_FIRST, MARIA)[0] == (
        "information",
        "informational",
        "Patient/maria",
        "2026-03: 40 minutes counted; drafted: 99492.",
    )


def test_what_a_person_can_still_decide_is_a_warning_and_what_is_simply_so_information() -> None:
    findings = (
        Finding("minutes", "unknown", "One call has no readable time.", "MLN909432"),
        Finding("assessment", "not-met", "No assessment this month.", "MLN909432", level="review"),
        Finding("consent", "met", "Verbal consent.", "MLN909432"),
    )
    open_one = Candidate("99492", "needs-review", 1, findings)
    closed = Candidate("99484", "not-billable", 0, (Finding("exclusivity", "not-met", "CoCM.", "MLN909432"),))
    found = the_issues(replace(COCM_FIRST, lines=(), candidates=(open_one, closed)), MARIA)
    assert found[1:] == [
        ("warning", "incomplete", "99492 minutes", "One call has no readable time."),
        ("warning", "business-rule", "99492 assessment", "No assessment this month."),
        ("information", "business-rule", "99484 exclusivity", "CoCM."),
    ]


def test_withheld_parts_warnings_and_missing_claims_are_told() -> None:
    decision = replace(COCM_FIRST, withheld=("Encounter was not read whole.",), warnings=("99494 is unusual.",))
    found = the_issues(decision, replace(MARIA, covers=()))
    assert [(severity, code, what) for severity, code, what, _ in found[1:4]] == [
        ("warning", "incomplete", "record not whole"),
        ("warning", "informational", "record"),
        ("information", "not-found", "Claim"),
    ]


def test_the_outcome_carries_the_labels_of_what_it_speaks_of() -> None:
    outcome = entries([(COCM_FIRST, MARIA)])[2].resource
    assert {label.code for label in outcome.meta.security} == {"R", "42CFRPart2"}


def test_what_was_set_aside_is_told_at_the_end() -> None:
    aside = [
        SetAside("maria.json", "entry[7]", "Encounter/x", "no valid JSON"),
        SetAside("", "", "", "empty"),
    ]
    assert issues(entries([(COCM_FIRST, MARIA)], aside)[-1].resource) == [
        ("warning", "invalid", "maria.json entry[7] Encounter/x", "no valid JSON"),
        ("warning", "invalid", "record", "empty"),
    ]
