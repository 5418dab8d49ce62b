"""What nobody has closed ends by itself, and its tokens are given back beside the requests."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from authorizing import Authorizing, Browser, authorizing
from served import running, site

from bhi_fhir.delivery import tables
from bhi_fhir.web import visitors
from bhi_fhir.web.app import create_app


@pytest.fixture
def ehr() -> Iterator[Authorizing]:
    with authorizing() as found:
        yield found


@pytest.fixture
def app(ehr: Authorizing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("TEST_KEY", "0" * 64)
    monkeypatch.setattr(visitors, "SWEPT_S", 0.1)
    return create_app(site(tmp_path / "site", ehr.site(), ehr.base))


@pytest.fixture
def http(app: Any) -> Iterator[httpx.Client]:
    with running(app) as client:
        yield client


def unused(app: Any) -> None:
    """As if everybody had gone away a while ago."""
    with app.state.sessions.engine.begin() as db:
        db.execute(sa.update(tables.sessions).values(until=datetime.now(UTC) - timedelta(seconds=1)))


def rows(app: Any) -> int:
    with app.state.sessions.engine.connect() as db:
        return len(db.execute(sa.select(tables.sessions)).all())


def until(is_so: Any) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_the_tokens_of_a_launch_that_nobody_uses_any_more_are_given_back(
    app: Any, http: httpx.Client, ehr: Authorizing
) -> None:
    browser = Browser(http)
    pages = [browser.sign_in(ehr, patient) for patient in ("maria", "rosa")]
    browser.keep(browser.launch(ehr))  # one that is never ended has no tokens
    time.sleep(0.5)
    assert (ehr.revoked, rows(app)) == ([], 3)
    assert browser.shows(pages[0], "maria")
    unused(app)
    until(lambda: len(ehr.revoked) == 4)
    assert sorted(ehr.revoked) == [
        f"SECRET-{kind}-{who}" for kind in ("access", "refresh") for who in ("maria", "rosa")
    ]
    assert rows(app) == 0
    assert not browser.shows(pages[0], "maria")


def test_nobody_waits_while_they_are_given_back(app: Any, http: httpx.Client, ehr: Authorizing) -> None:
    browser = Browser(http)
    browser.sign_in(ehr, "maria")
    ehr.slow_s = 3
    unused(app)
    until(lambda: rows(app) == 0)
    began = time.monotonic()
    assert browser.shows(browser.sign_in(ehr, "rosa"), "rosa")
    assert time.monotonic() - began < 2.5
    assert ehr.revoked == []
    until(lambda: "SECRET-refresh-maria" in ehr.revoked)


def test_a_server_that_does_not_take_them_back_stops_nothing(
    app: Any, http: httpx.Client, ehr: Authorizing, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    browser = Browser(http)
    browser.sign_in(ehr, "maria")
    ehr.lost = True
    unused(app)
    until(lambda: rows(app) == 0)
    ehr.lost = False
    page = browser.sign_in(ehr, "rosa")
    assert browser.shows(page, "rosa")
    unused(app)
    until(lambda: "SECRET-refresh-rosa" in ehr.revoked)
    assert "SECRET" not in capfd.readouterr().err


def test_a_database_that_fails_for_a_while_is_swept_later(
    app: Any, http: httpx.Client, ehr: Authorizing, capfd: pytest.CaptureFixture[str]
) -> None:
    Browser(http).sign_in(ehr, "maria")
    engine = app.state.sessions.engine
    with engine.begin() as db:
        db.exec_driver_sql("ALTER TABLE web_sessions RENAME TO elsewhere")
    said = ""

    def noticed() -> bool:
        nonlocal said
        said += capfd.readouterr().err
        return "not swept" in said

    until(noticed)
    with engine.begin() as db:
        db.exec_driver_sql("ALTER TABLE elsewhere RENAME TO web_sessions")
    unused(app)
    until(lambda: len(ehr.revoked) == 2)
