"""What the service says of itself: valid R4, and the same numbers as policy."""

from __future__ import annotations

import json
from importlib import import_module
from typing import Any

import fhirkit
import httpx
import pytest
from make_examples import MONTH

from bhi_fhir.jobs.catalogue import catalogue

BASE = "https://bhi.example.org/fhir"
CODES = [entry.code for entry in catalogue(MONTH).entries]


def read(client: httpx.Client, path: str) -> dict[str, Any]:
    """A resource that fhir.resources and fhirkit both find in order."""
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/fhir+json")
    found: dict[str, Any] = answer.json()
    kind = found["resourceType"]
    getattr(import_module(f"fhir.resources.R4B.{kind.lower()}"), kind).model_validate(found)
    assert fhirkit.validate(json.dumps(found)) == []
    return found


def test_the_capability_statement_names_what_is_served(service: httpx.Client) -> None:
    said = read(service, "/fhir/metadata")
    (rest,) = said["rest"]
    (operation,) = rest["operation"]
    defined = read(service, operation["definition"].removeprefix("https://bhi.example.org"))
    assert defined["url"] == operation["definition"]
    assert said["implementation"]["url"] == BASE
    assert {each["type"] for each in rest["resource"]} == {"ChargeItemDefinition", "OperationDefinition", "Patient"}


def test_the_operation_takes_a_month_and_a_record_and_gives_a_bundle(service: httpx.Client) -> None:
    defined = read(service, "/fhir/OperationDefinition/evaluate-bhi")
    assert [(p["name"], p["use"], p["type"]) for p in defined["parameter"]] == [
        ("month", "in", "date"),
        ("record", "in", "Bundle"),
        ("return", "out", "Bundle"),
    ]


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_defined_by_its_rule(service: httpx.Client, code: str) -> None:
    entry = next(each for each in catalogue(MONTH).entries if each.code == code)
    found = read(service, f"/fhir/ChargeItemDefinition/{code}?month={MONTH}")
    assert (found["url"], found["version"]) == (f"{BASE}/ChargeItemDefinition/{code}", "2026.1")
    assert found["code"]["coding"] == [{"system": entry.system, "code": code}]
    assert found["status"] == ("active" if entry.in_force else "retired")
    assert entry.minutes in found["description"]
    assert len(found.get("applicability", [])) == len(entry.block) + len(entry.review)


def test_what_is_not_served_is_not_found(service: httpx.Client) -> None:
    for path in ("ChargeItemDefinition/99213", "OperationDefinition/nothing"):
        answer = service.get(f"/fhir/{path}")
        assert (answer.status_code, answer.json()["resourceType"]) == (404, "OperationOutcome")
    assert service.get("/fhir/ChargeItemDefinition/99492?month=soon").status_code == 400
    assert service.get("/fhir/metadata", headers={"accept": "application/fhir+xml"}).status_code == 406
