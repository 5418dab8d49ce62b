"""The same Type/id under two servers' fullUrls: two resources, unless both say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from record import CPT, concept

from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source
from bhi_fhir.views.charge_item import ChargeItem

HERE, THERE = "https://ehr.example/fhir", "https://other.example/fhir"


def charge(code: str, at: str, **others: Any) -> dict[str, Any]:
    item = {"resourceType": "ChargeItem", "id": "1", "status": "billed", "code": concept(CPT, code)}
    return item | {"meta": {"lastUpdated": at}, "subject": {"reference": "Patient/maria"}} | others


def read(*entries: tuple[str, dict[str, Any]]) -> Record:
    return Record.read(
        Source("f", f"entry[{i}]", json.dumps(resource).encode(), f"{base}/{resource['resourceType']}/{resource['id']}")
        for i, (base, resource) in enumerate(entries)
    )


@pytest.mark.parametrize("turn", [1, -1])
def test_a_charge_of_another_server_does_not_replace_the_one_of_the_same_id(turn: int) -> None:
    entries = [(HERE, charge("99492", "2026-04-01T00:00:00Z")), (THERE, charge("99213", "2026-04-02T00:00:00Z"))]
    record = read(*entries[::turn])
    found = {key: row.code for key, row in record.of_type(ChargeItem)}
    assert sorted(found) == ["ChargeItem/1", f"{THERE}/ChargeItem/1"]
    assert not record.set_aside


def test_one_server_by_two_names_says_everything_once() -> None:
    one = charge("99492", "2026-04-01T00:00:00Z")
    assert list(read((HERE, one), (THERE, one)).rows) == ["ChargeItem/1"]


def test_a_reference_is_sought_on_the_server_that_holds_it() -> None:
    patients = [(base, {"resourceType": "Patient", "id": "maria", "active": base == HERE}) for base in (HERE, THERE)]
    record = read(*patients, (THERE, charge("99213", "2026-04-02T00:00:00Z", id="2")))
    row = record.rows["ChargeItem/2"]
    assert record.patient(row, "ChargeItem/2") == f"{THERE}/Patient/maria"
