"""The servers of the tests: they start, they answer, and nothing of them stays."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
import sqlalchemy

from servers import needs, running

TESTS = Path(__file__).parents[1]


def test_each_server_is_r4_and_says_who_it_is(any_fhir_server: str) -> None:
    said = httpx.get(f"{any_fhir_server}/metadata", timeout=60.0).json()
    assert said["fhirVersion"] == "4.0.1"
    assert said["software"]["version"]


@pytest.mark.postgres
def test_postgresql_takes_a_table_and_gives_it_back(postgresql: str) -> None:
    engine = sqlalchemy.create_engine(postgresql)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("create schema once; create table once.t as select 1 as one"))
        assert connection.execute(sqlalchemy.text("select one from once.t")).scalar() == 1
        connection.execute(sqlalchemy.text("drop schema once cascade"))
    engine.dispose()


@pytest.mark.medplum
def test_a_server_ends_with_its_block() -> None:
    with running.medplum() as base_url:
        assert httpx.get(f"{base_url}/metadata").status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{base_url}/metadata")


@pytest.mark.medplum
def test_a_server_ends_even_if_its_tests_are_killed() -> None:
    code = "from servers import running\nwith running.medplum() as url: print(url, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        base_url = tests.stdout.readline().strip()
        assert httpx.get(f"{base_url}/metadata").status_code == 200
        tests.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    with pytest.raises(httpx.TransportError):
        while time.monotonic() < deadline:
            httpx.get(f"{base_url}/metadata")
            time.sleep(0.1)


def test_a_missing_tool_skips_here_and_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not on this machine: no-such-tool"):
        needs.needs("sh", "no-such-tool")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not on this machine: no-such-tool"):
        needs.needs("sh", "no-such-tool")
