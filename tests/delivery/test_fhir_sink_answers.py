"""What a server may answer and sekmet does not; any request that is not expected fails the test."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import respx
from drafts.samples import COCM_FIRST, MARIA, RUN, SITE

from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.fhir_sink import deliver
from bhi_fhir.drafts import draft
from bhi_fhir.errors import Refused, Unreachable
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection

BASE = "https://ehr.example.org/fhir"
NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)
DRAFTS = draft(COCM_FIRST, MARIA, RUN)
CHARGE, CLAIM = (json.loads(resource.model_dump_json()) for resource in DRAFTS.resources)
MADE = [{"response": {"status": "201 Created", "location": f"{kind}/1/_history/1"}} for kind in ("ChargeItem", "Claim")]
ATTESTED = [{"response": {"status": "201 Created", "location": "Provenance/1/_history/1"}}]


def bundle(kind: str, entries: Sequence[Any]) -> httpx.Response:
    return httpx.Response(200, json={"resourceType": "Bundle", "type": kind, "entry": list(entries)})


def found(*resources: Any) -> httpx.Response:
    return bundle("searchset", [{"resource": {**resource, "id": "1"}} for resource in resources])


def answered(*entries: Any) -> httpx.Response:
    return bundle("transaction-response", entries)


def searches(http: respx.MockRouter, charge: Any, claim: Any) -> None:
    http.get(f"{BASE}/ChargeItem").mock(side_effect=charge)
    http.get(f"{BASE}/Claim").mock(side_effect=claim)


async def delivered() -> list[Delivered]:
    async with BhiClient(Connection(BASE)) as client:
        return await deliver(client, DRAFTS, SITE, NOW)


async def test_equal_instants_and_numbers_spelled_differently_are_no_difference(
    respx_mock: respx.MockRouter,
) -> None:
    month = {"start": "2026-03-01T06:00:00Z", "end": "2026-04-01T04:59:59.000Z"}
    respelled = {
        **CHARGE,
        "occurrencePeriod": month,
        "quantity": {"value": 1.0},
        "text": {"status": "generated"},
    }
    respelled["text"]["div"] = '<div xmlns="http://www.w3.org/1999/xhtml">by the server</div>'
    searches(respx_mock, [found(respelled)], [found(CLAIM)])
    assert [one.outcome for one in await delivered()] == ["unchanged", "unchanged"]


async def test_what_another_run_wrote_in_between_is_not_claimed_as_ours(respx_mock: respx.MockRouter) -> None:
    searches(respx_mock, [found(), found(CHARGE)], [found()])
    there = {"response": {"status": "200 OK"}}
    posted = respx_mock.post(BASE).mock(side_effect=[answered(there, MADE[1]), answered(*ATTESTED)])
    charge, claim = await delivered()
    assert (charge.outcome, charge.reference) == ("unchanged", "ChargeItem/1")
    assert claim.outcome == "created"
    provenance = json.loads(posted.calls[1].request.content)["entry"][0]["resource"]
    assert provenance["target"] == [{"reference": "Claim/1/_history/1"}]


async def test_what_is_said_to_be_there_and_is_not_shown_is_left_alone(respx_mock: respx.MockRouter) -> None:
    searches(respx_mock, [found(), found()], [found()])
    there = {"response": {"status": "200 OK", "location": "ChargeItem/9/_history/1"}}
    respx_mock.post(BASE).mock(side_effect=[answered(there, MADE[1]), answered(*ATTESTED)])
    charge, _ = await delivered()
    assert (charge.outcome, charge.reference) == ("left-alone", "ChargeItem/9")


async def test_an_entry_that_is_refused_inside_a_success_is_not_taken_for_written(
    respx_mock: respx.MockRouter,
) -> None:
    searches(respx_mock, [found()], [found()])
    inner = [
        {"response": {"status": "412 Precondition Failed"}},
        {"response": {"status": "422 Unprocessable"}},
    ]
    respx_mock.post(BASE).mock(side_effect=[answered(*inner)])
    charge, claim = await delivered()
    assert (charge.outcome, claim.outcome) == ("left-alone", "refused")
    assert "412" in charge.reason
    assert "422" in claim.reason


async def test_drafts_stand_although_the_server_takes_no_provenance(respx_mock: respx.MockRouter) -> None:
    searches(respx_mock, [found()], [found()])
    respx_mock.post(BASE).mock(side_effect=[answered(*MADE), httpx.Response(403)])
    reports = await delivered()
    assert [one.outcome for one in reports] == ["created", "created"]
    assert all(one.reason.startswith("Its Provenance was not written: ") for one in reports)


async def test_a_transaction_in_conflict_leaves_everything_alone(respx_mock: respx.MockRouter) -> None:
    searches(respx_mock, [found()], [found()])
    respx_mock.post(BASE).mock(side_effect=[httpx.Response(412)])
    assert [one.outcome for one in await delivered()] == ["left-alone", "left-alone"]


async def test_what_the_server_holds_and_nobody_can_read_is_left_alone(respx_mock: respx.MockRouter) -> None:
    searches(respx_mock, [found({**CHARGE, "quantity": "one"})], [found({**CLAIM, "status": "active"})])
    charge, claim = await delivered()
    assert charge.reason == "Left alone: what the server holds is no valid R4."
    assert claim.reason == "Left alone: somebody has moved it on to active."


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        pytest.param(httpx.Response(403), Refused, id="refused as a whole"),
        pytest.param(httpx.ReadTimeout("slow"), Unreachable, id="unanswered"),
    ],
)
async def test_a_server_that_refuses_or_does_not_answer_ends_it(
    respx_mock: respx.MockRouter, answer: Any, error: type[Exception]
) -> None:
    searches(respx_mock, [found()], [found()])
    respx_mock.post(BASE).mock(side_effect=[answer])
    with pytest.raises(error):
        await delivered()


async def test_each_draft_is_created_on_the_condition_that_its_identifier_is_not_there(
    respx_mock: respx.MockRouter,
) -> None:
    searches(respx_mock, [found()], [found()])
    posted = respx_mock.post(BASE).mock(side_effect=[answered(*MADE), answered(*ATTESTED)])
    await delivered()
    sent = json.loads(posted.calls[0].request.content)
    assert sent["type"] == "transaction"
    assert [entry["request"] for entry in sent["entry"]] == [
        {
            "method": "POST",
            "url": resource["resourceType"],
            "ifNoneExist": f"identifier=urn%3Abhi-fhir%3Adraft%7C{resource['identifier'][0]['value']}",
        }
        for resource in (CHARGE, CLAIM)
    ]
