"""A transaction's answer is read entry by entry, also under HTTP 200."""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest
import respx

from bhi_fhir.errors import Conflict, Incomplete, Refused, Unreachable
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.writing import (
    EntryAnswer,
    Standing,
    create,
    put_own_id,
    read_standing,
    transact,
    update,
)

TWO: dict[str, Any] = {"resourceType": "Bundle", "type": "transaction", "entry": [{}, {}]}
ONE: dict[str, Any] = {**TWO, "entry": [{}]}


def response(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction-response", "entry": list(entries)}


@pytest.mark.parametrize(
    ("entry", "reference", "version"),
    [
        ({"response": {"status": "201 Created", "location": "Claim/7/_history/2"}}, "Claim/7", "2"),
        (
            {"response": {"status": "201", "location": "http://inside:8080/x/Claim/7/_history/2"}},
            "Claim/7",
            "2",
        ),
        ({"response": {"status": "200", "location": "/fhir/Claim/7", "etag": 'W/"2"'}}, "Claim/7", "2"),
        # Medplum sends no location, but the resource.
        (
            {
                "response": {"status": "201"},
                "resource": {"resourceType": "Claim", "id": "7", "meta": {"versionId": "2"}},
            },
            "Claim/7",
            "2",
        ),
        # Azure: nothing at all on a conditional match.
        ({"response": {"status": "200"}}, None, None),
        (
            {"response": {"status": "200"}, "resource": {"resourceType": "OperationOutcome", "id": "1"}},
            None,
            None,
        ),
        ({"response": {"status": "204", "location": "https://x/?Claim/7/_history/2#y"}}, None, None),
    ],
)
async def test_where_the_resource_went_is_read_in_every_form(
    client: BhiClient,
    base: str,
    respx_mock: respx.MockRouter,
    entry: dict[str, Any],
    reference: str | None,
    version: str | None,
) -> None:
    respx_mock.post(base).respond(200, json=response(entry))
    [answer] = await transact(client, ONE)
    assert (answer.reference, answer.version, answer.problem) == (reference, version, None)


async def test_an_inner_412_is_a_conflict_of_that_entry_only(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"severity": "error", "code": "multiple-matches"}],
    }
    respx_mock.post(base).respond(
        200,
        json=response(
            {"response": {"status": "201 Created", "location": "Claim/7/_history/1"}},
            {"response": {"status": "412 Precondition Failed", "outcome": outcome}},
        ),
    )
    made, stale = await transact(client, TWO)
    assert (made.status, made.problem) == (201, None)
    assert stale.status == 412
    assert isinstance(stale.problem, Conflict)
    assert "412, multiple-matches" in str(stale.problem)


async def test_an_inner_refusal_carries_its_status(client: BhiClient, base: str, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(base).respond(200, json=response({"response": {"status": "422"}}))
    [answer] = await transact(client, ONE)
    assert isinstance(answer.problem, Refused)
    assert answer.problem.status == 422


@pytest.mark.parametrize(("status", "error"), [(412, Conflict), (409, Conflict), (400, Refused), (503, Refused)])
async def test_a_transaction_that_is_refused_as_a_whole_raises(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, status: int, error: type[Exception]
) -> None:
    route = respx_mock.post(base).respond(status)
    with pytest.raises(error, match=f"^POST Bundle.*{status}"):
        await transact(client, TWO)
    assert route.call_count == 1


async def test_a_transaction_without_an_answer_is_not_sent_again(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(base).mock(side_effect=httpx.ReadTimeout("slow"))
    with pytest.raises(Unreachable, match="unknown whether"):
        await transact(client, TWO)
    assert route.call_count == 1


@pytest.mark.parametrize(
    "body",
    [
        response({"response": {"status": "201"}}),
        response({"response": {"status": "Created"}}, {"response": {"status": "201"}}),
        response({}, {}),
        {"resourceType": "OperationOutcome"},
        [],
    ],
)
async def test_an_answer_that_does_not_fit_the_transaction_is_incomplete(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, body: object
) -> None:
    respx_mock.post(base).respond(200, json=body)
    with pytest.raises(Incomplete, match="POST transaction"):
        await transact(client, TWO)


CLAIM: dict[str, Any] = {"resourceType": "Claim", "id": "7", "meta": {"versionId": "3"}}


async def test_a_create_says_where_the_resource_is(client: BhiClient, base: str, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{base}/Claim")
    route.respond(201, headers={"Location": f"{base}/Claim/7/_history/1", "ETag": 'W/"1"'})
    answer = await create(client, CLAIM)
    assert (answer.status, answer.reference, answer.version, answer.problem) == (201, "Claim/7", "1", None)
    assert "if-none-exist" not in route.calls.last.request.headers


async def test_a_conditional_create_sends_its_condition_and_tells_a_match_from_a_new_one(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{base}/Claim").respond(200, json=CLAIM)
    answer = await create(client, CLAIM, if_none_exist="identifier=urn%3Ax%7C1")
    assert (answer.status, answer.reference, answer.version) == (200, "Claim/7", "3")
    assert route.calls.last.request.headers["if-none-exist"] == "identifier=urn%3Ax%7C1"


async def test_an_update_names_the_version_that_was_read(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.put(f"{base}/Claim/7").respond(200, headers={"ETag": 'W/"4"'})
    answer = await update(client, "Claim/7", CLAIM, if_match="3")
    assert (answer.reference, answer.version) == ("Claim/7", "4")
    assert route.calls.last.request.headers["if-match"] == 'W/"3"'


@pytest.mark.parametrize("status", [409, 412])
async def test_an_update_of_a_version_that_is_gone_is_a_conflict(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, status: int
) -> None:
    route = respx_mock.put(f"{base}/Claim/7").respond(status)
    with pytest.raises(Conflict):
        await update(client, "Claim/7", CLAIM, "3")
    assert route.call_count == 1


async def test_a_put_under_our_own_id_is_under_it_even_if_the_server_says_nothing(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.put(f"{base}/Claim/7").respond(201)
    answer = await put_own_id(client, "Claim/7", CLAIM)
    assert (answer.status, answer.reference, answer.version) == (201, "Claim/7", None)
    assert "if-match" not in route.calls.last.request.headers


@pytest.mark.parametrize(
    ("reference", "version"),
    [("Claim", "3"), ("Claim/7/_history/3", "3"), ("https://x/Claim/7", "3"), ("Claim/7", '3"'), ("Claim/7", "")],
)
async def test_an_odd_reference_or_version_is_not_sent(
    client: BhiClient, respx_mock: respx.MockRouter, reference: str, version: str
) -> None:
    with pytest.raises(Unreachable, match="nothing was sent") as caught:
        await update(client, reference, CLAIM, version)
    assert (caught.value.sent, len(respx_mock.calls)) == (False, 0)


async def test_a_web_page_with_200_is_no_success(client: BhiClient, base: str, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(f"{base}/Claim").respond(200, text="<html>Sign in</html>")
    with pytest.raises(Incomplete, match="POST Claim"):
        await create(client, CLAIM)


@pytest.mark.parametrize(
    "write",
    [
        lambda client: create(client, CLAIM),
        lambda client: update(client, "Claim/7", CLAIM, "3"),
        lambda client: put_own_id(client, "Claim/7", CLAIM),
    ],
)
async def test_no_write_is_sent_twice(
    client: BhiClient, respx_mock: respx.MockRouter, write: Callable[[BhiClient], Awaitable[EntryAnswer]]
) -> None:
    route = respx_mock.route()
    for trouble, sent in [(httpx.ReadTimeout("slow"), True), (httpx.ConnectError("no"), False)]:
        route.side_effect = trouble
        with pytest.raises(Unreachable) as caught:
            await write(client)
        assert caught.value.sent == sent
    route.side_effect = None
    route.respond(503)
    with pytest.raises(Refused):
        await write(client)
    assert route.call_count == 3


@pytest.mark.parametrize(
    ("headers", "body", "version"),
    [
        ({"ETag": 'W/"5"'}, CLAIM, "5"),
        ({}, CLAIM, "3"),
        ({}, {"resourceType": "Claim"}, None),
        ({"ETag": "?"}, CLAIM, "3"),
    ],
)
async def test_what_stands_there_is_read_past_every_cache_with_its_version(
    client: BhiClient,
    base: str,
    respx_mock: respx.MockRouter,
    headers: dict[str, str],
    body: dict[str, Any],
    version: str | None,
) -> None:
    route = respx_mock.get(f"{base}/Claim/7").respond(200, json=body, headers=headers)
    found = await read_standing(client, "Claim/7")
    assert (found.status, json.loads(found.body or b""), found.version) == (200, body, version)
    assert route.calls.last.request.headers["cache-control"] == "no-cache"


@pytest.mark.parametrize("status", [404, 410])
async def test_never_there_and_deleted_are_told_apart(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, status: int
) -> None:
    respx_mock.get(f"{base}/Claim/7").respond(status)
    assert await read_standing(client, "Claim/7") == Standing("Claim/7", status)


async def test_another_resource_or_a_refusal_is_not_what_stands_there(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(f"{base}/Claim/7").respond(200, json={"resourceType": "Patient"})
    with pytest.raises(Incomplete):
        await read_standing(client, "Claim/7")
    route.respond(403)
    with pytest.raises(Refused):
        await read_standing(client, "Claim/7")
