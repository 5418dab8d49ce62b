"""Oracle's operations on ChargeItem, against an imagined server: its requests are those of Oracle's own pages."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
import respx
from delivery.charges import APPROVED, CLAIM, PLANNED, TWO_DAYS, TWO_UNITS, WITHDRAWN, with_content, with_draft

from bhi_fhir.delivery.line import Line, Receipt, Several, Standing, Unseen
from bhi_fhir.delivery.oracle_sink import OracleSink
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.errors import ServerError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection

TENANT = "https://fhir.cerner.com/ec2458f2"
BASE = "https://fhir-ehr.cerner.example/r4/ec2458f2"
EXTENSION = "https://fhir-ehr.cerner.com/r4/StructureDefinition"
LINE = with_content(APPROVED, context={"reference": "Encounter/97953601"})
CREATE, CREDIT, MODIFY = (f"{BASE}/ChargeItem/{path}" for path in ("$create", "7/$credit", "7/$modify"))
STOOD = replace(LINE, reference="ChargeItem/7", version="3", revision=2)


@pytest.fixture
async def door() -> AsyncIterator[OracleSink]:
    async with BhiClient(Connection(BASE)) as client:
        yield OracleSink(client, {"CPT": "615214", "ICD": "3693"})


def charge(**elements: Any) -> dict[str, Any]:
    """As Oracle shows it: the code of the charge master first, the CPT beside it."""
    beside = {
        "url": f"{EXTENSION}/procedure-code",
        "extension": [
            {"url": "code", "valueCodeableConcept": {"coding": [{"code": "99492"}]}},
            {"url": f"{EXTENSION}/priority", "valueUnsignedInt": 1},
        ],
    }
    return {
        "resourceType": "ChargeItem",
        "id": "7",
        "meta": {"versionId": "3"},
        "extension": [beside],
        "status": "billable",
        "code": {"coding": [{"system": f"{TENANT}/CodeSystem/BillCodes-CDM_SCHED", "code": "64897"}]},
        "subject": {"reference": "Patient/maria"},
        "context": {"reference": "Encounter/97953601"},
        "occurrenceDateTime": "2026-03-31T12:00:00Z",
        "quantity": {"value": 1},
        **elements,
    }


def shows(respx_mock: respx.MockRouter, *charges: dict[str, Any]) -> respx.Route:
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in charges]}
    return respx_mock.get(f"{BASE}/ChargeItem").respond(json=bundle)


def parameters(route: respx.Route) -> dict[str, Any]:
    sent = json.loads(route.calls.last.request.content)
    assert sent["resourceType"] == "Parameters"
    return {each["name"]: next(v for k, v in each.items() if k != "name") for each in sent["parameter"]}


async def created(door: OracleSink, line: Line = LINE) -> Receipt:
    (receipt,) = await door.create([line])
    return receipt


def test_it_is_a_sink_that_has_no_drafts(door: OracleSink) -> None:
    sink: Sink = door
    assert (sink.name, sink.keyed, sink.drafts) == ("oracle", False, False)
    assert (sink.takes(LINE.draft), sink.takes(CLAIM.draft)) == (True, False)


async def test_a_charge_is_created_as_oracle_wants_it(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(CREATE).respond(headers={"Location": CREATE, "ETag": 'W/"0"'})
    receipt = await created(door, with_draft(LINE, diagnoses=("F32.1",)))
    assert (receipt.outcome, receipt.reference, receipt.version) == ("sent", "", "")
    sent = parameters(route)
    assert sent["transactionId"].startswith("urn:uuid:")
    assert sent["chargeItem"] == {
        "resourceType": "ChargeItem",
        "status": "unknown",
        "code": {
            "coding": [
                {
                    "system": f"{TENANT}/CodeSystem/BillCodes-CPT",
                    "code": "99492",
                    "extension": [
                        {
                            "url": f"{EXTENSION}/bill-code-schedule",
                            "valueCoding": {"system": f"{TENANT}/codeSet/14002", "code": "615214"},
                        }
                    ],
                }
            ]
        },
        "subject": {"reference": "Patient/maria"},
        "context": {"reference": "Encounter/97953601"},
        "occurrenceDateTime": "2026-03-31T12:00:00Z",
        "quantity": {"value": 1},
        "performer": [
            {
                "function": {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3", "code": "PRF"}]},
                "actor": {"reference": "Practitioner/pcp"},
            }
        ],
        "reason": [
            {
                "extension": [{"url": f"{EXTENSION}/priority", "valueUnsignedInt": 1}],
                "coding": [
                    {
                        "system": f"{TENANT}/CodeSystem/BillCodes-ICD",
                        "code": "F32.1",
                        "extension": [
                            {
                                "url": f"{EXTENSION}/bill-code-schedule",
                                "valueCoding": {"system": f"{TENANT}/codeSet/14002", "code": "3693"},
                            }
                        ],
                    }
                ],
            }
        ],
    }


async def test_a_kind_without_a_schedule_has_none(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(CREATE).respond(200)
    hcpcs = {"coding": [{"system": "http://www.cms.gov/x", "code": "G0560"}]}
    await created(door, with_content(LINE, code=hcpcs))
    assert parameters(route)["chargeItem"]["code"]["coding"] == [
        {"system": f"{TENANT}/CodeSystem/BillCodes-HCPCS", "code": "G0560"}
    ]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (with_content(LINE, status="planned"), "no drafts"),
        (APPROVED, "only on an Encounter"),
        (with_content(LINE, context=None), "only on an Encounter"),
        (with_draft(LINE, served=TWO_DAYS.draft.served), "of one day"),
    ],
)
async def test_what_oracle_cannot_take_is_not_sent(door: OracleSink, line: Line, why: str) -> None:
    receipt = await created(door, line)
    assert (receipt.outcome, receipt.status) == ("refused", 422)
    assert why in receipt.reason


async def test_a_draft_that_a_person_approved_is_sent(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(CREATE).respond(200)
    approved = replace(with_content(LINE, status="planned"), approved_by="Jo")
    assert (await created(door, approved)).outcome == "sent"


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (httpx.Response(403), "refused"),
        (httpx.Response(422), "refused"),
        (httpx.Response(409), "conflict"),
        (httpx.Response(500), "unknown"),
        (httpx.Response(504), "unknown"),
        (httpx.Response(408), "unknown"),
        (httpx.Response(429), "unsent"),
        (httpx.ConnectError("refused"), "unsent"),
        (httpx.ReadTimeout("slow"), "unknown"),
        (httpx.RemoteProtocolError("cut off"), "unknown"),
    ],
)
async def test_what_became_of_it(
    door: OracleSink, respx_mock: respx.MockRouter, answer: httpx.Response | Exception, outcome: str
) -> None:
    route = respx_mock.post(CREATE).mock(**{"side_effect": [answer]})
    receipt = await created(door)
    assert receipt.outcome == outcome
    assert "maria" not in receipt.reason.lower()
    assert route.call_count == 1


# -- looking --------------------------------------------------------------------------------------------


async def test_a_charge_is_found_by_encounter_code_and_day(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    route = shows(respx_mock, charge())
    assert await door.look(LINE) == Standing("ChargeItem/7", "3", LINE.content)
    assert dict(route.calls.last.request.url.params) == {"context": "97953601", "-status": "billable"}


async def test_other_units_are_shown(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    shows(respx_mock, charge(quantity={"value": 2}))
    assert await door.look(LINE) == Standing("ChargeItem/7", "3", {**LINE.content, "quantity": {"value": 2}})


@pytest.mark.parametrize(
    "other",
    [
        {"code": {"coding": [{"code": "99493"}]}, "extension": []},
        {"subject": {"reference": "Patient/paul"}},
        {"occurrenceDateTime": "2026-03-30T12:00:00Z"},
        {"occurrenceDateTime": None},
        {"extension": [{"url": f"{EXTENSION}/offset-by"}], "code": {"coding": [{"code": "99492"}]}},
    ],
)
async def test_another_charge_is_not_ours(
    door: OracleSink, respx_mock: respx.MockRouter, other: dict[str, Any]
) -> None:
    shows(respx_mock, charge(**other))
    assert await door.look(LINE) == Unseen()


async def test_two_of_the_same_are_a_riddle(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    shows(respx_mock, charge(), charge(id="8"))
    assert await door.look(LINE) == Several(2)


async def test_without_an_encounter_nothing_is_asked(door: OracleSink) -> None:
    assert await door.look(PLANNED) == Unseen()


async def test_half_an_answer_is_no_answer(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    shows(respx_mock, {"resourceType": "OperationOutcome", "issue": [{"severity": "warning", "code": "suppressed"}]})
    with pytest.raises(ServerError):
        await door.look(LINE)


# -- changing -------------------------------------------------------------------------------------------


async def test_a_withdrawal_is_a_credit_of_the_version_that_was_seen(
    door: OracleSink, respx_mock: respx.MockRouter
) -> None:
    new = f"{BASE}/ChargeItem/9"
    route = respx_mock.post(CREDIT).respond(201, headers={"Location": new, "ETag": 'W/"0"'})
    receipt = await door.change(STOOD, WITHDRAWN)
    assert (receipt.outcome, receipt.reference, receipt.version) == ("confirmed", "ChargeItem/9", "0")
    sent = parameters(route)
    del sent["transactionId"]
    assert sent == {
        "versionId": "3",
        "subject": {"reference": "Patient/maria"},
        "context": {"reference": "Encounter/97953601"},
    }


async def test_a_correction_replaces_the_version_that_was_seen(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    new = f"{BASE}/ChargeItem/9"
    route = respx_mock.post(MODIFY).respond(201, headers={"Location": new, "ETag": 'W/"0"'})
    wanted = replace(TWO_UNITS, content={**TWO_UNITS.content, "context": LINE.content["context"]})
    assert (await door.change(STOOD, wanted)).reference == "ChargeItem/9"
    resource = parameters(route)["chargeItem"]
    assert resource["quantity"] == {"value": 2}
    assert resource["extension"] == [
        {
            "url": f"{EXTENSION}/replacing",
            "extension": [{"url": "item-version", "valueId": "3"}],
            "valueReference": {"reference": "ChargeItem/7"},
        }
    ]


async def test_a_stale_version_is_a_conflict(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    respx_mock.post(CREDIT).respond(409)
    assert (await door.change(STOOD, WITHDRAWN)).outcome == "conflict"


async def test_a_charge_that_was_never_seen_is_left_to_a_person(door: OracleSink) -> None:
    receipt = await door.change(replace(STOOD, reference="", version=""), WITHDRAWN)
    assert (receipt.outcome, "by hand" in receipt.reason) == ("refused", True)


async def test_a_correction_to_what_oracle_cannot_take_is_refused(door: OracleSink) -> None:
    assert (await door.change(STOOD, TWO_UNITS)).outcome == "refused"


async def test_each_hand_over_has_its_own_transaction(door: OracleSink, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(CREATE).respond(200)
    numbers = []
    for line in (LINE, LINE, replace(LINE, revision=2)):
        await created(door, line)
        numbers.append(parameters(route)["transactionId"])
    assert numbers[0] == numbers[1] != numbers[2]
