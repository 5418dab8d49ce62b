"""A transaction's answer is read entry by entry, also under HTTP 200."""

from typing import Any

import httpx
import pytest
import respx

from bhi_fhir.errors import Conflict, Incomplete, Refused, Unreachable
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.writing import transact

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
