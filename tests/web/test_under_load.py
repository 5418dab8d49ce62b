"""Too much, too slow, or a fault: the answer says so, and the rest goes on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from make_examples import FOLDER, MONTH
from served import running, served, site

from bhi_fhir.jobs.desk import Desk
from bhi_fhir.web.app import create_app

RECORD = (FOLDER / "general-bhi-in-order.json").read_bytes()


def evaluate(client: httpx.Client) -> httpx.Response:
    headers = {"content-type": "application/fhir+json"}
    return client.post(f"/fhir/$evaluate-bhi?month={MONTH}", content=RECORD, headers=headers)


def test_a_full_line_is_told_to_come_again_and_the_loop_stays_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, decide = threading.Event(), Desk.decide

    def slowly(self: Desk, *args: object) -> object:
        go_on.wait(30)
        return decide(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Desk, "decide", slowly)
    with served(tmp_path, "[serve]\nthreads = 1\nwaiting = 2\n") as client, ThreadPoolExecutor(8) as people:
        asked = [people.submit(evaluate, client) for _ in range(8)]
        deadline = time.monotonic() + 20
        while sum(each.done() for each in asked) < 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert client.get("/healthz").status_code == 200
        go_on.set()
        answers = [each.result() for each in asked]
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [503] * 5
    refused = next(answer for answer in answers if answer.status_code == 503)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["issue"][0]["code"] == "throttled"


def test_what_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Desk, "decide", lambda *args: time.sleep(2))
    with served(tmp_path, "[serve]\ntime_limit_s = 1\n") as client:
        answer = evaluate(client)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (504, "timeout")


def test_a_body_that_does_not_come_is_given_up(tmp_path: Path) -> None:
    def drop(total: float = 3.0) -> object:
        yield b"{"
        time.sleep(total)
        yield b"}"

    with served(tmp_path, "[serve]\ntime_limit_s = 1\n") as client:
        answer = client.post(
            f"/fhir/$evaluate-bhi?month={MONTH}", content=drop(), headers={"content-type": "application/json"}
        )
    assert answer.status_code == 504


def test_a_fault_of_ours_is_a_500_without_its_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError("about Maria of 12 Elm Street")

    monkeypatch.setattr(Desk, "decide", broken)
    with running(create_app(site(tmp_path), is_open=True)) as client:
        answer = evaluate(client)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (500, "exception")
    said = capfd.readouterr().err
    assert '"fault":"RuntimeError","at":"test_under_load.py:' in said
    assert "Elm Street" not in said + answer.text
