"""Killed and cut off, on a real server: every line is written once. Long forms: `killing`, `breaking`, `slow`."""

from __future__ import annotations

import asyncio
import os

import httpx
import pytest
from faults.breaking import broken
from faults.campaign import Campaign, Summary, carry_out
from faults.proxy import Fault, Plan, Rule, proxy
from faults.slow import measured

pytestmark = pytest.mark.server

KILLS = int(os.environ.get("BHI_KILLS", "12"))
FEW = ("cocm-long-month-with-add-ons", "general-bhi-in-order", "no-coverage-on-file")
ONE = ("no-coverage-on-file",)


def exactly_once(summary: Summary) -> None:
    assert not summary.found.violations, summary.text


@pytest.mark.parametrize("writers", ["1", "2"])
def test_a_writer_that_is_killed_again_and_again_writes_each_line_once(fhir_server: str, writers: str) -> None:
    summary = asyncio.run(carry_out(Campaign(fhir_server, kills=KILLS // 2, writers=writers, seed=7)))
    exactly_once(summary)
    assert summary.kills >= KILLS // 2


def test_also_when_each_run_is_started_from_nothing(fhir_server: str) -> None:
    exactly_once(asyncio.run(carry_out(Campaign(fhir_server, kills=2, seed=8, forked=False, stems=FEW))))


def test_two_writers_write_each_line_once_on_a_server_without_conditional_create(fhir_server: str) -> None:
    campaign = Campaign(fhir_server, kills=KILLS // 2, rounds=3, writers="2", seed=9, blind=True)
    exactly_once(asyncio.run(carry_out(campaign)))


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_of_the_network_leaves_each_line_written_once(fhir_server: str, fault: Fault) -> None:
    summary = broken(Campaign(fhir_server, stems=FEW, seed=3), fault, reads=2)
    exactly_once(summary)
    assert summary.injected


# -- the harness itself: it must find what is wrong ---------------------------------------------------


def test_a_writer_that_does_not_look_first_is_found_to_write_twice(fhir_server: str) -> None:
    campaign = Campaign(fhir_server, kills=2, module="faults.careless", stems=ONE, moments=("stage",), seed=2)
    found = asyncio.run(carry_out(campaign)).found
    assert found.duplicates >= 2
    assert any("a further run created 1" in sentence for sentence in found.violations)
    assert any("identifier" in sentence for sentence in found.violations)


def test_a_writer_that_notes_before_it_writes_is_found_to_lose_lines(fhir_server: str) -> None:
    rules = (Rule(Fault.LOST_REQUEST, 1.0, "writes"),)
    campaign = Campaign(fhir_server, module="faults.forgetful", stems=ONE, rules=rules)
    assert asyncio.run(carry_out(campaign)).found.missing == 1


@pytest.mark.parametrize(
    ("fault", "answers", "held"),
    [
        (Fault.LOST_REQUEST, "broken", 0),
        (Fault.LOST_ANSWER, "broken", 1),
        (Fault.DELAYED, "broken", 1),
        (Fault.TWICE, 201, 2),
        (Fault.AT_ONCE, 201, 2),
        (Fault.LATE, 201, 2),
        (Fault.AFTERWARDS, 201, 2),
        (Fault.TOO_MANY, 429, 0),
        (Fault.TOO_MANY_DATE, 429, 0),
        (Fault.FAILED_BEFORE, 500, 0),
        (Fault.FAILED_AFTER, 500, 1),
        (Fault.UNAVAILABLE_BEFORE, 503, 0),
        (Fault.UNAVAILABLE_AFTER, 503, 1),
        (Fault.TRUNCATED, "broken", 1),
        (Fault.RESET, "broken", 1),
        (Fault.SHORTENED, "not JSON", 1),
        (Fault.DRIP, 201, 1),
    ],
)
async def test_the_proxy_does_what_the_fault_says(fhir_server: str, fault: Fault, answers: object, held: int) -> None:
    charge = _charge(f"proxy-{fault}-{os.urandom(4).hex()}")
    async with proxy(fhir_server, Plan([Rule(fault, 1.0, "writes")])) as front, httpx.AsyncClient() as http:
        try:
            answer = await http.post(f"{front.base_url}/ChargeItem", json=charge)
            said: object = answer.status_code
            answer.json() if answer.content else None
        except httpx.TransportError:
            said = "broken"
        except ValueError:
            said = "not JSON"
        await front.settle()
        assert said == answers
        assert front.injected == {f"{fault} POST": 1}
        assert await _number(http, front.base_url, charge) == held


@pytest.mark.parametrize("fault", [Fault.HALF_ERROR, Fault.HALF_SILENCE])
async def test_half_a_transaction_is_its_first_entries(fhir_server: str, fault: Fault) -> None:
    charges = [_charge(f"half-{number}-{os.urandom(4).hex()}") for number in range(2)]
    entries = [{"resource": charge, "request": {"method": "POST", "url": "ChargeItem"}} for charge in charges]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    async with proxy(fhir_server, Plan([Rule(fault, 1.0)])) as front, httpx.AsyncClient() as http:
        try:
            said: object = (await http.post(front.base_url, json=bundle)).status_code
        except httpx.TransportError:
            said = "broken"
        assert said == (500 if fault == Fault.HALF_ERROR else "broken")
        assert [await _number(http, front.base_url, charge) for charge in charges] == [1, 0]


async def test_behind_the_proxy_a_server_names_the_proxy(fhir_server: str) -> None:
    async with proxy(fhir_server) as front, httpx.AsyncClient() as http:
        page = (await http.get(f"{front.base_url}/ChargeItem?_count=1")).text
        assert front.base_url in page
        assert fhir_server not in page


def test_a_slow_server_is_asked_side_by_side_and_memory_does_not_grow_with_patients() -> None:
    limit = 8
    (few,), (many,) = (measured(n, concurrency=limit, latency=0.02, writing=[True]) for n in (30, 120))
    print(f"{few.text}\n{many.text}")  # noqa: T201
    assert (few.status, many.status) == (0, 0), f"{few.said} {many.said}"
    assert many.written >= 4 * few.written > 0
    assert many.requests / many.patients <= few.requests / few.patients <= 25
    assert limit - 1 <= many.at_once <= limit
    assert many.rss <= 1.12 * few.rss


def _charge(value: str) -> dict[str, object]:
    return {
        "resourceType": "ChargeItem",
        "status": "planned",
        "identifier": [{"system": "urn:example:proxy", "value": value}],
        "code": {"text": "any"},
        "subject": {"reference": "Patient/anybody"},
    }


async def _number(http: httpx.AsyncClient, base_url: str, charge: dict[str, object]) -> int:
    value = charge["identifier"][0]["value"]  # type: ignore[index]
    found = await http.get(f"{base_url}/ChargeItem", params={"identifier": f"urn:example:proxy|{value}"})
    return len(found.json().get("entry", ()))
