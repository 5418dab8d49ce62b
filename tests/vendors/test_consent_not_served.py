"""athenahealth and MEDITECH serve no Consent: what that means depends on where the site keeps its consents."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx

from bhi_fhir.fhir.capabilities import capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.jobs.patient_record import RecordReader
from bhi_fhir.mapping.site_reading import site_reading
from bhi_fhir.mapping.source import SUBJECT

BASE = "https://ehr.example/fhir"
DOCUMENT = '[[consent.document]]\nsystem = "urn:example:local"\ncode = "FORM"\ncovers_terms = true\n'


def statement(*types: str) -> dict[str, Any]:
    served = [{"type": t, "searchParam": [{"name": "patient", "type": "reference"}]} for t in types]
    rest = [{"mode": "server", "resource": served}]
    return {"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "rest": rest}


def nothing(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"resourceType": "Bundle", "type": "searchset", "total": 0})


async def withheld(folder: Path, reading: str, mock: respx.MockRouter, *, served: bool) -> set[str]:
    """The parts of the record that count as not read."""
    (folder / "reading.toml").write_text(reading)
    types = [t for t in SUBJECT if served or t != "Consent"]
    mock.get(f"{BASE}/metadata").respond(200, json=statement(*types))
    mock.get(f"{BASE}/Patient/x").respond(200, text=json.dumps({"resourceType": "Patient", "id": "x"}))
    mock.route(path="/fhir/Consent").respond(404 if not served else 403)
    mock.route().mock(side_effect=nothing)
    async with BhiClient(Connection(BASE)) as client:
        reader = RecordReader(client, await capabilities(client), site_reading(folder))
        return {part.part for part in (await reader.read("Patient/x")).withheld}


@pytest.mark.respx(assert_all_called=False)
@pytest.mark.parametrize(
    ("reading", "served", "expected"),
    [
        ("", False, {"Consent"}),
        (DOCUMENT, False, set()),
        (DOCUMENT, True, {"Consent"}),
    ],
    ids=["no other source is named", "the site names documents", "it is served, and refused"],
)
async def test_a_consent_type_that_is_not_served_is_missing_only_where_no_other_source_is_named(
    reading: str, served: bool, expected: set[str], tmp_path: Path, respx_mock: respx.MockRouter
) -> None:
    assert await withheld(tmp_path, reading, respx_mock, served=served) == expected
