"""athenahealth: US Core 6.1 with athena's own extensions, no PractitionerRole, no Consent: answers instead.

Shapes: athenahealth FHIR CapabilityStatement and US Core 6.1, see mappings/sites/athenahealth/README.md.
"""

from record import CPT, ICD10, Resource
from vendors.shape import (
    CARE_MANAGER,
    CONSULTANT,
    PCP,
    SNOMED,
    Vendor,
    concept,
    condition,
    phq9_answers,
    practitioner,
    staff_settings,
)

TYPE = "https://fhir.athena.example/sid/encounter-type"
PAYER = "https://fhir.athena.example/sid/payer"
FORM = "https://fhir.athena.example/Questionnaire/a-1.bhi-consent"
PRACTICE = {
    "url": "https://fhir.athena.io/StructureDefinition/ah-practice",
    "valueReference": {"reference": "Organization/a-1.Practice-195900"},
}

PATIENT = {"reference": "Patient/a-195900.E-14918"}
PEOPLE = {
    PCP: ("a-195900.Provider-1", concept((SNOMED, "446050000"), text="Primary care provider")),
    CARE_MANAGER: ("a-195900.Provider-2", concept((SNOMED, "768820003"), text="Care coordinator")),
    CONSULTANT: ("a-195900.Provider-3", concept((SNOMED, "80584001"), text="Psychiatrist")),
}
KINDS = {
    "assessment": "BHA",
    "care-planning": "BHP",
    "brief-intervention": "BHB",
    "care-coordination": "BHC",
    "progress-review": "BHR",
    "registry-tracking": "BHT",
    "caseload-consultation": "BHS",
    "outreach": "BHO",
    "psychiatric-review": "BHY",
}


def somebody(npi: str) -> Resource:
    return {"reference": f"Practitioner/{PEOPLE[npi][0]}"}


def encounter(number: int, kind: Resource, npi: str, period: Resource) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": f"a-195900.encounter-{number}",
        "meta": {"profile": ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-encounter|6.1.0"]},
        "extension": [PRACTICE],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [kind],
        "subject": PATIENT,
        "participant": [{"individual": somebody(npi)}],
        "period": period,
    }


def resources() -> list[Resource]:
    call = {"start": "2026-03-03T10:00:00-06:00", "end": "2026-03-03T10:36:00-06:00"}
    contacts = [encounter(1, concept((TYPE, KINDS["assessment"])), CARE_MANAGER, call)]
    for number, kind in enumerate([k for k in KINDS if k != "assessment"], 2):
        who = CONSULTANT if kind == "psychiatric-review" else CARE_MANAGER
        contacts.append(encounter(number, concept((TYPE, KINDS[kind])), who, {"start": "2026-03-12"}))
    visited = {"start": "2026-02-20T08:30:00-06:00", "end": "2026-02-20T09:00:00-06:00"}
    agreed = {"linkId": "bhi-agrees", "text": "The patient agrees", "answer": [{"valueBoolean": True}]}
    return [
        {"resourceType": "Patient", "id": "a-195900.E-14918", "gender": "female", "birthDate": "1951-07-14"},
        *(practitioner(identity, npi, "Synthetic", extension=[PRACTICE]) for npi, (identity, _) in PEOPLE.items()),
        {
            "resourceType": "CareTeam",
            "id": "a-195900.careteam-14918",
            "extension": [PRACTICE],
            "status": "active",
            "subject": PATIENT,
            "participant": [{"role": [role], "member": somebody(npi)} for npi, (_, role) in PEOPLE.items()],
        },
        condition("a-195900.problem-1", PATIENT, (ICD10, "F33.1"), (SNOMED, "191611001")),
        encounter(99, concept((CPT, "99214")), PCP, visited),
        *contacts,
        phq9_answers(PATIENT, total={"valueDecimal": 11.0})
        | {"id": "a-195900.qr-1", "questionnaire": "http://loinc.org/q/44249-1"},
        {
            "resourceType": "QuestionnaireResponse",
            "id": "a-195900.qr-2",
            "questionnaire": FORM,
            "status": "completed",
            "subject": PATIENT,
            "authored": "2026-02-20T09:30:00-06:00",
            "author": somebody(PCP),
            "item": [{"linkId": "terms", "item": [agreed]}],
        },
        {
            "resourceType": "Coverage",
            "id": "a-195900.insurance-1",
            "status": "active",
            "type": concept((PAYER, "MCR")),
            "subscriberId": "1S00E00AA00",
            "beneficiary": PATIENT,
            "relationship": concept(("http://terminology.hl7.org/CodeSystem/subscriber-relationship", "self")),
            "payor": [{"display": "Medicare Part B"}],
            "period": {"start": "2016-07-01"},
        },
    ]


ATHENAHEALTH = Vendor(
    "athenahealth",
    resources(),
    "https://athena.example/fhir/r4",
    {
        "urn:example:to-be-set:encounter-type": TYPE,
        **{f'"to-be-set-{kind}"': f'"{code}"' for kind, code in KINDS.items()},
        "to-be-set-timed-contact": KINDS["assessment"],
        "urn:example:to-be-set:consent-questionnaire": FORM,
        'link_id = "to-be-set"': 'link_id = "bhi-agrees"',
        "covers_terms = false": "covers_terms = true",
        "urn:example:to-be-set:coverage-type": PAYER,
        "to-be-set-medicare-part-b": "MCR",
        **staff_settings(nucc=(PCP, CONSULTANT)),
    },
)
