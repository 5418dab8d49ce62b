"""How long a month takes on a slow server, and how much memory: `sync` without --write, then with it.

    PYTHONPATH=tests python -m faults.slow --patients 1000 10000 --concurrency 64

The ratio is the time divided by the least that it can take, requests × latency ÷ concurrency. Exit status 1 if
the peak of memory grows by more than a quarter from the fewest patients to the most.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

TESTS = Path(__file__).parents[1]
MONTH = "2026-09"
GROWTH = 1.25


@dataclass(frozen=True)
class Measured:
    """One run. `rss`: MiB at its peak; `start_up`: seconds before the first request."""

    patients: int
    wrote: bool
    status: int
    seconds: float
    start_up: float
    requests: int
    writes: int
    written: int
    at_once: int
    least: float
    rss: float
    said: str

    @property
    def ratio(self) -> float:
        return self.seconds / self.least

    @property
    def text(self) -> str:
        return (
            f"{self.patients} patients, {'writing' if self.wrote else 'reading'}: {self.seconds:.1f} s "
            f"({self.start_up:.1f} s before the first request), {self.requests} requests "
            f"({self.requests / self.patients:.1f} a patient, {self.writes} writes, {self.written} written), "
            f"at most {self.at_once} at once, ratio {self.ratio:.2f}, peak {self.rss:.0f} MiB, status {self.status}"
        )


def measured(patients: int, *, concurrency: int, latency: float, writing: Sequence[bool]) -> list[Measured]:
    """A run for each of `writing` (with --write or without it), one after the other on one server."""
    with tempfile.TemporaryDirectory(prefix="bhi-fhir-slow-") as name, _server(patients, latency) as base_url:
        folder = Path(name)
        (folder / "site.toml").write_text(
            'name = "Slow"\ntime_zone = "America/Chicago"\n[roster]\nfrom = "list:roster"\n'
            "[delivery]\nwrite_open_month = true\n"
            f'[fhir]\nbase_url = "{base_url}"\nconcurrency = {concurrency}\n'
        )
        return [_run(folder, base_url, patients, concurrency, latency, wrote=wrote) for wrote in writing]


def _run(folder: Path, base_url: str, patients: int, concurrency: int, latency: float, *, wrote: bool) -> Measured:
    command = [sys.executable, "-m", "bhi_fhir.cli", "sync", "--site", str(folder), "--month", MONTH]
    with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
        began = time.monotonic()
        process = subprocess.Popen([*command, *(["--write"] if wrote else [])], stdout=out, stderr=err)
        _, wait, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(wait)
    seen = httpx.get(f"{base_url.removesuffix('/fhir')}/counts", trust_env=False).json()
    return Measured(
        patients=patients,
        wrote=wrote,
        status=process.returncode,
        seconds=seconds,
        start_up=seen["first"] - began,
        requests=seen["requests"],
        writes=seen["writes"],
        written=seen["written"],
        at_once=seen["most_at_once"],
        least=max(seen["requests"], 1) * latency / concurrency,
        rss=used.ru_maxrss / 1024,
        said=(folder / "err").read_text()[-500:],
    )


@contextmanager
def _server(patients: int, latency: float) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "faults.slow_server", "--port", str(port), "--patients", str(patients)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])}
    with subprocess.Popen([*command, "--latency", str(latency)], env=environment) as process:
        try:
            _wait(port, process)
            yield f"http://127.0.0.1:{port}/fhir"
        finally:
            process.terminate()


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/counts", trust_env=False)
            return
        time.sleep(0.05)
    raise RuntimeError("the slow server did not start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds")
    chosen = parser.parse_args()
    peaks = []
    wrong = False
    for patients in sorted(chosen.patients):
        runs = measured(patients, concurrency=chosen.concurrency, latency=chosen.latency, writing=(False, True))
        print("\n".join(run.text for run in runs), flush=True)  # noqa: T201
        wrong |= any(run.status for run in runs)
        peaks.append(runs[-1].rss)
    print(f"peak with --write: {peaks[-1] / peaks[0]:.2f} times from the fewest patients to the most")  # noqa: T201
    return 1 if wrong or peaks[-1] > GROWTH * peaks[0] else 0


if __name__ == "__main__":
    sys.exit(main())
