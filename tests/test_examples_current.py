"""The example patients are what the generator makes, valid R4, and fit together on one server."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import fhirkit
import pytest
from make_examples import EXAMPLES, EXPECTED, FOLDER, files
from record import Record, cocm_record, g0323_record, general_record

SHARED = {"Organization", "Practitioner", "PractitionerRole"}
RECORDS = {example.stem: example.make() for example in EXAMPLES}
FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")


def name(resource: dict[str, Any]) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for part in value:
            yield from references(part)


def problems(record: Record) -> list[str]:
    """What fhirkit finds, whatever its severity."""
    return [f"{name(r)}: {issue}" for r in record.resources for issue in fhirkit.validate(json.dumps(r))]


def test_the_files_are_what_the_generator_makes() -> None:
    stored = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.iterdir()}
    assert stored == files(), "run: python tests/make_examples.py"


def test_each_file_has_one_expectation() -> None:
    assert len(EXPECTED) == len(EXAMPLES)
    assert {path.stem for path in FOLDER.glob("*.json")} == set(EXPECTED)


@pytest.mark.parametrize("stem", RECORDS)
def test_every_resource_of_an_example_is_valid_r4(stem: str) -> None:
    assert problems(RECORDS[stem]) == []


@pytest.mark.parametrize("stem", RECORDS)
def test_no_reference_of_an_example_dangles(stem: str) -> None:
    record = RECORDS[stem]
    present = {name(r) for r in record.resources}
    assert set(references(record.resources)) <= present


@pytest.mark.parametrize("stem", RECORDS)
def test_ids_are_fhir_ids_and_used_once_in_a_file(stem: str) -> None:
    names = [name(r) for r in RECORDS[stem].resources]
    assert len(names) == len(set(names))
    assert all(FHIR_ID.fullmatch(r["id"]) for r in RECORDS[stem].resources)


def test_all_examples_fit_on_one_server() -> None:
    seen: dict[str, dict[str, Any]] = {}
    for record in RECORDS.values():
        for resource in record.resources:
            if resource["resourceType"] in SHARED:
                assert seen.setdefault(name(resource), resource) == resource
            else:
                assert name(resource) not in seen
                seen[name(resource)] = resource


def test_everybody_is_invented() -> None:
    for record in RECORDS.values():
        for resource in record.resources:
            for person in resource.get("name", []) if resource["resourceType"] != "Organization" else []:
                assert person["family"] == "Synthetic"
            for identifier in resource.get("identifier", []):
                assert identifier["value"].startswith(("9", "1S"))


def test_whatever_the_builder_writes_is_valid_r4() -> None:
    cocm = cocm_record(episode="later").work(20, by=("bhcm", "psych"), kind=("follow-up", "administrative"))
    cocm.work_procedure(5, encounter={"reference": "Encounter/maria-work-1"}).charge("G0557").claim("99490", "G0557")
    cocm.scale(27).scale(5, "gad-7", answered=3).scale(total=3, answered=0, status="in-progress")
    cocm.coverage("5", end="2026-03-31").member("clerk", "administrative-staff", start="2026-01-01")
    cocm.condition("F41.1", clinical=None, verified="provisional").consent("2026-03-01", status="inactive")
    assert problems(cocm) == []
    assert problems(general_record().work(25)) == []
    assert problems(g0323_record().without("Coverage").work(20).claim("G0323")) == []


def test_minutes_are_the_same_on_the_night_when_the_clocks_change() -> None:
    spring = cocm_record().work(30, 8, "01:45").get("maria-work-1")["period"]
    assert spring == {"start": "2026-03-08T01:45:00-06:00", "end": "2026-03-08T03:15:00-05:00"}
