"""Epic: local contact types beside text, days without times, minutes in a flowsheet row, roles in words.

Shapes: Epic R4 CapabilityStatement (May 2026) and public sandbox answers, see mappings/sites/epic/README.md.
"""

from typing import Any

from record import ICD10, LOINC, NUCC, Resource
from record import concept as codes
from vendors.shape import (
    CARE_MANAGER,
    CONSULTANT,
    NUCC_OF,
    PCP,
    SNOMED,
    Vendor,
    concept,
    condition,
    practitioner,
    staff_settings,
)

ORGANIZATION = "urn:oid:1.2.840.114350.1.13.999.2"
CONTACT = f"{ORGANIZATION}.7.10.698084.30"
FLOWSHEET = f"{ORGANIZATION}.7.2.707679"
DOCUMENT = f"{ORGANIZATION}.7.4.737880.5010"
PAYER = f"{ORGANIZATION}.7.10.837070.120"
CLASS = "urn:oid:1.2.840.114350.1.72.1.7.7.10.696784.13260"
FLOWSHEET_TOKEN = "http://open.epic.com/FHIR/StructureDefinition/observation-flowsheet-id"

PATIENT = {"reference": "Patient/eMaria.00Synthetic3", "display": "Synthetic, Maria"}
PEOPLE = {
    PCP: ("ePcp.1Synthetic3", "Family Medicine Physician, MD", concept((SNOMED, "446050000"), text="PCP - General")),
    CARE_MANAGER: ("eCm.2Synthetic3", "Benita Synthetic, LCSW", concept(text="Behavioral Health Care Manager")),
    CONSULTANT: ("ePsy.3Synthetic3", "Piers Synthetic, MD", concept((SNOMED, "80584001"), text="Psychiatrist")),
}
KINDS = {
    "assessment": "70101",
    "care-planning": "70102",
    "brief-intervention": "70103",
    "care-coordination": "70104",
    "progress-review": "70105",
    "registry-tracking": "70106",
    "caseload-consultation": "70107",
    "outreach": "70108",
    "psychiatric-review": "70109",
}
INITIATING = "2101"


def somebody(npi: str) -> Resource:
    identity, display, _ = PEOPLE[npi]
    return {"reference": f"Practitioner/{identity}", "type": "Practitioner", "display": display}


def contact(number: int, code: str, npi: str, period: Resource) -> Resource:
    return {
        "resourceType": "Encounter",
        "id": f"eContact.{number}",
        "identifier": [{"use": "usual", "system": f"{ORGANIZATION}.7.3.698084.8", "value": f"2756{number}"}],
        "status": "finished",
        "class": {"system": CLASS, "code": "13", "display": "Support OP Encounter"},
        "type": [concept((CONTACT, code), text="A contact type of the organization")],
        "subject": PATIENT,
        "participant": [{"period": period, "individual": somebody(npi)}],
        "period": period,
        "location": [{"location": {"display": "EMC Family Medicine"}}],
    }


def people() -> list[Resource]:
    found: list[Resource] = []
    for npi, (identity, display, _) in PEOPLE.items():
        qualification = [{"code": {"text": display.rpartition(" ")[2]}}]
        found.append(practitioner(identity, npi, display, active=True, qualification=qualification))
        specialty = {"coding": [*codes(f"{ORGANIZATION}.7.10.836982.1050", "9")["coding"]], "text": "A specialty"}
        specialty["coding"] += codes(NUCC, NUCC_OF[npi])["coding"]
        role: dict[str, Any] = {"resourceType": "PractitionerRole", "id": f"{identity}.role", "active": True}
        found.append(role | {"practitioner": somebody(npi), "specialty": [specialty]})
    return found


def resources() -> list[Resource]:
    day = {"start": "2026-03-03", "end": "2026-03-03"}
    contacts = [contact(1, KINDS["assessment"], CARE_MANAGER, day)]
    later = {"start": "2026-03-12", "end": "2026-03-12"}
    for number, kind in enumerate([k for k in KINDS if k != "assessment"], 2):
        contacts.append(
            contact(number, KINDS[kind], CONSULTANT if kind == "psychiatric-review" else CARE_MANAGER, later)
        )
    visit = contact(99, INITIATING, PCP, {"start": "2026-02-20T14:30:00Z", "end": "2026-02-20T15:00:00Z"})
    return [
        {"resourceType": "Patient", "id": "eMaria.00Synthetic3", "gender": "female", "birthDate": "1951-07-14"},
        *people(),
        {
            "resourceType": "CareTeam",
            "id": "eTeam.1",
            "status": "active",
            "subject": PATIENT,
            "participant": [{"role": [role], "member": somebody(npi)} for npi, (_, _, role) in PEOPLE.items()],
        },
        condition(
            "eProblem.1", PATIENT, (ICD10, "F33.1"), (SNOMED, "191611001"), ("urn:oid:2.16.840.1.113883.3.247.1.1", "7")
        ),
        visit,
        *contacts,
        {
            "resourceType": "Observation",
            "id": "eFlowsheet.1",
            "status": "final",
            "category": [concept(text="Flowsheet")],
            "code": concept((FLOWSHEET, "31400"), (FLOWSHEET_TOKEN, "tSynthetic0"), text="Time spent (min)"),
            "subject": PATIENT,
            "encounter": {"reference": "Encounter/eContact.1"},
            "effectiveDateTime": "2026-03-03T16:36:00Z",
            "issued": "2026-03-03T16:36:00Z",
            "valueQuantity": {"value": 36, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"},
        },
        {
            "resourceType": "Observation",
            "id": "eFlowsheet.2",
            "status": "final",
            "category": [concept(("http://terminology.hl7.org/CodeSystem/observation-category", "survey"))],
            "code": concept((FLOWSHEET, "21002"), (LOINC, "44261-6"), text="PHQ-9 Total Score"),
            "subject": PATIENT,
            "effectiveDateTime": "2026-03-12T16:00:00Z",
            "valueQuantity": {"value": 11},
        },
        {
            "resourceType": "Consent",
            "id": "ePrivacy.1",
            "status": "active",
            "scope": concept(("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")),
            "category": [concept((LOINC, "59284-0"))],
            "patient": PATIENT,
            "dateTime": "2024-05-02",
            "policyRule": concept(text="Notice of privacy practices"),
        },
        {
            "resourceType": "DocumentReference",
            "id": "eConsent.1",
            "status": "current",
            "docStatus": "final",
            "type": concept((DOCUMENT, "8801"), text="BHI consent"),
            "subject": PATIENT,
            "date": "2026-02-20T15:30:00Z",
            "author": [somebody(PCP)],
            "content": [{"attachment": {"contentType": "application/pdf", "url": "Binary/eConsent.1"}}],
        },
        {
            "resourceType": "Coverage",
            "id": "eCoverage.1",
            "status": "active",
            "type": concept((PAYER, "100"), text="Medicare"),
            "subscriberId": "1S00E00AA00",
            "beneficiary": PATIENT,
            "payor": [{"display": "Medicare"}],
            "period": {"start": "2016-07-01"},
        },
    ]


EPIC = Vendor(
    "epic",
    resources(),
    "https://epic.example/api/FHIR/R4",
    {
        "urn:example:to-be-set:visit-type": CONTACT,
        **{f'"to-be-set-{kind}"': f'"{code}"' for kind, code in KINDS.items()},
        "to-be-set-initiating-visit": INITIATING,
        "urn:example:to-be-set:flowsheet": FLOWSHEET,
        "to-be-set-minutes": "31400",
        "urn:example:to-be-set:document-type": DOCUMENT,
        "to-be-set-bhi-consent": "8801",
        "covers_terms = false": "covers_terms = true",
        "urn:example:to-be-set:payer-type": PAYER,
        "to-be-set-medicare-part-b": "100",
        **staff_settings(),
    },
)
