"""Memory is bounded by construction: it depends neither on how many patients there are nor on what a line or a patient
weighs."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.generate import generate, lines, site

MONTH = "2026-03"
WATCHED = """
import sys, threading, time
from pathlib import Path
from bhi_fhir.cli import cli
peak = 0
def private():
    found = Path("/proc/self/smaps_rollup").read_text()
    return sum(int(line.split()[1]) for line in found.splitlines() if line.startswith("Private_"))
def watch():
    global peak
    while True:
        peak = max(peak, private())
        time.sleep(0.005)
threading.Thread(target=watch, daemon=True).start()
try:
    cli(sys.argv[1:])
except SystemExit as done:
    assert done.code in (0, 1), done.code
print(peak)
"""
"""A run in one process that says at its end how much memory of its own (kB) it had at most."""


def peak(tmp_path: Path, folder: Path, attempt: str = "") -> int:
    command = ["bulk", "--site", site(tmp_path / "site"), "--month", MONTH, "--processes", 1, "--out"]
    out = tmp_path / f"out-{folder.name}{attempt}"
    arguments = [str(part) for part in (*command, out, folder)]
    watched = [sys.executable, "-c", WATCHED, *arguments]
    done = subprocess.run(watched, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return int(done.stdout.split()[-1])


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks Linux for its memory")
def test_five_times_the_patients_take_the_same_memory(tmp_path: Path) -> None:
    for patients in (1_000, 5_000):
        generate(tmp_path / f"{patients}", patients)
    # On a busy machine a peak may pass between two looks, most easily in the shorter run.
    small = max(peak(tmp_path, tmp_path / "1000", f"-{attempt}") for attempt in range(3))
    large = peak(tmp_path, tmp_path / "5000")
    assert large < small * 1.1
    assert large < 64 * 1024


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="asks Linux for its memory")
def test_a_line_of_200_mb_and_a_patient_of_100_000_resources_are_survived(tmp_path: Path) -> None:
    generate(tmp_path / "in", 100)
    first = json.loads(next(lines("Encounter", 1)))
    first["subject"] = {"reference": "Patient/giant"}
    with (tmp_path / "in" / "Giant.ndjson").open("wb") as out:
        for text in giant(first):
            out.write(text)
    assert peak(tmp_path, tmp_path / "in") < 64 * 1024
    aside = [json.loads(line) for line in (tmp_path / "out-in" / "set-aside.ndjson").read_text().splitlines()]
    told = {each["reason"][:23]: (each["file"], each["at"]) for each in aside}
    assert told["the line is longer than"] == ("Giant.ndjson", "line 50001")
    assert told["its patient has more th"] == ("Giant.ndjson", "line 1")


def giant(encounter: dict[str, object]) -> Iterator[bytes]:
    for number in range(100_000):
        yield json.dumps({**encounter, "id": f"g{number}"}).encode() + b"\n"
        if number == 49_999:
            yield b'{"resourceType": "DocumentReference", "subject": {"reference": "Patient/p1"}, "text": "'
            yield from (b"x" * (1 << 20) for _ in range(200))
            yield b'"}\n'
