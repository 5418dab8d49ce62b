"""Medplum: the tidy record with UUIDs and Medplum's own elements in meta, a local visit type, consent by answers."""

import copy
import uuid
from typing import Any

from record import HL7, Resource, cocm_record
from vendors.shape import Vendor

VISIT_TYPE = "https://practice.example/fhir/CodeSystem/visit-type"
FORM = "https://practice.example/fhir/Questionnaire/bhi-consent"
BASE = "https://medplum.example/fhir/R4"
PROJECT = "f1a0b1c2-0000-4000-8000-000000000001"


def _id(reference: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, reference))


def _with_uuids(value: Any, known: set[str]) -> Any:
    if isinstance(value, dict):
        return {k: _renamed(v, known) if k == "reference" else _with_uuids(v, known) for k, v in value.items()}
    return [_with_uuids(v, known) for v in value] if isinstance(value, list) else value


def _renamed(value: Any, known: set[str]) -> Any:
    return f"{value.split('/')[0]}/{_id(value)}" if value in known else _with_uuids(value, known)


def resources() -> list[Resource]:
    record = cocm_record().without("Consent")
    record.work(36, kind="assessment", length={"value": 36, "unit": "min", "system": "http://unitsofmeasure.org"})
    call = record.get("maria-work-1")
    call["type"] = [{"coding": [{"system": VISIT_TYPE, "code": "bh-assessment"}]}]
    call["period"]["end"] = "2026-03-03T12:05:00-06:00"  # when the chart was closed
    record.add(
        {
            "resourceType": "QuestionnaireResponse",
            "id": "consent-form",
            "questionnaire": FORM,
            "status": "completed",
            "subject": record.subject,
            "authored": "2026-02-20T15:30:00.000Z",
            "author": {"reference": "Practitioner/pcp"},
            "item": [{"linkId": "agrees", "answer": [{"valueBoolean": True}]}],
        }
    )
    known = {f"{r['resourceType']}/{r['id']}" for r in record.resources}
    found = []
    for resource in copy.deepcopy(record.resources):
        name = f"{resource['resourceType']}/{resource['id']}"
        meta = {
            "project": PROJECT,
            "versionId": _id(f"{name}/1"),
            "lastUpdated": "2026-04-01T12:00:00.000Z",
            "author": {"reference": "ClientApplication/3b0e", "display": "A client"},
            "compartment": [{"reference": f"Project/{PROJECT}"}],
            "tag": [{"system": f"{HL7}common-tags", "code": "actionable"}],
        }
        found.append(_with_uuids(resource, known) | {"id": _id(name), "meta": meta})
    return found


MEDPLUM = Vendor(
    "medplum",
    resources(),
    BASE,
    {
        "urn:example:to-be-set:visit-type": VISIT_TYPE,
        '"to-be-set-assessment"': '"bh-assessment"',
        "urn:example:to-be-set:consent-questionnaire": FORM,
        'link_id = "to-be-set"': 'link_id = "agrees"',
        "covers_terms = false": "covers_terms = true",
    },
)
