"""Servers that run as processes of their own, for as long as a block: three FHIR servers and a PostgreSQL."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from bhi_fhir.jobs.local_server import local_fhir_server

from .installed import java, node
from .needs import needs, unavailable

START_UP_S = 180.0

# The server ends with this shell's input, which ends with the tests, also when those are killed.
_WHILE_SOMEBODY_LISTENS = 'exec 3<&0; "$@" </dev/null & server=$!; { read -r _ <&3; kill $server; } & wait $server'


@contextmanager
def sekmet() -> Iterator[str]:
    """The base URL of an empty sekmet-fhir, the server of the demo (Python)."""
    with local_fhir_server() as base_url:
        yield base_url


@contextmanager
def hapi() -> Iterator[str]:
    """The base URL of an empty HAPI FHIR JPA server (Java, H2 in memory)."""
    run, class_path = java()
    port = _free_port()
    # Compiled once and lightly: a test session is over before a thorough compiler pays.
    options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx2g", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    with _fhir([run, *options, "-cp", class_path, "ServeR4", str(port)], port) as base_url:
        yield base_url


@contextmanager
def medplum() -> Iterator[str]:
    """The base URL of an empty Medplum (TypeScript, in memory)."""
    run, folder = node()
    port = _free_port()
    with _fhir([run, str(folder / "server.mjs"), str(port)], port) as base_url:
        yield base_url


@contextmanager
def postgresql() -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL on a socket of its own; nothing of it listens on a port."""
    (server,) = needs("postgres")
    if importlib.util.find_spec("psycopg") is None:
        unavailable("not in this environment: psycopg (pip install -e '.[postgresql]')")
    # In /tmp, for the path of a socket has room for 107 bytes.
    with tempfile.TemporaryDirectory(prefix="pg-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_owner = _as_owner(folder)
        initdb = [str(Path(server).with_name("initdb")), "-D", f"{name}/data", "-U", "bhi", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*as_owner, *initdb, "--no-sync"], check=True, capture_output=True, cwd=folder)
        quick = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        command = [*as_owner, server, "-D", f"{name}/data", "-k", name, "-c", "listen_addresses=", *quick]
        with _process(command, lambda: _accepts(folder / ".s.PGSQL.5432")):
            yield f"postgresql+psycopg://bhi@/postgres?host={name}"


def _as_owner(folder: Path) -> list[str]:
    """PostgreSQL refuses to run as root: there it runs as the user that Debian makes for it."""
    if os.geteuid():
        return []
    owner = next((name for name in ("postgres", "nobody") if _exists(name)), "daemon")
    shutil.chown(folder, owner)
    user = pwd.getpwnam(owner)
    (setpriv,) = needs("setpriv")
    return [setpriv, f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _exists(user: str) -> bool:
    with suppress(KeyError):
        return bool(pwd.getpwnam(user))
    return False


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


@contextmanager
def _fhir(command: Sequence[str], port: int) -> Iterator[str]:
    base_url = f"http://127.0.0.1:{port}/fhir"

    def answers() -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{base_url}/metadata", trust_env=False, timeout=60.0).status_code == 200
        return False

    with _process(command, answers):
        yield base_url


@contextmanager
def _process(command: Sequence[str], ready: Callable[[], bool]) -> Iterator[None]:
    with tempfile.TemporaryFile() as log:
        # A session of its own: Ctrl-C reaches the tests, and they end the server when they have ended.
        shell = subprocess.Popen(
            ["/bin/sh", "-c", _WHILE_SOMEBODY_LISTENS, "sh", *command],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + START_UP_S
            while not ready():
                if shell.poll() is not None or time.monotonic() > deadline:
                    log.seek(0)
                    said = log.read().decode(errors="replace")[-4000:]
                    pytest.fail(f"{Path(command[0]).name} did not start (waited up to {START_UP_S:.0f} s):\n{said}")
                time.sleep(0.1)
            yield
        finally:
            _end(shell)


def _end(shell: "subprocess.Popen[bytes]") -> None:
    with suppress(subprocess.TimeoutExpired):
        shell.communicate(timeout=10.0)
    with suppress(ProcessLookupError):
        os.killpg(shell.pid, signal.SIGKILL)
    shell.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
