"""A real FHIR server on this machine, for the demo and for the tests: sekmet-fhir as its own process."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from bhi_fhir.errors import Unreachable, UsageError

START_UP_S = 60.0


@contextmanager
def local_fhir_server(port: int = 0) -> Iterator[str]:
    """Runs an empty R4 server on a loopback port (0: a free one) and yields its base URL.

    Process and data are gone at the end. Raises UsageError if sekmet-fhir is not installed or the port is taken,
    Unreachable if it does not start.
    """
    if importlib.util.find_spec("sekmet") is None:
        raise UsageError("The local FHIR server is not installed: pip install 'bhi-fhir[demo]'.")
    port = _free_port(port)
    with tempfile.TemporaryDirectory(prefix="bhi-fhir-server-") as folder, _sekmet(Path(folder), port) as base_url:
        yield base_url


@contextmanager
def _sekmet(folder: Path, port: int) -> Iterator[str]:
    base_url = f"http://127.0.0.1:{port}/fhir"
    settings = folder / "settings.yaml"
    # Without base_url its links say localhost:8090; by default it listens on every interface, and its
    # simulated payer answers each Claim. JSON is YAML.
    facts = {"base_url": base_url, "host": "127.0.0.1", "port": port, "simulator": {"enabled": False}}
    settings.write_text(json.dumps(facts))
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "sekmet.cli", "serve", "--config", str(settings)],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={name: value for name, value in os.environ.items() if not name.startswith("SEKMET_")},
        )
        try:
            _wait(base_url, process)
            yield base_url
        finally:
            _stop(process)


def _wait(base_url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + START_UP_S
    with httpx.Client(timeout=5.0, trust_env=False) as http:
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.TransportError):
                if http.get(f"{base_url}/metadata").status_code == 200:
                    return
            time.sleep(0.1)
    raise Unreachable("The local FHIR server did not start; run `sekmet serve` in an empty folder.")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(timeout=5.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _free_port(wanted: int = 0) -> int:
    """The wanted port, or any. UsageError if somebody has it."""
    try:
        with socket.create_server(("127.0.0.1", wanted)) as probe:
            port: int = probe.getsockname()[1]
            return port
    except OSError as error:
        raise UsageError(f"--port {wanted}: {error.strerror}; leave --port out for a free one.") from None
