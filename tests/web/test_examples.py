"""Every command of the examples' pages, run as it stands there."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hl7
import httpx
import pytest
import yaml
from make_examples import FOLDER
from served import free_port

ROOT = Path(__file__).parents[2]
ENGINE, SCHEDULED = ROOT / "examples" / "integration-engine", ROOT / "examples" / "scheduled-sync"
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

pytestmark = pytest.mark.server


def blocks(page: Path, kind: str = "") -> list[str]:
    found = re.findall(r"^```sh ?(\w*)\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [text for name, text in found if name == kind]


@contextmanager
def process(command: str, port: int, folder: Path, **environment: str) -> Iterator[Path]:
    """A command that goes on; what it prints is in the file."""
    log = folder / f"log-{port}"
    with log.open("wb") as output:
        env = {**os.environ, "PATH": PATH, "PYTHONUNBUFFERED": "1", **environment}
        running = subprocess.Popen(["bash", "-c", f"exec {command}"], cwd=ROOT, env=env, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while str(port) not in log.read_text() and time.monotonic() < deadline:
                assert running.poll() is None, log.read_text()
                time.sleep(0.05)
            yield log
        finally:
            running.terminate()
            running.wait(20)


@pytest.fixture
def site(tmp_path: Path, fhir_server: str) -> Path:
    """The example's folder with the addresses of this test, and one patient on the server."""
    folder = shutil.copytree(ENGINE / "site", tmp_path / "site")
    record = json.loads((FOLDER / "general-bhi-in-order.json").read_text())
    for resource in (entry["resource"] for entry in record["entry"]):
        url = f"{fhir_server}/{resource['resourceType']}/{resource['id']}"
        httpx.put(url, json=resource, timeout=30).raise_for_status()
    (tmp_path / "roster.txt").write_text("Patient/walter\n")
    file = folder / "site.toml"
    text = file.read_text().replace("http://127.0.0.1:8090/fhir", fhir_server)
    file.write_text(text.replace('"care-team"', f'"file:{tmp_path / "roster.txt"}"'))
    return folder


def here(command: str, site: Path) -> str:
    return command.strip().replace("examples/integration-engine/site", str(site))


def test_the_engines_calls_are_answered(site: Path, tmp_path: Path) -> None:
    key, *calls = blocks(ENGINE / "README.md")
    env = {**os.environ, "PATH": PATH}
    made = subprocess.run(
        ["bash", "-ec", key + "echo $ENGINE_KEY $ENGINE_KEY_SHA256"],
        capture_output=True, text=True, check=True, env=env,
    )  # fmt: skip
    secret, digest = made.stdout.split()
    port = free_port()
    (serve,) = blocks(ENGINE / "README.md", "serve")
    with process(here(serve, site).replace("8080", str(port)), port, tmp_path, ENGINE_KEY_SHA256=digest):
        env |= {"ENGINE_KEY": secret, "BHI": f"http://127.0.0.1:{port}"}
        _wait(env["BHI"])
        answers = [
            subprocess.run(["bash", "-euc", call], capture_output=True, text=True, check=True, env=env, cwd=ROOT).stdout
            for call in calls
        ]
    sent, bundle, read, said = answers
    assert [line["code"] for line in json.loads(sent)["results"][0]["lines"]] == ["99484"]
    assert json.loads(bundle)["entry"][0]["resource"]["resourceType"] == "ChargeItem"
    assert json.loads(read)["results"][0]["patient"] == "Patient/walter"
    assert said.count('"resourceType"') == 2


def _wait(base: str) -> None:
    for _ in range(200):
        try:
            httpx.get(f"{base}/healthz", trust_env=False)
            return
        except httpx.TransportError:
            time.sleep(0.05)


def test_a_month_goes_out_as_dft_and_is_acknowledged(site: Path, tmp_path: Path) -> None:
    port = free_port()
    (listen,), (sync,) = blocks(ENGINE / "README.md", "listen"), blocks(ENGINE / "README.md", "sync")
    command = here(sync, site) + f" --set delivery.dft.port={port} --set delivery.write_open_month=true --format json"
    env = {**os.environ, "PATH": PATH}
    with process(listen.strip().replace("2575", str(port)), port, tmp_path) as log:
        outcomes = []
        for _ in range(2):
            done = subprocess.run(
                ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT, env=env
            )
            assert done.returncode == 0, done.stderr
            (month,) = json.loads(done.stdout)["months"]
            outcomes.append([(d["code"], d["outcome"]) for d in month["delivered"] if d["sink"] == "dft"])
        received = log.read_text().partition("MSH|")
    assert outcomes[0] == [("99484", "created")]
    assert outcomes[1] == [("99484", "unchanged")]
    message = hl7.parse("MSH|" + received[2].strip().replace("\n", "\r"))
    assert str(message["MSH"][0][9]) == "DFT^P03^DFT_P03"
    assert str(message["FT1"][0][25]).startswith("99484")
    assert received[2].count("MSH|") == 0  # one message, although the sync ran twice


def test_the_page_can_be_followed_with_the_server_that_it_starts(tmp_path: Path) -> None:
    server, engine = free_port(), free_port()
    (start,), (listen,) = blocks(ENGINE / "README.md", "server"), blocks(ENGINE / "README.md", "listen")
    (sync,) = blocks(ENGINE / "README.md", "sync")
    folder = shutil.copytree(ENGINE / "site", tmp_path / "site")
    file = folder / "site.toml"
    file.write_text(file.read_text().replace("8090", str(server)).replace("2575", str(engine)))
    command = here(sync, folder) + " --set delivery.write_open_month=true"
    with (
        process(start.strip().replace("8090", str(server)), server, tmp_path),
        process(listen.strip().replace("2575", str(engine)), engine, tmp_path) as log,
    ):
        done = subprocess.run(
            ["bash", "-c", command], capture_output=True, text=True, check=False, cwd=ROOT,
            env={**os.environ, "PATH": PATH},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "DFT^P03" in log.read_text()


@pytest.mark.parametrize("name", ["bhi-fhir-sync.service", "bhi-fhir-open-month.service", "bhi-fhir.service"])
def test_the_units_run_documented_commands(name: str) -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(SCHEDULED / name)
    assert _is_understood(unit["Service"]["ExecStart"])
    (install,) = blocks(SCHEDULED / "README.md", "install")
    assert "python3 -m venv /opt/bhi-fhir " in install  # systemd looks on no PATH of a virtual environment
    assert "/opt/bhi-fhir/bin/bhi-fhir " in unit["Service"]["ExecStart"]
    assert re.search(rf"^useradd .* {unit['Service']['User']}$", install, re.MULTILINE)


def test_each_night_last_month_is_delivered_and_the_open_month_only_read() -> None:
    units = {}
    for name in ("bhi-fhir-sync", "bhi-fhir-open-month"):
        timer = configparser.ConfigParser(interpolation=None)
        timer.read([SCHEDULED / f"{name}.timer"])
        unit = configparser.ConfigParser(strict=False, interpolation=None)
        unit.read([SCHEDULED / f"{name}.service"])
        units[timer["Timer"]["OnCalendar"]] = unit["Service"]["ExecStart"]
    jobs = {
        each["spec"]["schedule"]: " ".join(
            each["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["command"]
        )
        for each in yaml.safe_load_all((SCHEDULED / "cronjob.yaml").read_text())
    }
    for found in (units, jobs):
        assert sorted("--write" in command for command in found.values()) == [False, True]
        assert sorted("-1 day" in command for command in found.values()) == [False, True]


def test_the_kubernetes_objects_run_documented_commands() -> None:
    objects = [each for file in sorted(SCHEDULED.glob("*.yaml")) for each in yaml.safe_load_all(file.read_text())]
    assert {each["kind"] for each in objects} >= {"CronJob", "Deployment", "Service"}
    for each in objects:
        template = each.get("spec", {}).get("jobTemplate", each).get("spec", {}).get("template")
        for container in template["spec"]["containers"] if template else ():
            assert "/" not in container["image"]  # whose registry that is, is the site's
            assert container["securityContext"]["readOnlyRootFilesystem"]
            assert _is_understood(" ".join(container["command"]))


def _is_understood(command: str) -> bool:
    """Parsed by the command line itself: a wrong option would be named, a missing site is."""
    text = command.partition("bhi-fhir ")[2].replace("$$", "$")
    script = text.partition(" || ")[0].rstrip("'")
    done = subprocess.run(
        ["bash", "-c", f"bhi-fhir {script}"], capture_output=True, text=True, check=False,
        env={**os.environ, "PATH": PATH}, timeout=60,
    )  # fmt: skip
    return done.returncode == 2 and "site.toml does not exist" in done.stderr
