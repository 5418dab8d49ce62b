"""MEDITECH: US Core and little more; minutes as bare numbers in Observations, roles in PractitionerRole.

Shapes: MEDITECH Greenfield CapabilityStatement and US Core 6.1, see mappings/sites/meditech/README.md.
"""

from record import CPT, ICD10, LOINC, NUCC, Resource
from vendors.shape import (
    CARE_MANAGER,
    CONSULTANT,
    NUCC_OF,
    PCP,
    Vendor,
    concept,
    condition,
    practitioner,
)

TYPE = "urn:oid:2.16.840.1.113883.3.999.1"
QUERY = "urn:oid:2.16.840.1.113883.3.999.2"
DOCUMENT = "urn:oid:2.16.840.1.113883.3.999.3"
PAYER = "urn:oid:2.16.840.1.113883.3.999.4"
ROLE = "urn:oid:2.16.840.1.113883.3.999.5"

PATIENT = {"reference": "Patient/3d2a6b10-0000-5000-8000-00000000036f"}
PEOPLE = {PCP: ("prov-1", "BHPCP"), CARE_MANAGER: ("prov-2", "BHCM"), CONSULTANT: ("prov-3", "BHPSY")}
KINDS = {
    "assessment": "A1",
    "care-planning": "A2",
    "brief-intervention": "A3",
    "care-coordination": "A4",
    "progress-review": "A5",
    "registry-tracking": "A6",
    "caseload-consultation": "A7",
    "outreach": "A8",
    "psychiatric-review": "A9",
}
LOGGED = {"assessment": (3, 20), "care-coordination": (4, 11), "outreach": (5, 5)}
"""The day of March and the minutes."""


def somebody(npi: str) -> Resource:
    return {"reference": f"Practitioner/{PEOPLE[npi][0]}"}


def encounter(kind: str, code: tuple[str, str], npi: str, start: str) -> Resource:
    """An account that stays open for days: its period is no time."""
    return {
        "resourceType": "Encounter",
        "id": f"acct-{kind}",
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"},
        "type": [concept(code)],
        "subject": PATIENT,
        "participant": [{"individual": somebody(npi)}],
        "period": {"start": start, "end": "2026-03-31T23:00:00-05:00"},
    }


def logged(kind: str, day: int, minutes: int) -> Resource:
    return {
        "resourceType": "Observation",
        "id": f"query-{kind}",
        "status": "final",
        "code": concept((QUERY, "BHMIN")),
        "subject": PATIENT,
        "encounter": {"reference": f"Encounter/acct-{kind}"},
        "effectiveDateTime": f"2026-03-{day:02}T11:00:00-06:00",
        "valueInteger": minutes,
    }


def resources() -> list[Resource]:
    people: list[Resource] = []
    for npi, (identity, code) in PEOPLE.items():
        role = {"resourceType": "PractitionerRole", "id": f"{identity}-role", "practitioner": somebody(npi)}
        taxonomy = concept((NUCC, NUCC_OF[npi]))
        people += [practitioner(identity, npi, "Synthetic"), role | {"code": [concept((ROLE, code)), taxonomy]}]
    work = [
        encounter(
            kind,
            (TYPE, code),
            CONSULTANT if kind == "psychiatric-review" else CARE_MANAGER,
            f"2026-03-{LOGGED[kind][0]:02}T10:00:00-06:00" if kind in LOGGED else "2026-03-12T10:00:00-05:00",
        )
        for kind, code in KINDS.items()
    ]
    member = concept(text="Provider")
    return [
        {"resourceType": "Patient", "id": PATIENT["reference"].partition("/")[2], "gender": "female"},
        *people,
        {
            "resourceType": "CareTeam",
            "id": "team-1",
            "status": "active",
            "subject": PATIENT,
            "participant": [
                {"role": [member], "member": {"reference": f"PractitionerRole/{identity}-role"}}
                for identity, _ in PEOPLE.values()
            ],
        },
        condition("prob-1", PATIENT, (ICD10, "F33.1")),
        encounter("visit", (CPT, "99214"), PCP, "2026-02-20T08:30:00-06:00")
        | {"period": {"start": "2026-02-20T08:30:00-06:00", "end": "2026-02-20T09:00:00-06:00"}},
        *work,
        *(logged(kind, *entry) for kind, entry in LOGGED.items()),
        {
            "resourceType": "Observation",
            "id": "query-phq9",
            "status": "final",
            "code": concept((LOINC, "44261-6")),
            "subject": PATIENT,
            "effectiveDateTime": "2026-03-12T11:00:00-05:00",
            "valueInteger": 11,
        },
        {
            "resourceType": "DocumentReference",
            "id": "doc-1",
            "status": "current",
            "type": concept((DOCUMENT, "BHIC")),
            "subject": PATIENT,
            "date": "2026-02-20T09:30:00-06:00",
            "author": [somebody(PCP)],
            "content": [{"attachment": {"contentType": "application/pdf"}}],
        },
        {
            "resourceType": "Coverage",
            "id": "ins-1",
            "status": "active",
            "type": concept((PAYER, "MCRB")),
            "subscriberId": "1S00E00AA00",
            "beneficiary": PATIENT,
            "payor": [{"display": "Medicare Part B"}],
            "period": {"start": "2016-07-01"},
        },
    ]


MEDITECH = Vendor(
    "meditech",
    resources(),
    "https://meditech.example/v2/uscore/STU6",
    {
        "urn:example:to-be-set:encounter-type": TYPE,
        **{f'"to-be-set-{kind}"': f'"{code}"' for kind, code in KINDS.items()},
        "urn:example:to-be-set:observation": QUERY,
        "to-be-set-minutes": "BHMIN",
        "urn:example:to-be-set:document-type": DOCUMENT,
        "to-be-set-bhi-consent": "BHIC",
        "covers_terms = false": "covers_terms = true",
        "urn:example:to-be-set:practitioner-role": ROLE,
        "to-be-set-treating-practitioner": "BHPCP",
        "to-be-set-behavioral-health-care-manager": "BHCM",
        "to-be-set-psychiatric-consultant": "BHPSY",
        "urn:example:to-be-set:coverage-type": PAYER,
        "to-be-set-medicare-part-b": "MCRB",
    },
)
