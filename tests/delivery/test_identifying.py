"""Who a patient or practitioner is, for destinations that do not know FHIR ids."""

from __future__ import annotations

import asyncio

import httpx
import pytest
import respx

from bhi_fhir.delivery.identifying import identifying
from bhi_fhir.errors import ServerError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection

BASE = "https://ehr.example.org/fhir"
DOCTOR = {"resourceType": "Practitioner", "id": "pcp", "name": [{"family": "Okafor"}]}
PATIENT = {"resourceType": "Patient", "id": "1", "name": [{"family": "Rivera"}]}


async def test_who_stops_waiting_for_a_practitioner_leaves_the_answer_to_the_next(
    respx_mock: respx.MockRouter,
) -> None:
    answered = asyncio.Event()

    async def slowly(request: httpx.Request) -> httpx.Response:
        await answered.wait()
        return httpx.Response(200, json=DOCTOR)

    route = respx_mock.get(f"{BASE}/Practitioner/pcp").mock(side_effect=slowly)
    async with BhiClient(Connection(BASE)) as client:
        identify = identifying(client)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await identify("Practitioner/pcp")
        answered.set()
        assert (await identify("Practitioner/pcp")).family == "Okafor"
    assert route.call_count == 1


async def test_a_practitioner_who_could_not_be_read_is_asked_for_again(respx_mock: respx.MockRouter) -> None:
    answers = [httpx.Response(404), httpx.Response(200, json=DOCTOR)]
    respx_mock.get(f"{BASE}/Practitioner/pcp").mock(side_effect=answers)
    async with BhiClient(Connection(BASE)) as client:
        identify = identifying(client)
        with pytest.raises(ServerError):
            await identify("Practitioner/pcp")
        assert (await identify("Practitioner/pcp")).family == "Okafor"


async def test_practitioners_are_remembered_and_patients_are_not(respx_mock: respx.MockRouter) -> None:
    doctor = respx_mock.get(f"{BASE}/Practitioner/pcp").respond(json=DOCTOR)
    patient = respx_mock.get(f"{BASE}/Patient/1").respond(json=PATIENT)
    async with BhiClient(Connection(BASE)) as client:
        identify = identifying(client)
        for reference in ("Practitioner/pcp", "Patient/1") * 2:
            await identify(reference)
    assert (doctor.call_count, patient.call_count) == (1, 2)
