"""`bhi-fhir serve` as its own process: starts, answers, counts, stops; and says nothing that it should not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from make_examples import FOLDER, MONTH
from served import free_port, site

SERVE = [sys.executable, "-m", "bhi_fhir.cli", "serve"]
RECORD = (FOLDER / "general-bhi-in-order.json").read_bytes()

BROKEN = json.dumps(
    {
        "resourceType": "Bundle",
        "entry": [{"resource": {"resourceType": "Encounter", "id": "walter", "status": 7, "text": {"div": "Walter"}}}],
    }
).encode()


@contextmanager
def process(folder: Path, *options: str) -> Iterator[tuple[httpx.Client, subprocess.Popen[bytes], Path]]:
    port, log = free_port(), folder.parent / "log"
    with log.open("wb") as output:
        command = [*SERVE, "--site", str(folder), "--port", str(port), *options]
        running = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
                _wait(client, running, log)
                yield client, running, log
        finally:
            running.terminate()  # its workers go with it
            try:
                running.wait(30)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def _wait(client: httpx.Client, running: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            client.get("/healthz")
            return
        except httpx.TransportError:
            assert running.poll() is None, log.read_text()
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def evaluate(client: httpx.Client, record: bytes | Iterator[bytes] = RECORD) -> httpx.Response:
    headers = {"content-type": "application/fhir+json"}
    return client.post(f"/fhir/$evaluate-bhi?month={MONTH}", content=record, headers=headers)


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_it_starts_answers_and_is_done_when_it_is_told_to_stop(tmp_path: Path, told: signal.Signals) -> None:
    with process(site(tmp_path / "site"), "--open") as (client, running, log):
        assert evaluate(client).status_code == 200
        running.send_signal(told)
        assert running.wait(20) == 0
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    (request,) = [line for line in lines if line["event"] == "request"]
    assert {"route", "status", "ms", "request_id"} <= request.keys()
    assert request["route"] == "/fhir/$evaluate-bhi"


def test_what_has_begun_is_answered_before_it_stops(tmp_path: Path) -> None:
    with process(site(tmp_path / "site"), "--open") as (client, running, log), ThreadPoolExecutor(1) as aside:
        halfway = threading.Event()

        def slowly() -> Iterator[bytes]:
            yield RECORD[:100]
            halfway.set()
            time.sleep(1)
            yield RECORD[100:]

        asked = aside.submit(evaluate, client, slowly())
        assert halfway.wait(20)
        time.sleep(0.2)  # until the service has read that
        running.send_signal(signal.SIGTERM)
        assert asked.result(30).status_code == 200
        assert running.wait(20) == 0
        assert "Traceback" not in log.read_text()


def test_logs_metrics_and_errors_hold_nothing_of_a_patient(tmp_path: Path) -> None:
    with process(site(tmp_path / "site"), "--open") as (client, _, log):
        evaluate(client)
        answers = [evaluate(client, BROKEN), evaluate(client, RECORD[:-50])]
        answers.append(client.post(f"/fhir/Patient/walter/$evaluate-bhi?month={MONTH}&name=walter"))
        answers.append(client.get("/fhir/Patient/walter?name=walter"))
        answers.append(client.get("/metrics"))
        said = log.read_text() + "".join(answer.text for answer in answers)
    assert [answer.status_code for answer in answers] == [422, 400, 500, 404, 200]
    assert 'bhi_fhir_requests_total{method="POST",route="/fhir/$evaluate-bhi",status="200"} 1.0' in answers[-1].text
    for word in ("walter", "Walter", "Synthetic", "1S00E00AA"):
        assert word not in said


def test_several_workers_count_together(tmp_path: Path) -> None:
    with process(site(tmp_path / "site"), "--open", "--workers", "2") as (client, running, _):
        assert {evaluate(client).status_code for _ in range(10)} == {200}
        time.sleep(0.2)
        counts = {
            line.rpartition(" ")[2]
            for line in client.get("/metrics").text.splitlines()
            if line.startswith("bhi_fhir_decisions_total")
        }
        assert counts == {"10.0"}
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0


def test_what_uvicorn_says_can_be_read_and_a_worker_that_died_is_said(tmp_path: Path) -> None:
    with process(site(tmp_path / "site"), "--open", "--workers", "2") as (client, _, log):
        address = f"Uvicorn running on {client.base_url} (Press CTRL+C to quit)"
        assert address in _events(log, "Uvicorn running")
        started = _events(log, "Started server process", 2)
        worker = int(started[0].partition("[")[2].rstrip("]"))
        os.kill(worker, signal.SIGKILL)
        assert _events(log, f"Child process [{worker}] died")
        assert len(_events(log, "Started server process", 3)) == 3
        # What is not HTTP is said, and not what it was.
        with socket.create_connection((client.base_url.host, client.base_url.port)) as raw:
            raw.sendall(b"walter\r\n\r\n")
            raw.recv(1000)
        assert _events(log, "Invalid HTTP request received.")
        assert "uvicorn.error" not in log.read_text()
    assert "%" not in log.read_text()
    assert "walter" not in log.read_text()


def _events(log: Path, beginning: str, number: int = 1) -> list[str]:
    """Log lines that begin so, as soon as there are so many."""
    found: list[str] = []
    for _ in range(300):
        events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.endswith("}")]
        found = [event for event in events if event.startswith(beginning)]
        if len(found) >= number:
            break
        time.sleep(0.1)
    return found


def test_several_workers_keep_one_rate_together(tmp_path: Path) -> None:
    folder = site(tmp_path / "site", "[serve]\nrequests_per_minute = 20\n")
    with process(folder, "--open", "--workers", "2") as (client, _, _log):
        # A connection each, so that both workers are asked.
        statuses = [httpx.post(f"{client.base_url}/fhir/$evaluate-bhi", trust_env=False).status_code for _ in range(40)]
    assert statuses.count(429) >= 40 - 10 - 3  # the bucket, and what comes in while they are asked
    assert statuses[:8] == [415] * 8


def test_uvicorn_believes_no_proxy_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")
    monkeypatch.setenv("TEST_KEY", "0" * 64)
    extra = (
        '[serve]\npublic_url = "https://bhi.example.org"\nlaunches_per_minute = 2\n'
        '[serve.callers.test]\nkey_env = "TEST_KEY"\n[smart]\nclient_id = "bhi-fhir"\n'
    )
    with process(site(tmp_path / "site", extra, "http://127.0.0.1:9/fhir")) as (client, _, _log):
        asked = [
            client.get("/launch?iss=https://evil.example&launch=x", headers={"x-forwarded-for": f"192.0.2.{n}"})
            for n in range(2)
        ]
    assert [answer.status_code for answer in asked] == [403, 429]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "Nobody has said who may call"),
        (["--host", "0.0.0.0", "--open"], "Nobody has said who may call"),
        (["--open", "--set", "serve.jwt.issuer=x"], "leave --open out"),
        (["--open", "--set", "serve.nothing=1"], "serve.nothing"),
        (["--open", "--set", "serve.tls.certificate=missing.pem"], "serve.tls"),
    ],
)
def test_what_may_not_start_says_so_in_one_sentence(tmp_path: Path, options: list[str], sentence: str) -> None:
    command = [*SERVE, "--site", str(site(tmp_path)), "--port", str(free_port()), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with process(site(tmp_path / "site"), "--open") as (client, _, _log):
        command = [*SERVE, "--site", str(tmp_path / "site"), "--open", "--port", str(client.base_url.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "Nothing can be served" in done.stderr) == (2, True)


def test_the_other_commands_do_not_load_the_web() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from bhi_fhir.cli import cli;"
        f"r = CliRunner().invoke(cli, ['evaluate', '--site', 'mappings/sites/example', '--month', '{MONTH}', "
        "'examples/patients/general-bhi-in-order.json']); assert r.exit_code == 0, r.output;"
        "print(sorted(m for m in ('fastapi', 'uvicorn', 'prometheus_client', 'starlette') if m in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert done.stdout.strip() == "[]"
