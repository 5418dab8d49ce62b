"""What a server may answer and sekmet does not; any request that is not expected fails the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import httpx
import pytest
import respx
from delivery.charges import CLAIM, PLANNED, TWO_UNITS
from drafts.samples import SITE

from bhi_fhir.delivery.fhir_sink import Door, FhirSink
from bhi_fhir.delivery.line import Line, Nothing, Receipt, Seen, Several, Standing
from bhi_fhir.delivery.reconcile import reconcile
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.errors import Incomplete, Refused
from bhi_fhir.fhir.capabilities import Capabilities, TypeCapability
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection

BASE = "https://ehr.example.org/fhir"
NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)
BOTH = [PLANNED, CLAIM]
MADE = [{"response": {"status": "201 Created", "location": f"{kind}/1/_history/1"}} for kind in ("ChargeItem", "Claim")]
STANDING = replace(PLANNED, state="confirmed", sink="fhir", reference="ChargeItem/1", version="1")
CONDITION = "identifier=urn%3Abhi-fhir%3Adraft%7C{}"


def served(door: Door, *types: str, targets: bool = True) -> Capabilities:
    """A /metadata that offers this door for charges and claims."""
    conditional, own_id = door in ("transaction", "conditional"), door == "own id"
    offered = TypeCapability(frozenset({"create", "update"}), frozenset(), conditional, own_id)
    witness = replace(offered, search_params=frozenset({"target"} if targets else ()))
    kinds = dict.fromkeys(types or ("ChargeItem", "Claim"), offered)
    system = frozenset({"transaction"} if door == "transaction" else ())
    return Capabilities(MappingProxyType({**kinds, "Provenance": witness}), system)


def bundle(kind: str, entries: Sequence[Any]) -> httpx.Response:
    return httpx.Response(200, json={"resourceType": "Bundle", "type": kind, "entry": list(entries)})


def found(*resources: Any) -> httpx.Response:
    return bundle("searchset", [{"resource": {**resource, "id": str(n)}} for n, resource in enumerate(resources, 1)])


def answered(*entries: Any) -> httpx.Response:
    return bundle("transaction-response", entries)


async def created(lines: Sequence[Line] = BOTH, door: Door = "transaction") -> list[Receipt]:
    async with BhiClient(Connection(BASE)) as client:
        return await FhirSink(client, served(door), SITE, lambda: NOW).create(lines)


async def changed(line: Line = STANDING) -> Receipt:
    async with BhiClient(Connection(BASE)) as client:
        return await FhirSink(client, served("transaction"), SITE, lambda: NOW).change(line, TWO_UNITS)


async def looked(line: Line) -> Seen:
    async with BhiClient(Connection(BASE)) as client:
        return await FhirSink(client, served("transaction"), SITE, lambda: NOW).look(line)


async def witnessed(lines: Sequence[Line], said: Capabilities) -> str:
    async with BhiClient(Connection(BASE)) as client:
        return await FhirSink(client, said, SITE, lambda: NOW).witness(lines, ["Encounter/e1"])


def outcomes(receipts: Sequence[Receipt]) -> list[str]:
    return [receipt.outcome for receipt in receipts]


async def test_it_is_a_sink() -> None:
    async with BhiClient(Connection(BASE)) as client:
        door: Sink = FhirSink(client, served("plain"), SITE, lambda: NOW)
        assert (door.name, door.keyed, door.drafts) == ("fhir", False, True)


# -- creating -----------------------------------------------------------------------------------------


async def test_each_draft_is_created_on_the_condition_that_its_identifier_is_not_there(
    respx_mock: respx.MockRouter,
) -> None:
    posted = respx_mock.post(BASE).mock(side_effect=[answered(*MADE)])
    assert await created() == [
        Receipt("confirmed", "ChargeItem/1", "1"),
        Receipt("confirmed", "Claim/1", "1"),
    ]
    sent = json.loads(posted.calls[0].request.content)
    assert sent["type"] == "transaction"
    assert [entry["request"] for entry in sent["entry"]] == [
        {"method": "POST", "url": kind, "ifNoneExist": CONDITION.format(line.identifier)}
        for kind, line in zip(("ChargeItem", "Claim"), BOTH, strict=True)
    ]
    assert [entry["resource"] for entry in sent["entry"]] == [line.content for line in BOTH]


async def test_one_by_one_the_condition_is_a_header(respx_mock: respx.MockRouter) -> None:
    posted = respx_mock.post(f"{BASE}/ChargeItem").respond(201, headers={"Location": f"{BASE}/ChargeItem/7/_history/2"})
    assert await created([PLANNED], "conditional") == [Receipt("confirmed", "ChargeItem/7", "2")]
    assert posted.calls[0].request.headers["If-None-Exist"] == CONDITION.format(PLANNED.identifier)


async def test_without_a_condition_none_is_sent(respx_mock: respx.MockRouter) -> None:
    posted = respx_mock.post(f"{BASE}/ChargeItem").respond(201, headers={"Location": "ChargeItem/7"})
    assert await created([PLANNED], "plain") == [Receipt("confirmed", "ChargeItem/7")]
    assert "If-None-Exist" not in posted.calls[0].request.headers


async def test_with_an_id_of_ours_the_identifier_is_the_id(respx_mock: respx.MockRouter) -> None:
    reference = f"ChargeItem/{PLANNED.identifier}"
    put = respx_mock.put(f"{BASE}/{reference}").respond(201, headers={"ETag": 'W/"1"'})
    assert await created([PLANNED], "own id") == [Receipt("confirmed", reference, "1")]
    assert json.loads(put.calls[0].request.content) == {**PLANNED.content, "id": PLANNED.identifier}


async def test_what_another_run_wrote_in_between_is_not_claimed_as_ours(respx_mock: respx.MockRouter) -> None:
    there = {"response": {"status": "200 OK", "location": "ChargeItem/9/_history/4"}}
    respx_mock.post(BASE).mock(side_effect=[answered(there, MADE[1])])
    charge, claim = await created()
    assert (charge.existed, charge.reference, charge.version) == (True, "ChargeItem/9", "4")
    assert not claim.existed


async def test_what_is_said_to_be_there_and_not_where_is_unknown_until_it_is_seen(
    respx_mock: respx.MockRouter,
) -> None:
    """Azure says nothing of a conditional match in a Bundle."""
    respx_mock.post(BASE).mock(side_effect=[answered({"response": {"status": "200 OK"}}, MADE[1])])
    assert outcomes(await created()) == ["unknown", "confirmed"]


async def test_an_entry_that_is_refused_inside_a_success_is_not_taken_for_written(
    respx_mock: respx.MockRouter,
) -> None:
    inner = [{"response": {"status": "412 Precondition Failed"}}, {"response": {"status": "422 Unprocessable"}}]
    respx_mock.post(BASE).mock(side_effect=[answered(*inner)])
    charge, claim = await created()
    assert (charge.outcome, claim.outcome, claim.status) == ("conflict", "refused", 422)
    assert "412" in charge.reason
    assert "422" in claim.reason


@pytest.mark.parametrize("status", [409, 412])
async def test_a_transaction_in_conflict_has_written_nothing(respx_mock: respx.MockRouter, status: int) -> None:
    respx_mock.post(BASE).respond(status)
    assert outcomes(await created()) == ["conflict", "conflict"]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 422, 501])
async def test_a_transaction_that_is_refused_as_a_whole_is_taken_apart(
    respx_mock: respx.MockRouter, status: int
) -> None:
    respx_mock.post(BASE).respond(status)
    charges = respx_mock.post(f"{BASE}/ChargeItem").respond(201, headers={"Location": "ChargeItem/7/_history/1"})
    respx_mock.post(f"{BASE}/Claim").respond(422)
    charge, claim = await created()
    assert charges.calls[0].request.headers["If-None-Exist"] == CONDITION.format(PLANNED.identifier)
    assert (charge.outcome, claim.outcome, claim.status) == ("confirmed", "refused", 422)


ANSWERS: list[tuple[Any, str, int]] = [
    (httpx.Response(401), "refused", 401),
    (httpx.Response(302), "refused", 302),
    (httpx.Response(408), "unknown", 0),
    (httpx.Response(429), "unsent", 429),
    (httpx.Response(500), "unknown", 0),
    (httpx.Response(503), "unknown", 0),
    (httpx.ConnectError("no"), "unsent", 0),
    (httpx.ReadTimeout("slow"), "unknown", 0),
    (httpx.RemoteProtocolError("half"), "unknown", 0),
    (httpx.Response(200, text="<html>"), "unknown", 0),
    (httpx.Response(200, json={"resourceType": "Bundle", "entry": []}), "unknown", 0),
]


@pytest.mark.parametrize(("answer", "outcome", "status"), ANSWERS, ids=lambda each: str(each)[:40])
async def test_an_answer_of_the_whole_is_that_of_each_and_only_a_clear_no_is_a_no(
    respx_mock: respx.MockRouter, answer: Any, outcome: str, status: int
) -> None:
    route = respx_mock.post(BASE).mock(side_effect=[answer])
    receipts = await created()
    assert [(r.outcome, r.status) for r in receipts] == [(outcome, status)] * 2
    assert all(r.reason for r in receipts)
    assert route.call_count == 1


@pytest.mark.parametrize(("answer", "outcome", "status"), ANSWERS[:-1], ids=lambda each: str(each)[:40])
@pytest.mark.parametrize("door", ["conditional", "plain"])
async def test_so_is_that_of_one(
    respx_mock: respx.MockRouter, door: Door, answer: Any, outcome: str, status: int
) -> None:
    respx_mock.post(f"{BASE}/ChargeItem").mock(side_effect=[answer])
    (receipt,) = await created([PLANNED], door)
    assert (receipt.outcome, receipt.status) == (outcome, status)


# -- changing -----------------------------------------------------------------------------------------


async def test_a_change_names_the_version_that_was_read(respx_mock: respx.MockRouter) -> None:
    put = respx_mock.put(f"{BASE}/ChargeItem/1").respond(200, headers={"ETag": 'W/"2"'})
    assert await changed() == Receipt("confirmed", "ChargeItem/1", "2", existed=True)
    assert put.calls[0].request.headers["If-Match"] == 'W/"1"'
    assert json.loads(put.calls[0].request.content) == {**TWO_UNITS.content, "id": "1"}


@pytest.mark.parametrize("status", [409, 412])
async def test_a_change_of_what_somebody_changed_first_is_a_conflict(respx_mock: respx.MockRouter, status: int) -> None:
    respx_mock.put(f"{BASE}/ChargeItem/1").respond(status)
    assert (await changed()).outcome == "conflict"


@pytest.mark.parametrize(("status", "outcome"), [(403, "refused"), (404, "refused"), (503, "unknown")])
async def test_a_change_may_be_refused_or_not_answered(respx_mock: respx.MockRouter, status: int, outcome: str) -> None:
    respx_mock.put(f"{BASE}/ChargeItem/1").respond(status)
    assert (await changed()).outcome == outcome


async def test_a_server_without_versions_is_not_written_to_twice() -> None:
    receipt = await changed(replace(STANDING, version=""))
    assert (receipt.outcome, receipt.reference) == ("refused", "ChargeItem/1")
    assert "no versions" in receipt.reason


# -- looking ------------------------------------------------------------------------------------------


async def test_equal_instants_and_numbers_spelled_differently_are_no_difference(
    respx_mock: respx.MockRouter,
) -> None:
    respelled = {
        **PLANNED.content,
        "id": "1",
        "meta": {**PLANNED.content["meta"], "versionId": "2", "lastUpdated": "2026-04-01T07:00:00Z"},
        "occurrencePeriod": {"start": "2026-03-01T06:00:00Z", "end": "2026-04-01T04:59:59.000Z"},
        "quantity": {"value": 1.0},
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">by the server</div>'},
    }
    respx_mock.get(f"{BASE}/ChargeItem/1").respond(200, json=respelled)
    seen = await looked(STANDING)
    assert isinstance(seen, Standing)
    assert (seen.reference, seen.version) == ("ChargeItem/1", "2")
    step = reconcile(STANDING, PLANNED.draft, seen, whole=True, keyed=True, age_s=0.0, zone=UTC)
    assert (step.action, step.line.version) == ("keep", "2")


async def test_what_the_server_holds_and_nobody_can_read_is_left_alone(respx_mock: respx.MockRouter) -> None:
    broken = {**PLANNED.content, "id": "1", "quantity": "one"}
    respx_mock.get(f"{BASE}/ChargeItem/1").respond(200, json=broken)
    step = reconcile(STANDING, PLANNED.draft, await looked(STANDING), whole=True, keyed=True, age_s=0.0, zone=UTC)
    assert (step.action, "it is no valid R4" in step.because) == ("leave", True)


@pytest.mark.parametrize("status", [404, 410])
async def test_what_is_gone_was_deleted(respx_mock: respx.MockRouter, status: int) -> None:
    respx_mock.get(f"{BASE}/ChargeItem/1").respond(status)
    assert await looked(STANDING) == Nothing(deleted=True)


async def test_a_look_that_is_refused_says_nothing_of_what_stands_there(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{BASE}/ChargeItem/1").respond(403)
    with pytest.raises(Refused):
        await looked(STANDING)


async def test_what_has_no_reference_yet_is_searched_by_its_identifier_and_filtered_again(
    respx_mock: respx.MockRouter,
) -> None:
    """A server may ignore what it is asked for."""
    stranger = {**PLANNED.content, "identifier": [{"system": "urn:elsewhere", "value": PLANNED.identifier}]}
    asked = respx_mock.get(f"{BASE}/ChargeItem")
    asked.side_effect = [found(stranger), found(PLANNED.content, stranger), found(PLANNED.content, PLANNED.content)]
    assert await looked(PLANNED) == Nothing()
    seen = await looked(PLANNED)
    assert isinstance(seen, Standing)
    assert seen.reference == "ChargeItem/1"
    assert await looked(PLANNED) == Several(2)
    assert asked.calls[0].request.url.params["identifier"] == f"urn:bhi-fhir:draft|{PLANNED.identifier}"


async def test_a_search_that_is_not_whole_is_no_answer(respx_mock: respx.MockRouter) -> None:
    warning = {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "suppressed"}]}
    entry = {"resource": warning, "search": {"mode": "outcome"}}
    respx_mock.get(f"{BASE}/ChargeItem").mock(side_effect=[bundle("searchset", [entry])])
    with pytest.raises(Incomplete):
        await looked(PLANNED)


# -- witness ------------------------------------------------------------------------------------------


async def test_drafts_stand_although_the_server_refuses_their_provenance(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{BASE}/Provenance").mock(side_effect=[found()])
    respx_mock.post(f"{BASE}/Provenance").respond(403)
    doubt = await witnessed([STANDING], served("transaction"))
    assert doubt.startswith("Its Provenance was not written: ")


async def test_a_server_that_takes_no_provenance_is_not_asked_to() -> None:
    said = served("transaction")
    types = {name: each for name, each in said.types.items() if name != "Provenance"}
    doubt = await witnessed([STANDING], replace(said, types=MappingProxyType(types)))
    assert doubt == "Its Provenance was not written: the server takes none."


async def test_a_provenance_that_is_there_is_not_written_again(respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{BASE}/Provenance").mock(side_effect=[found({"resourceType": "Provenance"})])
    assert await witnessed([STANDING], served("transaction")) == ""


async def test_where_provenances_cannot_be_searched_one_is_written_and_names_each_version(
    respx_mock: respx.MockRouter,
) -> None:
    claim = replace(CLAIM, reference="Claim/4", version="")
    posted = respx_mock.post(f"{BASE}/Provenance").respond(201, headers={"Location": "Provenance/1"})
    assert await witnessed([STANDING, claim], served("transaction", targets=False)) == ""
    sent = json.loads(posted.calls[0].request.content)
    assert [each["reference"] for each in sent["target"]] == ["ChargeItem/1/_history/1", "Claim/4"]
    assert [each["what"]["reference"] for each in sent["entity"]] == ["Encounter/e1"]


async def test_each_provenance_is_recorded_when_it_is_written(respx_mock: respx.MockRouter) -> None:
    posted = respx_mock.post(f"{BASE}/Provenance").respond(201, headers={"Location": "Provenance/1"})
    days = iter([NOW, NOW + timedelta(days=30)])
    async with BhiClient(Connection(BASE)) as client:
        sink = FhirSink(client, served("transaction", targets=False), SITE, lambda: next(days))
        for _ in range(2):
            assert await sink.witness([STANDING], ["Encounter/e1"]) == ""
    recorded = [json.loads(call.request.content)["recorded"][:10] for call in posted.calls]
    assert recorded == ["2026-04-01", "2026-05-01"]
