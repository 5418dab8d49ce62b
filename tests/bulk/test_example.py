"""examples/bulk, by the commands of its README."""

from __future__ import annotations

import gzip
import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from make_examples import EXPECTED
from make_export import EXPORT, files

from bhi_fhir.cli import cli

README = EXPORT.parent / "README.md"


def test_the_export_is_what_the_program_makes() -> None:
    assert {path.name: unpacked(path.name, path.read_bytes()) for path in EXPORT.iterdir()} == {
        name: unpacked(name, content) for name, content in files().items()
    }


def unpacked(name: str, content: bytes) -> bytes:
    """Every zlib packs in its own way."""
    return gzip.decompress(content) if name.endswith(".gz") else content


def test_the_commands_of_the_readme_do_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXPORT.parents[2])
    bulk, explain = [line.strip() for line in README.read_text().splitlines() if line.startswith("    bhi-fhir")]
    run = CliRunner().invoke(cli, words(bulk, tmp_path), catch_exceptions=False)
    assert run.exit_code == 0, run.output
    found = [json.loads(line) for path in tmp_path.glob("month/decisions-*") for line in path.read_bytes().splitlines()]
    assert len(found) == len(EXPECTED)
    billable = {line["code"] for each in found for line in each["lines"] if line["status"] == "billable"}
    assert billable == {code for lines in EXPECTED.values() for code in lines["billable"]}
    told = CliRunner().invoke(cli, words(explain, tmp_path), catch_exceptions=False)
    assert "1 more minute: G2214" in told.stdout


def words(command: str, folder: Path) -> list[str]:
    """The command with its `month` in a folder of the test's own, and what a shell makes of the star."""
    found = []
    for word in shlex.split(command)[1:]:
        if word == "month" or word.startswith("month/"):
            here = folder / word
            found += [str(path) for path in here.parent.glob(here.name)] if "*" in word else [str(here)]
        else:
            found.append(word)
    return found
