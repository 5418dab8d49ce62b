"""The trace stays: what bulk decided is explained in the same words as the record itself."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bulk.export import SITE, run, write
from bulk.test_same_answers import DESK, GOLDEN, MONTH, examples
from click.testing import CliRunner

from bhi_fhir.cli import cli
from bhi_fhir.jobs.desk import Desk


def explained(site: Path, month: str, *files: Path | str) -> list[object]:
    command = ["explain", "--site", str(site), "--month", month, "--format", "json"]
    done = CliRunner().invoke(cli, [*command, *map(str, files)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    results = json.loads(done.stdout)["results"]
    return sorted(({**r, "file": ""} for r in results), key=lambda r: str(r["patient"]))


def test_every_example_is_explained_as_from_its_record(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"all.ndjson": examples()})
    run(folder, tmp_path / "out", DESK)
    by_trace = explained(SITE, MONTH, *(tmp_path / "out").glob("decisions-*"))
    assert len(by_trace) == 16
    assert by_trace == explained(SITE, MONTH, folder / "all.ndjson")


@pytest.mark.parametrize("month", ["2026-03"])
def test_every_golden_record_is_explained_as_from_its_record(month: str, tmp_path: Path) -> None:
    desk = Desk.open(GOLDEN / "site", month)
    for path in sorted((GOLDEN / "cases").glob("*.bundle.json")):
        lines = [json.dumps(entry["resource"]) for entry in json.loads(path.read_text())["entry"]]
        folder = write(tmp_path / path.name, {"all.ndjson": lines})
        run(folder, out := tmp_path / f"{path.name}.out", desk)
        by_trace = explained(GOLDEN / "site", month, *out.glob("decisions-*"))
        assert by_trace == explained(GOLDEN / "site", month, folder / "all.ndjson"), path.name


def test_one_patient_of_many_is_found_and_another_month_is_refused(tmp_path: Path) -> None:
    run(write(tmp_path / "in", {"all.ndjson": examples()}), tmp_path / "out", DESK)
    [decisions] = map(str, (tmp_path / "out").glob("decisions-*"))
    command = ["explain", "--site", str(SITE), "--month", MONTH, "--patient", "rosa", decisions]
    done = CliRunner().invoke(cli, command)
    assert done.stdout.startswith("Patient/rosa, 2026-09")
    assert "Patient/maria" not in done.stdout
    other = CliRunner().invoke(cli, ["explain", "--site", str(SITE), "--month", "2026-08", decisions])
    assert "ask with --month 2026-09" in str(other.exception)
