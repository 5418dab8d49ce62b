"""How often somebody may call: over time, by all workers together, and before anybody has signed in."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from served import running, site

from bhi_fhir.delivery.ledger import Ledger, open_ledger
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.errors import SiteError
from bhi_fhir.web.app import create_app
from bhi_fhir.web.rates import Rates, SharedBuckets

SEAL = Seal(Fernet.generate_key().decode())


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ledger]:
    url = "sqlite:///x.db" if request.param == "sqlite" else request.getfixturevalue("postgresql")
    found = open_ledger(url, tmp_path, uuid.uuid4(), SEAL)
    yield found
    found.close()


async def allowed(rates: Rates, times: int, caller: str = "a") -> int:
    return sum([await rates.wait(caller) == 0.0 for _ in range(times)])


@pytest.mark.parametrize("per_minute", [1, 6, 60, 600, 997])
async def test_a_rate_is_kept_over_time(per_minute: int) -> None:
    clock = Clock()
    rates = Rates(per_minute, clock=clock)
    total = await allowed(rates, per_minute)
    assert total == max(per_minute // 2, 1)
    for _ in range(600):
        clock.now += 1
        total += await allowed(rates, per_minute)
    assert total == pytest.approx(max(per_minute / 2, 1) + per_minute * 10, abs=1.0)


async def test_it_says_how_long_to_wait() -> None:
    clock = Clock()
    rates = Rates(60, clock=clock)
    assert await allowed(rates, 31) == 30
    assert await rates.wait("a") == pytest.approx(1.0)
    assert await rates.wait("b") == 0.0
    clock.now += 0.75
    assert await rates.wait("a") == pytest.approx(0.25)


async def test_without_a_limit_nobody_waits() -> None:
    assert await allowed(Rates(0), 5000) == 5000


async def test_all_workers_together_keep_one_rate(ledger: Ledger) -> None:
    clock = Clock()
    workers = [Rates(60, SharedBuckets(ledger, clock), clock=clock) for _ in range(4)]

    async def all_of_them(times: int) -> int:
        return sum([await allowed(each, times) for each in workers])

    assert await all_of_them(30) == 30
    for _ in range(20):
        clock.now += 1
        await all_of_them(3)
    clock.now += 10
    assert await all_of_them(30) <= 10 + 3
    assert await workers[0].wait("b") == 0.0


async def test_callers_at_the_same_moment_take_no_more_than_there_is(ledger: Ledger) -> None:
    import asyncio

    clock = Clock()
    workers = [Rates(20, SharedBuckets(ledger, clock), clock=clock) for _ in range(8)]
    found = await asyncio.gather(*(each.wait("new") for each in workers for _ in range(4)))
    assert sum(wait == 0.0 for wait in found) <= 10


async def test_without_the_database_nobody_is_let_in(ledger: Ledger, tmp_path: Path) -> None:
    rates = Rates(60, SharedBuckets(ledger))
    with ledger.engine.begin() as db:
        db.exec_driver_sql("DROP TABLE web_buckets")
    try:
        with pytest.raises(SiteError, match="the database failed"):
            await rates.wait("a")
    finally:
        from bhi_fhir.delivery import tables

        tables.buckets.create(ledger.engine)


LAUNCH = """
[serve]
public_url = "https://bhi.example.org"
launches_per_minute = 6
[serve.callers.test]
key_env = "TEST_KEY"
[smart]
client_id = "bhi-fhir"
"""


def statuses(folder: Path, *forwarded: str) -> list[int]:
    """Of a launch that comes with each of these X-Forwarded-For."""
    with running(create_app(folder)) as client:
        asked = [client.get("/launch?iss=https://evil.example&launch=x", headers=said(each)) for each in forwarded]
        return [answer.status_code for answer in asked]


def said(address: str) -> dict[str, str]:
    return {"x-forwarded-for": address, "forwarded": f"for={address}", "x-real-ip": address}


def test_without_a_word_on_proxies_nobody_tells_another_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "0" * 64)
    folder = site(tmp_path / "site", LAUNCH, "http://127.0.0.1:9/fhir")
    assert statuses(folder, *(f"192.0.2.{n}" for n in range(5))) == [403] * 3 + [429] * 2


@pytest.mark.parametrize("proxies", ['["127.0.0.1"]', '["10.0.0.0/8", "127.0.0.0/8"]'])
def test_behind_a_proxy_that_is_named_each_address_is_counted_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proxies: str
) -> None:
    monkeypatch.setenv("TEST_KEY", "0" * 64)
    behind = LAUNCH.replace("[serve]", f"[serve]\nforwarded_proxies = {proxies}")
    folder = site(tmp_path / "site", behind, "http://127.0.0.1:9/fhir")
    assert statuses(folder, *(f"192.0.2.{n}" for n in range(5))) == [403] * 5
    # What stands before the address that the proxy has added, the caller has made up.
    assert statuses(folder, *(f"198.51.100.{n}, 203.0.113.9" for n in range(5))) == [403] * 3 + [429] * 2


def test_another_proxy_than_those_named_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_KEY", "0" * 64)
    behind = LAUNCH.replace("[serve]", '[serve]\nforwarded_proxies = ["10.0.0.7"]')
    folder = site(tmp_path / "site", behind, "http://127.0.0.1:9/fhir")
    assert statuses(folder, *(f"192.0.2.{n}" for n in range(5))) == [403] * 3 + [429] * 2


def test_sign_ins_from_one_address_are_counted_before_anybody_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", "0" * 64)
    folder = site(tmp_path / "site", LAUNCH, "http://127.0.0.1:9/fhir")
    with running(create_app(folder)) as one, running(create_app(folder)) as two:
        answers = [client.get("/launch?iss=https://evil.example&launch=x") for client in (one, two) * 3]
        assert sorted(answer.status_code for answer in answers) == [403, 403, 403, 429, 429, 429]
        late = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(late.headers["retry-after"]) <= 10
        assert "Too many sign-ins" in late.text
