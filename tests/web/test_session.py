"""Sessions: in the ledger's database, sealed, each opened by its own name and the browser's secret together."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from bhi_fhir.delivery.ledger import open_ledger
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.web.session import Session, Sessions

IDLE = timedelta(minutes=30)
SEAL = Seal(Fernet.generate_key().decode())


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 9, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    return "sqlite:///x.db" if request.param == "sqlite" else request.getfixturevalue("postgresql")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(url: str, tmp_path: Path, clock: Clock) -> Iterator[Sessions]:
    ledger = open_ledger(url, tmp_path, uuid.uuid4(), SEAL)
    yield Sessions(ledger, SEAL, now=clock)
    ledger.close()


async def test_it_is_found_by_its_name_and_the_browsers_secret_together(sessions: Sessions) -> None:
    name = await sessions.open("launch", "mine", {"patient": "Patient/1"}, IDLE)
    found = await sessions.find("launch", name, ("mine",), IDLE)
    assert found is not None
    assert found.data == {"patient": "Patient/1"}
    assert await sessions.find("launch", name, ("another",), IDLE) is None
    assert await sessions.find("launch", "x" * 22, ("mine",), IDLE) is None
    assert await sessions.find("caseload", name, ("mine",), IDLE) is None


async def test_workers_share_it_and_other_sites_do_not(url: str, tmp_path: Path, clock: Clock) -> None:
    site = uuid.uuid4()
    ledgers = [open_ledger(url, tmp_path, each, SEAL) for each in (site, site, uuid.uuid4())]
    one, two, other = (Sessions(each, SEAL, now=clock) for each in ledgers)
    name = await one.open("launch", "mine", {"a": 1}, IDLE)
    assert await two.find("launch", name, ("mine",), IDLE) is not None
    assert await other.find("launch", name, ("mine",), IDLE) is None
    for each in ledgers:
        each.close()


async def test_nothing_that_opens_it_or_names_anybody_stands_in_the_database(sessions: Sessions) -> None:
    name = await sessions.open("launch", "browser-secret", {"patient": "Patient/1", "access": "SECRET-token"}, IDLE)
    with sessions.engine.connect() as db:
        text = str(db.execute(sa.text("SELECT * FROM web_sessions")).all())
    for word in (name, "browser-secret", "Patient/1", "SECRET-token"):
        assert word not in text


async def test_it_ends_when_it_is_not_used_and_at_the_end_of_a_shift(sessions: Sessions, clock: Clock) -> None:
    name = await sessions.open("launch", "mine", {}, IDLE)
    for _ in range(18):
        clock.now += timedelta(minutes=29)
        assert await sessions.find("launch", name, ("mine",), IDLE) is not None
    clock.now += timedelta(minutes=29)
    assert await sessions.find("launch", name, ("mine",), IDLE) is None
    again = await sessions.open("launch", "mine", {}, IDLE)
    clock.now += timedelta(minutes=31)
    assert await sessions.find("launch", again, ("mine",), IDLE) is None


async def test_of_two_who_take_an_attempt_at_once_one_gets_it(sessions: Sessions) -> None:
    state = await sessions.open("attempt", "mine", {"nonce": "n"}, IDLE)
    taken = await asyncio.gather(*(sessions.take("attempt", state, "mine") for _ in range(8)))
    assert sum(each is not None for each in taken) == 1


async def test_another_browsers_attempt_is_used_up_by_trying_it(sessions: Sessions) -> None:
    state = await sessions.open("attempt", "mine", {}, IDLE)
    assert await sessions.take("attempt", state, "another") is None
    assert await sessions.take("attempt", state, "mine") is None


async def test_what_may_come_once_comes_once_also_at_the_same_moment(sessions: Sessions, clock: Clock) -> None:
    until = clock.now + timedelta(minutes=5)
    what = str(uuid.uuid4())
    assert sum(await asyncio.gather(*(sessions.once(what, until) for _ in range(8)))) == 1


async def test_all_that_a_browser_has_open_is_closed_at_once(sessions: Sessions) -> None:
    names = [await sessions.open("launch", "mine", {"n": n}, IDLE) for n in range(3)]
    theirs = await sessions.open("launch", "theirs", {}, IDLE)
    assert len(await sessions.of_browser(("mine",))) == 3
    await sessions.close_all(("mine",))
    assert [await sessions.find("launch", name, ("mine",), IDLE) for name in names] == [None] * 3
    assert await sessions.find("launch", theirs, ("theirs",), IDLE) is not None


async def test_another_secret_opens_all_that_those_before_did(sessions: Sessions, clock: Clock) -> None:
    mine = ("mine", "also mine")
    names = [await sessions.open("launch", each, {"n": 1}, IDLE) for each in mine]
    theirs = await sessions.open("launch", "theirs", {}, IDLE)
    await sessions.move(mine, "fresh", await attempt(sessions, clock))
    for name in names:
        assert await sessions.find("launch", name, mine, IDLE) is None
        assert await sessions.find("launch", name, ("fresh",), IDLE) is not None
    assert await sessions.find("launch", theirs, ("fresh",), IDLE) is None


async def test_what_was_opened_while_a_sign_in_was_on_its_way_keeps_its_secret(
    sessions: Sessions, clock: Clock
) -> None:
    begun = await attempt(sessions, clock)
    name = await sessions.open("launch", "mine", {"n": 1}, IDLE)
    await sessions.move(("mine",), "fresh", begun)
    assert await sessions.find("launch", name, ("mine",), IDLE) is not None


async def attempt(sessions: Sessions, clock: Clock) -> Session:
    """One that is begun now."""
    clock.now += timedelta(seconds=1)
    state = await sessions.open("attempt", "begun", {}, IDLE)
    clock.now += timedelta(seconds=1)
    taken = await sessions.take("attempt", state, "begun")
    assert taken is not None
    return taken


async def test_what_is_over_is_swept_once_with_what_it_holds(sessions: Sessions, clock: Clock) -> None:
    await sessions.open("launch", "mine", {"access": "a"}, IDLE)
    clock.now += timedelta(minutes=20)
    name = await sessions.open("launch", "mine", {"access": "b"}, IDLE)
    assert await sessions.sweep() == []
    clock.now += timedelta(minutes=11)
    swept = await asyncio.gather(*(sessions.sweep() for _ in range(4)))
    assert [each.data for found in swept for each in found] == [{"access": "a"}]
    assert await sessions.find("launch", name, ("mine",), IDLE) is not None


async def test_another_sites_are_left_to_its_own_service_for_the_day(url: str, tmp_path: Path, clock: Clock) -> None:
    ledgers = [open_ledger(url, tmp_path, uuid.uuid4(), SEAL) for _ in range(2)]
    one, two = (Sessions(each, SEAL, now=clock) for each in ledgers)
    for _ in range(2):
        await two.open("launch", "theirs", {"access": "a"}, IDLE)
        clock.now += timedelta(hours=1)
        assert await one.sweep() == []
    assert len(await two.sweep()) == 2
    await two.open("launch", "theirs", {"access": "a"}, IDLE)
    clock.now += timedelta(hours=10)
    assert await one.sweep() == []
    assert await two.sweep() == []
    for each in ledgers:
        each.close()


async def test_of_what_a_browser_has_once_no_name_is_needed(sessions: Sessions) -> None:
    await sessions.open("launch", "mine", {"n": 1}, IDLE)
    await sessions.open("caseload", "theirs", {"n": 2}, IDLE)
    assert await sessions.find("caseload", "", ("mine",), IDLE) is None
    await sessions.open("caseload", "mine", {"n": 3}, IDLE)
    found = await sessions.find("caseload", "", ("mine",), IDLE)
    assert found is not None
    assert found.data == {"n": 3}
    await sessions.close(found)
    assert await sessions.find("caseload", "", ("mine",), IDLE) is None


async def test_of_what_a_browser_got_twice_the_newest_counts(sessions: Sessions, clock: Clock) -> None:
    for n in range(3):
        await sessions.open("caseload", f"mine {n}", {"n": n}, IDLE)
        clock.now += timedelta(seconds=1)
    found = await sessions.find("caseload", "", ("mine 1", "mine 2", "mine 0"), IDLE)
    assert found is not None
    assert found.data == {"n": 2}
