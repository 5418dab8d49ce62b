"""Oracle Health Millennium: codeSet 71 visit types, no length, contained locations, absolute references, no roles.

Shapes: cerner/fhir.cerner.com, content/millennium/r4, see mappings/sites/oracle-health/README.md.
"""

from record import ICD10, Resource
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

BASE = "https://oracle.example/r4/ec2458f2-synthetic"
CODE_SETS = "https://fhir.cerner.com/ec2458f2-synthetic/codeSet"
VISIT_TYPE, EVENT = f"{CODE_SETS}/71", f"{CODE_SETS}/72"

PATIENT = {"reference": f"{BASE}/Patient/12724066", "display": "SYNTHETIC, MARIA"}
PEOPLE = {PCP: "4122622", CARE_MANAGER: "4122623", CONSULTANT: "4122624"}
CONTACTS = {
    "assessment": "510101",
    "care-planning": "510102",
    "brief-intervention": "510103",
    "care-coordination": "510104",
    "progress-review": "510105",
    "registry-tracking": "510106",
    "caseload-consultation": "510107",
    "outreach": "510108",
}
"""Each a visit type of its own whose period is the contact; eight of four and a half minutes make 36."""
REVIEW, INITIATING = "510109", "309308"


def somebody(npi: str) -> Resource:
    return {"reference": f"{BASE}/Practitioner/{PEOPLE[npi]}", "display": "Synthetic, Staff"}


def encounter(identity: str, visit_type: str, npi: str, start: str, end: str) -> Resource:
    coding = [
        {"system": VISIT_TYPE, "code": visit_type, "display": "A visit type of the client", "userSelected": True},
        {"system": "http://terminology.hl7.org/CodeSystem/v2-0004", "code": "O", "userSelected": False},
    ]
    attending = concept(("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "ATND"))
    return {
        "resourceType": "Encounter",
        "id": identity,
        "meta": {"versionId": "3", "lastUpdated": "2026-04-02T10:00:00Z"},
        "contained": [{"resourceType": "Location", "id": "loc", "status": "active", "mode": "instance"}],
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB", "userSelected": False},
        "type": [{"coding": coding, "text": "A visit type of the client"}],
        "serviceType": concept((f"{CODE_SETS}/34", "313012"), (SNOMED, "700232004"), text="Medicine-General"),
        "subject": PATIENT,
        "participant": [{"type": [attending], "individual": somebody(npi)}],
        "period": {"start": start, "end": end},
        "location": [{"location": {"reference": "#loc"}, "status": "completed"}],
        "serviceProvider": {"reference": f"{BASE}/Organization/675844"},
    }


def resources() -> list[Resource]:
    contacts = []
    for n, code in enumerate(CONTACTS.values(), 1):
        day = f"2026-03-{n + 2:02}"
        contacts.append(encounter(f"979395{n}", code, CARE_MANAGER, f"{day}T16:00:00.000Z", f"{day}T16:04:30.000Z"))
    role = concept((f"{CODE_SETS}/333", "1119"), text="Care Team Member")
    return [
        {"resourceType": "Patient", "id": "12724066", "gender": "female", "birthDate": "1951-07-14"},
        *(practitioner(identity, npi, "Synthetic", active=True) for npi, identity in PEOPLE.items()),
        {
            "resourceType": "CareTeam",
            "id": "LP-12724066-0-3038500-0-0-0",
            "status": "active",
            "category": [concept(("http://hl7.org/fhir/care-team-category", "longitudinal"))],
            "subject": PATIENT,
            "participant": [
                {"role": [role], "member": {"reference": PATIENT["reference"]}},
                *({"role": [role], "member": somebody(npi)} for npi in PEOPLE),
            ],
        },
        condition("p73069225", PATIENT, (f"{CODE_SETS}/nomenclature", "7"), (ICD10, "F33.1"), (SNOMED, "191611001")),
        encounter("97939500", INITIATING, PCP, "2026-02-20T14:30:00.000Z", "2026-02-20T15:00:00.000Z"),
        *contacts,
        encounter("97939530", REVIEW, CONSULTANT, "2026-03-12T17:00:00.000Z", "2026-03-12T17:15:00.000Z"),
        phq9_answers(PATIENT) | {"id": "QR-1", "questionnaire": "http://loinc.org/q/44249-1"},
        {
            "resourceType": "Consent",
            "id": "privacy-1",
            "status": "active",
            "scope": concept(("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy")),
            "category": [concept(("http://terminology.hl7.org/CodeSystem/v3-ActCode", "IDSCL"))],
            "patient": PATIENT,
            "policyRule": concept(text="Proxy access"),
        },
        {
            "resourceType": "DocumentReference",
            "id": "18100001",
            "status": "current",
            "docStatus": "final",
            "type": concept((EVENT, "2820501"), text="BHI consent"),
            "subject": PATIENT,
            "author": [somebody(PCP)],
            "content": [{"attachment": {"contentType": "application/pdf", "creation": "2026-02-20T15:45:00Z"}}],
            "context": {"period": {"start": "2026-02-20T15:30:00Z", "end": "2026-02-20T15:30:00Z"}},
        },
        {
            "resourceType": "Coverage",
            "id": "cov-1",
            "status": "active",
            "type": concept((f"{CODE_SETS}/367", "1"), text="Medicare"),
            "subscriberId": "1S00E00AA00",
            "beneficiary": PATIENT,
            "payor": [{"reference": f"{BASE}/Organization/589783"}],
            "period": {"start": "2016-07-01T06:00:00.000Z"},
        },
    ]


ONE_TYPE = """[[minutes.period.only_types]]
system = "{system}"
code = "{code}"
"""

ORACLE_HEALTH = Vendor(
    "oracle-health",
    resources(),
    BASE,
    {
        'system = "urn:example:to-be-set:codeset-71"\ncode = "to-be-set-timed-contact"\n': (
            f'system = "{VISIT_TYPE}"\ncode = "{CONTACTS["assessment"]}"\n'
            + "".join(ONE_TYPE.format(system=VISIT_TYPE, code=c) for k, c in CONTACTS.items() if k != "assessment")
        ),
        "urn:example:to-be-set:codeset-71": VISIT_TYPE,
        **{f'"to-be-set-{kind}"': f'"{code}"' for kind, code in CONTACTS.items()},
        '"to-be-set-psychiatric-review"': f'"{REVIEW}"',
        "to-be-set-initiating-visit": INITIATING,
        "urn:example:to-be-set:codeset-72": EVENT,
        "to-be-set-bhi-consent": "2820501",
        "covers_terms = false": "covers_terms = true",
        "urn:example:to-be-set:coverage-type": f"{CODE_SETS}/367",
        "to-be-set-medicare-part-b": "1",
        **staff_settings(nucc=(PCP, CONSULTANT)),
    },
)
