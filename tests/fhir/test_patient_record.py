"""One patient's record: nobody else's, asked for side by side, and no trouble is remembered for the next one."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import respx

from bhi_fhir.errors import Refused, Unreachable
from bhi_fhir.fhir.capabilities import Capabilities, TypeCapability
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.jobs import patient_record
from bhi_fhir.jobs.patient_record import RecordReader, ServerRecord
from bhi_fhir.mapping.site_reading import SiteReading
from bhi_fhir.mapping.source import SUBJECT

BASE = "https://ehr.example/fhir"
KINDS = sorted(SUBJECT.keys() - {"DocumentReference"})


def served(*params: str) -> Capabilities:
    names = frozenset(params or ("patient",))
    types = {kind: TypeCapability(frozenset({"search-type"}), names, False, False) for kind in SUBJECT}
    return Capabilities(types, frozenset())


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": r} for r in resources]}


def encounter(number: int, subject: object = "Patient/maria", **more: Any) -> dict[str, Any]:
    about = {"reference": subject} if isinstance(subject, str) else subject
    return {"resourceType": "Encounter", "id": f"e{number}", "subject": about, **more}


def by(person: str) -> dict[str, Any]:
    return {"participant": [{"individual": {"reference": person}}]}


@pytest.fixture
def server(respx_mock: respx.MockRouter) -> respx.MockRouter:
    """A server that has a patient, an empty list of everything, and Encounters that a test adds."""
    patient = {"resourceType": "Patient", "id": "maria"}
    respx_mock.get(url__regex=rf"{BASE}/Patient/\w+$", name="Patient").respond(200, json=patient)
    for kind in KINDS:
        respx_mock.get(f"{BASE}/{kind}", name=kind).respond(200, json=bundle())
    return respx_mock


def reader(client: BhiClient, known: Capabilities | None = None) -> RecordReader:
    return RecordReader(client, known or served(), SiteReading())


def ids(record: ServerRecord) -> list[str]:
    return [json.loads(bytes(source.json))["id"] for source in record.sources]


async def test_resources_of_other_patients_are_left_out_and_counted(
    client: BhiClient, server: respx.MockRouter
) -> None:
    mine = [
        encounter(1),
        encounter(2, f"{BASE}/Patient/maria"),
        encounter(3, "https://inside.example/r4/Patient/maria/_history/7"),
        encounter(4, {"identifier": {"value": "x"}}),
        encounter(5, None),
        encounter(6, "#contained"),
        encounter(7, "urn:uuid:6f3c8a4e-0000-4000-8000-000000000001"),
        encounter(8, {"reference": 7}),
        {"resourceType": "Practitioner", "id": "included"},
    ]
    others = [
        encounter(11, "Patient/anna"),
        encounter(12, f"{BASE}/Patient/maria2"),
        encounter(13, "Patient/x/_history/1"),
    ]
    server["Encounter"].respond(200, json=bundle(*mine, *others))
    record = await reader(client).read("Patient/maria")
    assert ids(record) == ["maria", *(f"e{n}" for n in range(1, 9)), "included"]
    assert record.notes == ["The server gave 3 Encounter of other patients; they are left out."]
    assert record.withheld == []


async def test_a_byte_that_is_no_text_in_what_nobody_reads_spoils_neither_record_nor_run(
    client: BhiClient, server: respx.MockRouter
) -> None:
    said = json.dumps(bundle(encounter(1, note=[{"text": "caf#"}], **by("Practitioner/p")))).encode()
    server.get(f"{BASE}/Practitioner/p").respond(200, json={"resourceType": "Practitioner", "id": "p"})
    server["Encounter"].respond(200, content=said.replace(b"#", b"\xe9"))
    record = await reader(client).read("Patient/maria")
    assert [source.at for source in record.sources] == ["Patient/maria", "entry[0]", "Practitioner/p"]


async def test_the_record_of_a_patient_who_was_merged_keeps_what_names_the_old_one(
    client: BhiClient, server: respx.MockRouter
) -> None:
    link = [
        {"type": "replaces", "other": {"reference": "Patient/old"}},
        {"type": "seealso", "other": {"reference": "Patient/sister"}},
    ]
    patient = {"resourceType": "Patient", "id": "maria", "link": link}
    server["Patient"].mock(side_effect=[httpx.Response(200, json=patient), httpx.Response(404)])
    server["Encounter"].respond(200, json=bundle(encounter(1, "Patient/old"), encounter(2, "Patient/sister")))
    assert ids(await reader(client).read("Patient/maria")) == ["maria", "e1"]


async def test_a_type_without_a_patient_search_is_read_once_and_sorted(
    client: BhiClient, server: respx.MockRouter
) -> None:
    server["Encounter"].respond(200, json=bundle(encounter(1), encounter(2, "Patient/anna"), encounter(3, None)))
    known = served()
    types = {**known.types, "Encounter": TypeCapability(frozenset(), frozenset(), False, False)}
    reading = reader(client, Capabilities(types, frozenset()))
    maria, anna = await asyncio.gather(*(reading.read(f"Patient/{name}") for name in ("maria", "anna")))
    assert (ids(maria), ids(anna)) == (["maria", "e1"], ["maria", "e2"])
    assert (server["Encounter"].call_count, maria.notes) == (1, [])


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_a_parameter_that_is_listed_and_refused_has_a_successor(
    client: BhiClient, server: respx.MockRouter, status: int
) -> None:
    server["Encounter"].mock(
        side_effect=lambda request: httpx.Response(
            *((200,) if "subject" in request.url.params else (status,)), json=bundle(encounter(1))
        )
    )
    record = await reader(client, served("patient", "subject")).read("Patient/maria")
    assert (ids(record), record.withheld) == (["maria", "e1"], [])
    assert (await reader(client).read("Patient/maria")).withheld[0].part == "Encounter"


async def test_a_refusal_for_want_of_rights_is_not_asked_around(client: BhiClient, server: respx.MockRouter) -> None:
    server["Encounter"].respond(403)
    record = await reader(client, served("patient", "subject")).read("Patient/maria")
    assert [held.part for held in record.withheld] == ["Encounter"]
    assert server["Encounter"].call_count == 1


async def test_a_server_that_lists_no_types_is_asked_by_patient_and_never_for_whole_types(
    client: BhiClient, server: respx.MockRouter
) -> None:
    await reader(client, Capabilities({}, frozenset())).read("Patient/maria")
    assert all(call.request.url.params.get("patient") == "Patient/maria" for call in server["Encounter"].calls)


async def test_the_types_are_asked_for_side_by_side_within_the_site_s_concurrency_and_come_in_one_order(
    server: respx.MockRouter,
) -> None:
    now = most = 0

    async def slow(request: httpx.Request) -> httpx.Response:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01 if request.url.path.endswith("CareTeam") else 0.001)
        now -= 1
        kind = request.url.path.split("/")[-1]
        about = {SUBJECT[kind]: {"reference": "Patient/maria"}}
        return httpx.Response(200, json=bundle({"resourceType": kind, "id": kind, **about}))

    for kind in KINDS:
        server[kind].mock(side_effect=slow)
    async with BhiClient(Connection(BASE, concurrency=4)) as client:
        assert ids(await reader(client).read("Patient/maria")) == ["maria", *KINDS]
    assert most == 4


async def test_a_search_that_cannot_be_had_fails_the_patient_by_its_own_error_and_ends_the_others(
    client: BhiClient, server: respx.MockRouter
) -> None:
    async def for_ever(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    server["Condition"].mock(side_effect=for_ever)
    server["Encounter"].mock(side_effect=httpx.ReadError("broken"))
    with pytest.raises(Unreachable, match=r"^GET Encounter"):
        await asyncio.wait_for(reader(client).read("Patient/maria"), 5)


async def test_a_person_is_read_once_for_all_patients(client: BhiClient, server: respx.MockRouter) -> None:
    server["Encounter"].respond(200, json=bundle(encounter(1, None, **by("Practitioner/p"))))
    person = server.get(f"{BASE}/Practitioner/p").respond(200, json={"resourceType": "Practitioner", "id": "p"})
    reading = reader(client)
    records = await asyncio.gather(*(reading.read(f"Patient/{name}") for name in ("maria", "anna", "eva")))
    assert [ids(record)[-1] for record in records] == ["p", "p", "p"]
    assert person.call_count == 1


@pytest.mark.parametrize(("trouble", "asked"), [(403, 1), (404, 1), (500, 8)])
async def test_a_person_whom_the_server_refuses_is_remembered_and_trouble_is_not(
    client: BhiClient, server: respx.MockRouter, trouble: int, asked: int
) -> None:
    server["Encounter"].respond(200, json=bundle(encounter(1, None, **by("Practitioner/p"))))
    person = server.get(f"{BASE}/Practitioner/p").respond(trouble)
    reading = reader(client)
    for _ in range(2):
        assert "p" not in ids(await reading.read("Patient/maria"))
    assert person.call_count == asked
    person.respond(200, json={"resourceType": "Practitioner", "id": "p"})
    assert ("p" in ids(await reading.read("Patient/maria"))) == (trouble == 500)


async def test_a_patient_who_is_given_up_does_not_take_a_person_from_the_others(
    client: BhiClient, server: respx.MockRouter
) -> None:
    server["Encounter"].respond(200, json=bundle(encounter(1, None, **by("Practitioner/p"))))
    asked = asyncio.Event()

    async def slow(_: httpx.Request) -> httpx.Response:
        asked.set()
        await asyncio.sleep(0.01)
        return httpx.Response(200, json={"resourceType": "Practitioner", "id": "p"})

    person = server.get(f"{BASE}/Practitioner/p").mock(side_effect=slow)
    reading = reader(client)
    first, second = (asyncio.create_task(reading.read(f"Patient/{name}")) for name in ("maria", "anna"))
    await asked.wait()
    first.cancel()
    assert ids(await second)[-1] == "p"
    assert person.call_count == 1


async def test_what_is_remembered_of_people_does_not_grow_with_the_patients(
    client: BhiClient, server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patient_record, "MOST_PEOPLE", 3)
    server.get(url__regex=rf"{BASE}/Practitioner/\d+$").mock(
        side_effect=lambda r: httpx.Response(
            200, json={"resourceType": "Practitioner", "id": r.url.path.split("/")[-1]}
        )
    )
    reading = reader(client)
    for number in range(10):
        server["Encounter"].respond(200, json=bundle(encounter(1, None, **by(f"Practitioner/{number}"))))
        assert ids(await reading.read("Patient/maria"))[-1] == str(number)
    assert len(reading._people._known) == 3


async def test_a_patient_who_is_not_there_is_an_error(client: BhiClient, server: respx.MockRouter) -> None:
    server["Patient"].respond(404)
    with pytest.raises(Refused, match="404"):
        await reader(client).read("Patient/maria")
