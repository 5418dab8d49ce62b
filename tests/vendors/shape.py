"""What the vendor-shaped records share: the same patient and month, and the few pieces of JSON that they all have.

The patient is the one of `golden/cases/cocm-initial-036`: the first month of collaborative care, March 2026,
36 minutes, everything documented. Each vendor's module says in which shape. All people are invented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from record import ANSWERS, HL7, LOINC, NPI, PHQ9, Resource, answers

SNOMED = "http://snomed.info/sct"
PCP, CARE_MANAGER, CONSULTANT = "9000001013", "9000002029", "9000003035"
"""The NPIs of the treating practitioner, the care manager and the psychiatric consultant."""
STAFF = (PCP, CARE_MANAGER, CONSULTANT)
NUCC_OF = {PCP: "207Q00000X", CARE_MANAGER: "1041C0700X", CONSULTANT: "2084P0800X"}
PHQ9_SCORE = 11


@dataclass(frozen=True)
class Vendor:
    """`settings`: what the customer puts in place of a profile's placeholders, whole strings of its files."""

    name: str
    resources: list[Resource]
    base: str
    settings: dict[str, str]

    def bundle(self) -> Resource:
        entries = [{"fullUrl": f"{self.base}/{r['resourceType']}/{r['id']}", "resource": r} for r in self.resources]
        return {"resourceType": "Bundle", "type": "searchset", "entry": entries}


def staff_settings(*, nucc: tuple[str, ...] = ()) -> dict[str, str]:
    """The people of reading.toml; `nucc`: whose taxonomy codes the profile asks for, in its order."""
    roles = ("treating-practitioner", "behavioral-health-care-manager", "psychiatric-consultant")
    named = {f'"TO BE SET {i}" = "{role}"': f'"{STAFF[i - 1]}" = "{role}"' for i, role in enumerate(roles, 1)}
    places = {PCP: '"TO BE SET 1" = ["TO BE SET"]', CONSULTANT: '"TO BE SET 3" = ["TO BE SET"]'}
    return named | {places[npi]: f'"{npi}" = ["{NUCC_OF[npi]}"]' for npi in nucc}


def concept(*codings: tuple[str, str], text: str | None = None) -> Resource:
    found: Resource = {"coding": [{"system": system, "code": code} for system, code in codings]} if codings else {}
    return found | ({"text": text} if text else {})


def practitioner(identity: str, npi: str, family: str, **fields: Any) -> Resource:
    return {
        "resourceType": "Practitioner",
        "id": identity,
        "identifier": [{"use": "usual", "system": NPI, "value": npi}],
        "name": [{"use": "usual", "family": family, "given": ["Synthetic"]}],
    } | fields


def condition(identity: str, subject: Resource, *codings: tuple[str, str]) -> Resource:
    return {
        "resourceType": "Condition",
        "id": identity,
        "clinicalStatus": concept((f"{HL7}condition-clinical", "active")),
        "verificationStatus": concept((f"{HL7}condition-ver-status", "confirmed")),
        "category": [concept((f"{HL7}condition-category", "problem-list-item"))],
        "code": concept(*codings),
        "subject": subject,
        "recordedDate": "2024-01-15",
    }


def phq9_answers(subject: Resource, prefix: str = "/", total: Resource | None = None) -> Resource:
    """The fields of a completed PHQ-9 with its nine items, and its total as the given answer."""
    points = zip(PHQ9, answers("phq-9", PHQ9_SCORE), strict=True)
    items = [
        {"linkId": f"{prefix}{link}", "answer": [{"valueCoding": {"system": LOINC, "code": ANSWERS[p]}}]}
        for link, p in points
    ]
    if total:
        items.append({"linkId": f"{prefix}44261-6", "answer": [total]})
    return {
        "resourceType": "QuestionnaireResponse",
        "status": "completed",
        "subject": subject,
        "authored": "2026-03-12T16:00:00Z",
        "item": items,
    }
