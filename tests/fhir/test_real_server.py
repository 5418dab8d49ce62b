"""Against a real server, in its own process, over HTTP."""

import importlib.util
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from bhi_fhir.errors import Conflict, Refused, Unreachable, UsageError
from bhi_fhir.fhir.capabilities import capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.reading import find_by_identifier, read, search
from bhi_fhir.fhir.writing import transact
from bhi_fhir.jobs.local_server import local_fhir_server

pytestmark = pytest.mark.server
SYSTEM = "urn:bhi-fhir:draft"


@pytest.fixture
async def real(fhir_server: str) -> AsyncIterator[BhiClient]:
    async with BhiClient(Connection(fhir_server)) as client:
        yield client


def put(resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "resource": resource,
        "request": {"method": "PUT", "url": f"{resource['resourceType']}/{resource['id']}"},
    }


def transaction(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def charge(value: str) -> dict[str, Any]:
    return {
        "resource": {
            "resourceType": "ChargeItem",
            "status": "planned",
            "identifier": [{"system": SYSTEM, "value": value}],
            "code": {"text": "99492"},
            "subject": {"reference": "Patient/anybody"},
        },
        "request": {"method": "POST", "url": "ChargeItem", "ifNoneExist": f"identifier={SYSTEM}|{value}"},
    }


async def test_the_server_says_what_it_can(real: BhiClient) -> None:
    known = await capabilities(real)
    assert known.transaction
    assert known.can("ChargeItem", "create")
    assert known.types["ChargeItem"].conditional_create
    assert "patient" in known.types["Encounter"].search_params


async def test_a_search_reads_all_pages(real: BhiClient) -> None:
    patients = [{"resourceType": "Patient", "id": f"paged-{n}", "active": True} for n in range(5)]
    await transact(real, transaction(*(put(patient) for patient in patients)))
    result = await search(real, "Patient", {"_id": ",".join(p["id"] for p in patients), "_count": "2"})
    assert {json.loads(entry)["id"] for entry in result.entries} == {f"paged-{n}" for n in range(5)}
    assert (result.complete, result.notes) == (True, ())


async def test_links_on_a_host_that_is_no_alias_end_the_search_and_an_alias_heals_it(
    real: BhiClient, fhir_server: str
) -> None:
    """The server's links say 127.0.0.1; a client that knows it as localhost must not follow them blindly."""
    patients = [{"resourceType": "Patient", "id": f"aliased-{n}"} for n in range(3)]
    await transact(real, transaction(*(put(patient) for patient in patients)))
    params = {"_id": "aliased-0,aliased-1,aliased-2", "_count": "1"}
    elsewhere = f"http://localhost:{urlsplit(fhir_server).port}/fhir"
    async with BhiClient(Connection(elsewhere)) as stranger:
        assert not (await search(stranger, "Patient", params)).complete
    async with BhiClient(Connection(elsewhere, aliases=(fhir_server,))) as friend:
        assert len((await search(friend, "Patient", params)).entries) == 3


async def test_a_conditional_create_in_a_transaction_makes_one_charge(real: BhiClient) -> None:
    [made] = await transact(real, transaction(charge("once")))
    [found] = await transact(real, transaction(charge("once")))
    assert (made.status, found.status) == (201, 200)
    assert made.reference == found.reference
    assert len(await find_by_identifier(real, "ChargeItem", SYSTEM, "once")) == 1
    assert await find_by_identifier(real, "ChargeItem", SYSTEM, "never") == ()


async def test_a_stale_version_is_a_conflict_and_nothing_of_the_transaction_is_written(
    real: BhiClient,
) -> None:
    patient = {"resourceType": "Patient", "id": "stale"}
    await transact(real, transaction(put(patient)))
    stale = put({**patient, "active": True})
    stale["request"]["ifMatch"] = 'W/"7"'
    with pytest.raises(Conflict):
        await transact(real, transaction(charge("rolled-back"), stale))
    assert await find_by_identifier(real, "ChargeItem", SYSTEM, "rolled-back") == ()


async def test_a_deleted_resource_is_gone_and_no_longer_found(real: BhiClient) -> None:
    [made] = await transact(real, transaction(charge("deleted")))
    assert made.reference is not None
    assert json.loads(await read(real, made.reference))["status"] == "planned"
    await real.ask("DELETE", made.reference)
    with pytest.raises(Refused) as caught:
        await read(real, made.reference)
    assert caught.value.status == 410
    assert await find_by_identifier(real, "ChargeItem", SYSTEM, "deleted") == ()
    [again] = await transact(real, transaction(charge("deleted")))
    assert again.status == 201


async def test_an_unknown_parameter_is_refused_rather_than_ignored(real: BhiClient) -> None:
    with pytest.raises(Refused) as caught:
        await search(real, "Patient", {"favourite-colour": "blue"})
    assert caught.value.status == 400


def test_the_server_ends_with_its_block() -> None:
    with local_fhir_server() as base_url:
        assert httpx.get(f"{base_url}/metadata").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base_url}/metadata")


def test_a_server_that_does_not_start_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Unreachable, match="did not start"), local_fhir_server():
        pass


def test_without_sekmet_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'bhi-fhir\[demo\]'"), local_fhir_server():
        pass
