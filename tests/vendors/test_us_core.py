"""Records in the shapes of US Core 6.1 and of HL7's US Behavioral Health Profiles, which know nothing of BHI.

Facts: `US-Core@6.1.0` resources-yaml and its PHQ-9 example; `HL7/us-behavioral-health-profiles` examples (PHQ-9,
C-SSRS screener, M3, depression, a primary care encounter, an information disclosure). The records are our own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record import ACTIVITY, CPT, ICD10, LOINC, NUCC, Record, Resource, cocm_record, concept, reference
from vendors.shape import SNOMED, phq9_answers

from bhi_fhir.domain.decision import Decision
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.source import Source

EXAMPLE = Path(__file__).parents[2] / "mappings" / "sites" / "example"
PROFILE = "http://hl7.org/fhir/us/core/StructureDefinition/us-core"
CANONICAL = "http://hl7.org/fhir/us/core/Questionnaire/phq-9-example|6.1.0"
SURVEY = concept("http://terminology.hl7.org/CodeSystem/observation-category", "survey")
PATIENT = {"reference": "Patient/maria"}
ROLES = {"pcp": "446050000", "bhcm": "768820003", "psych": "80584001"}
NPI_ROLES = """[team.npi]
9000001013 = "treating-practitioner"
9000002029 = "behavioral-health-care-manager"
9000003035 = "psychiatric-consultant"
"""


def decided(record: Record, site: Path = EXAMPLE) -> Decision:
    found = Desk.open(site, "2026-03").decide([Source("x", "", json.dumps(record.bundle()).encode())])
    assert found.set_aside == ()
    [(decision, _)] = found.decisions
    return decision


def a_site(folder: Path, reading: str = "", **codes: dict[str, str]) -> Path:
    """A site that says what its SNOMED CT codes are: target -> code -> meaning."""
    (folder / "site.toml").write_text('name = "x"\ntime_zone = "America/Chicago"\n')
    (folder / "reading.toml").write_text(reading)
    for target, meanings in codes.items():
        element = [{"code": c, "target": [{"code": m, "equivalence": "equivalent"}]} for c, m in meanings.items()]
        group = {"source": SNOMED, "target": f"urn:bhi-fhir:{target}", "element": element}
        (folder / f"{target}.json").write_text(json.dumps({"resourceType": "ConceptMap", "group": [group]}))
    return folder


def outcomes(decision: Decision, code: str = "99492") -> dict[str, str]:
    [candidate] = [c for c in decision.candidates if c.code == code]
    return {f.requirement: f.outcome for f in candidate.findings}


def billable(decision: Decision) -> dict[str, int]:
    return {line.code: line.units for line in decision.lines if line.status == "billable"}


def phq9(**fields: Any) -> Resource:
    """As in US Core's example: the form's own canonical, the total as a decimal, an eleventh item on difficulty."""
    response = phq9_answers(PATIENT, total={"valueDecimal": 11})
    difficulty = {"valueCoding": {"system": LOINC, "code": "LA6573-5"}}
    response["item"].append({"linkId": "/69722-7", "answer": [difficulty]})
    return response | {"id": "phq-9", "questionnaire": CANONICAL, "meta": {"profile": [f"{PROFILE}-x"]}} | fields


def total(score: int = 11, **fields: Any) -> Resource:
    what: Resource = {
        "resourceType": "Observation",
        "id": "phq-9-total",
        "status": "final",
        "category": [SURVEY],
        "code": concept(LOINC, "44261-6"),
        "subject": PATIENT,
        "effectiveDateTime": "2026-03-12T16:00:00Z",
        "derivedFrom": [{"reference": "QuestionnaireResponse/phq-9"}],
        "valueQuantity": {"value": score, "unit": "{score}", "system": "http://unitsofmeasure.org", "code": "{score}"},
    }
    return what | fields


def scaled(*resources: Resource, episode: Any = "initial") -> Record:
    record = cocm_record(episode=episode).work(36, kind="assessment").without("QuestionnaireResponse")
    return record.add(*resources)


# -- scales -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "resources",
    [(phq9(),), (total(),), (phq9(), total())],
    ids=["as answers", "as a total", "as answers and the total derived from them"],
)
def test_a_phq_9_in_us_cores_shape_is_a_scale(resources: tuple[Resource, ...]) -> None:
    decision = decided(scaled(*resources))
    assert billable(decision) == {"99492": 1}
    [candidate] = [c for c in decision.candidates if c.code == "99492"]
    [scale] = [f for f in candidate.findings if f.requirement == "rating-scale"]
    assert "total of 11" in scale.because


def test_the_total_item_is_not_added_to_the_answers() -> None:
    wrong = phq9()
    wrong["item"][9]["answer"] = [{"valueDecimal": 12.0}]
    [candidate] = [c for c in decided(scaled(wrong)).candidates if c.code == "99492"]
    [scale] = [f for f in candidate.findings if f.requirement == "rating-scale"]
    assert "total of 11" in scale.because
    assert "12 disagrees with its answers (11)" in scale.because


def test_a_phq_9_with_one_answer_missing_is_not_complete() -> None:
    short = phq9()
    del short["item"][4]
    assert outcomes(decided(scaled(short)))["rating-scale"] == "not-met"


def test_a_phq_9_without_any_canonical_is_known_by_its_items() -> None:
    response = phq9()
    del response["questionnaire"]
    assert billable(decided(scaled(response))) == {"99492": 1}


def test_a_low_total_in_an_observation_asks_for_relapse_prevention() -> None:
    low = outcomes(decided(scaled(total(4), episode="later")), "99493")
    assert low["relapse-prevention"] == "not-met"
    assert "relapse-prevention" not in outcomes(decided(scaled(total(5), episode="later")), "99493")


def screener(risk_level: bool) -> Resource:
    """The C-SSRS screener of the behavioral health profiles: a PDF for a canonical, a risk level at the end."""
    links = ("93246-7", "93247-5", "93248-3", "93249-1", "93250-9", "93267-3", "93269-9")
    items = [{"linkId": f"/{link}", "answer": [{"valueCoding": {"system": LOINC, "code": "LA32-8"}}]} for link in links]
    if risk_level:
        items.append({"linkId": "/93374-7", "answer": [{"valueCoding": {"system": LOINC, "code": "LA9194-7"}}]})
    return {
        "resourceType": "QuestionnaireResponse",
        "id": "c-ssrs",
        "questionnaire": "https://www.cms.gov/files/document/cssrs-screen-version-instrument.pdf",
        "status": "completed",
        "subject": PATIENT,
        "authored": "2026-03-12T20:50:32.718Z",
        "item": items,
    }


@pytest.mark.parametrize(("risk_level", "expected"), [(True, "met"), (False, "not-met")])
def test_a_c_ssrs_screener_is_complete_with_its_risk_level(risk_level: bool, expected: str) -> None:
    assert outcomes(decided(scaled(screener(risk_level))))["rating-scale"] == expected


def test_an_assessment_that_no_map_knows_is_no_scale_and_no_error() -> None:
    code, answer = concept(LOINC, "71816-3"), concept(LOINC, "LA14734-0")
    m3 = total(code=concept(LOINC, "71891-6"), component=[{"code": code, "valueCodeableConcept": answer}])
    del m3["valueQuantity"], m3["derivedFrom"]
    assert outcomes(decided(scaled(m3)))["rating-scale"] == "not-met"


# -- a whole record ---------------------------------------------------------------------------------


def us_core() -> Record:
    """The patient of the tidy record, in US Core 6.1 and nothing else: no Consent profile, no codes for BHI work."""
    record = cocm_record().without("Consent", "Procedure", "CareTeam", "QuestionnaireResponse")
    for who in ROLES:
        role = record.get(f"PractitionerRole/{who}-role")
        role["code"] = [concept(NUCC, role["specialty"][0]["coding"][0]["code"])]
    member = [{"role": [concept(SNOMED, code)], "member": reference(who)} for who, code in ROLES.items()]
    record.add(
        {"resourceType": "CareTeam", "id": "team", "status": "active", "subject": PATIENT, "participant": member},
        phq9(),
        total(),
    )
    record.get("Condition")["code"] = {
        "coding": [{"system": SNOMED, "code": "310496002"}, {"system": ICD10, "code": "F32.A"}]
    }
    del record.get("Condition")["recordedDate"]
    return record.work(36, type=[concept(SNOMED, "385765002")])


def test_a_pure_us_core_record_reports_and_bills_nothing() -> None:
    decision = decided(us_core())
    assert billable(decision) == {}
    found = outcomes(decision)
    assert (found["eligible-condition"], found["rating-scale"]) == ("met", "met")
    assert (found["care-team"], found["billing-practitioner"]) == ("unknown", "unknown")
    assert (found["minutes"], found["consent"]) == ("unknown", "not-met")
    [unread] = decision.minutes.not_counted
    assert (unread.source, unread.minutes, unread.reason) == ("Encounter/maria-work-1", None, "unreadable")


DISCLOSURE = {
    "resourceType": "Consent",
    "id": "disclosure",
    "status": "active",
    "scope": concept("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
    "category": [concept("http://terminology.hl7.org/CodeSystem/v3-ActCode", "IDSCL")],
    "patient": PATIENT,
    "dateTime": "2026-02-01",
    "organization": [{"reference": "Organization/practice"}],
    "policyRule": concept("http://terminology.hl7.org/CodeSystem/consentpolicycodes", "hipaa-auth"),
}


def test_an_information_disclosure_is_no_bhi_consent() -> None:
    assert outcomes(decided(us_core().add(DISCLOSURE)))["consent"] == "not-met"


def mapped(folder: Path) -> Path:
    """What a site adds to US Core: who does what, what its contacts are."""
    return a_site(folder, NPI_ROLES, activity={"385765002": "assessment"})


def test_with_roles_kinds_and_consent_the_us_core_record_is_for_a_person_to_complete(tmp_path: Path) -> None:
    record = us_core().add(*(r for r in cocm_record().resources if r["resourceType"] == "Consent"))
    decision = decided(record, mapped(tmp_path))
    assert decision.minutes.counted == 36
    assert [(line.code, line.status) for line in decision.lines] == [("99492", "needs-review")]
    open_ = {k for k, v in outcomes(decision).items() if v != "met"}
    assert open_ == {
        "outreach", "care-planning", "psychiatric-review", "registry-tracking", "caseload-consultation",
        "brief-intervention",
    }  # fmt: skip


def test_a_snomed_role_is_a_fact_only_where_the_site_says_that_it_is(tmp_path: Path) -> None:
    meanings = ("treating-practitioner", "behavioral-health-care-manager", "psychiatric-consultant")
    roles = dict(zip(ROLES.values(), meanings, strict=True))
    site = a_site(tmp_path, **{"team-role": roles})
    assert outcomes(decided(us_core(), site))["care-team"] == "met"


def test_a_procedure_without_performer_is_documented_by_nobody_knows_whom() -> None:
    """US Core 6.1 asks for no performer and no encounter of a Procedure."""
    record = cocm_record().work(36, kind="assessment").change("outreach", performer=None)
    assert outcomes(decided(record))["outreach"] == "unknown"


def test_the_time_of_a_procedure_without_performer_is_unread() -> None:
    record = cocm_record().work_procedure(36, kind="assessment", performer=None)
    decision = decided(record)
    assert (decision.minutes.counted, outcomes(decision)["minutes"]) == (0, "unknown")
    assert [n.reason for n in decision.minutes.not_counted] == ["unreadable"]


def test_an_encounter_with_a_billing_code_of_another_service_is_no_bhi_time() -> None:
    """A contact that carries CPT 90834 beside a BHI kind: psychotherapy."""
    both = {"coding": [{"system": ACTIVITY, "code": "assessment"}, {"system": CPT, "code": "90834"}]}
    decision = decided(cocm_record().work(36, type=[both]))
    assert decision.minutes.counted == 0
    assert [n.reason for n in decision.minutes.not_counted] == ["other-service"]


def test_a_primary_care_encounter_in_snomed_alone_may_be_the_initiating_visit() -> None:
    """737470001 says that it was primary care, not at which level it is billed."""
    record = cocm_record().work(36, kind="assessment").change("maria-visit-1", type=[concept(SNOMED, "737470001")])
    assert outcomes(decided(record))["initiating-visit"] == "unknown"
