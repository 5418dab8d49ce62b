"""How a site is treated: its pace, and being left alone when it fails."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import respx

from bhi_fhir.errors import Refused, ServerError, Unreachable
from bhi_fhir.fhir.client import ATTEMPTS, BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.manners import FAILURES, PAUSE_S, Pace

BASE = "https://ehr.example/fhir"


class Clock:
    """Time passes only by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def still(clock: Clock) -> AsyncIterator[BhiClient]:
    """A client between whose attempts no time passes."""

    async def at_once(_: float) -> None:
        pass

    async with BhiClient(Connection(BASE), sleep=at_once, clock=clock) as client:
        yield client


async def test_requests_keep_the_site_s_pace(clock: Clock, respx_mock: respx.MockRouter) -> None:
    at: list[float] = []

    def answer(_: httpx.Request) -> httpx.Response:
        at.append(clock.now)
        return httpx.Response(200)

    respx_mock.get(f"{BASE}/metadata").mock(side_effect=answer)
    async with BhiClient(Connection(BASE, requests_per_second=4), sleep=clock.sleep, clock=clock) as client:
        for _ in range(5):
            await client.ask("GET", "metadata")
    assert at == [100.0, 100.25, 100.5, 100.75, 101.0]


async def test_those_who_come_together_get_one_turn_after_another() -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    pace = Pace(10, lambda: 0.0, sleep)
    await asyncio.gather(*(pace.turn() for _ in range(4)))
    assert waits == pytest.approx([0.1, 0.2, 0.3])


async def test_a_pause_is_not_saved_up_for_a_burst() -> None:
    clock = Clock()
    pace = Pace(1, clock, clock.sleep)
    await pace.turn()
    clock.now += 100
    await pace.turn()
    await pace.turn()
    assert clock.now == 201


async def ask(client: BhiClient) -> ServerError | None:
    try:
        await client.ask("POST", "Claim", data={})
    except ServerError as error:
        return error
    return None


@pytest.mark.parametrize("trouble", [httpx.Response(503), httpx.ReadTimeout("slow"), httpx.ConnectError("no")])
async def test_a_site_that_fails_again_and_again_is_left_alone_and_then_tried_with_one_request(
    still: BhiClient, clock: Clock, respx_mock: respx.MockRouter, trouble: httpx.Response | Exception
) -> None:
    route = respx_mock.post(f"{BASE}/Claim")
    route.side_effect = lambda _: trouble if isinstance(trouble, httpx.Response) else _raise(trouble)
    for _ in range(FAILURES):
        await ask(still)
    assert route.call_count == FAILURES
    error = await ask(still)
    assert isinstance(error, Unreachable)
    assert (error.sent, error.passing) == (False, False)
    assert str(error) == (
        "POST Claim: not sent; the server failed 12 times in a row, is left alone and is tried again in 60 s."
    )
    assert route.call_count == FAILURES
    clock.now += PAUSE_S
    errors = await asyncio.gather(*(ask(still) for _ in range(5)))
    assert route.call_count == FAILURES + 1
    assert sum("not sent" in str(error) for error in errors) == 4
    clock.now += PAUSE_S
    route.side_effect = None
    route.respond(200)
    assert await ask(still) is None
    assert [await ask(still) for _ in range(3)] == [None] * 3


def _raise(error: Exception) -> httpx.Response:
    raise error


async def test_an_answer_in_between_begins_the_count_anew(still: BhiClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{BASE}/Claim")
    for status in (422, 501, 201):
        route.side_effect = [httpx.Response(503)] * (FAILURES - 1) + [httpx.Response(status)]
        for _ in range(FAILURES):
            assert "not sent" not in str(await ask(still))


async def test_a_read_does_not_wait_for_a_site_that_is_left_alone(
    still: BhiClient, clock: Clock, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(f"{BASE}/metadata").respond(503)
    for _ in range(FAILURES // ATTEMPTS):
        with pytest.raises(Refused):
            await still.ask("GET", "metadata")
    with pytest.raises(Unreachable, match="left alone"):
        await still.ask("GET", "metadata")
    assert route.call_count == FAILURES


async def test_a_trial_that_is_given_up_leaves_room_for_the_next(
    still: BhiClient, clock: Clock, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{BASE}/Claim").respond(503)
    for _ in range(FAILURES):
        await ask(still)
    clock.now += PAUSE_S

    async def for_ever(_: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        return httpx.Response(200)

    route.mock(side_effect=for_ever)
    trial = asyncio.create_task(ask(still))
    await asyncio.sleep(0.01)
    assert "is being tried now" in str(await ask(still))
    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    route.mock(return_value=httpx.Response(201))
    assert await ask(still) is None
