"""A month whose policy nobody has verified: nothing is drafted, the minutes are still shown, the file is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from record import cocm_record

from bhi_fhir.cli import cli

SITE = Path(__file__).parents[1] / "mappings" / "sites" / "example"


def evaluated(month: str, folder: Path) -> Result:
    file = folder / "maria.json"
    file.write_text(json.dumps(cocm_record(month).change("CareTeam", period={"start": "2024-01-01"}).work(36).bundle()))
    return CliRunner().invoke(cli, ["evaluate", "--site", str(SITE), "--month", month, "--format", "json", str(file)])


@pytest.mark.parametrize("month", ["2027-01", "2024-12", "2031-06"])
def test_nothing_is_drafted_and_the_minutes_are_shown(month: str, tmp_path: Path) -> None:
    done = evaluated(month, tmp_path)
    [result] = json.loads(done.stdout)["results"]
    assert done.exit_code == 2
    assert result["lines"] == []
    assert result["minutes"]["counted"] == 36
    assert {c["status"] for c in result["candidates"]} == {"not-billable"}


def test_the_message_names_the_file(tmp_path: Path) -> None:
    assert "bhi_fhir/policy/codes/99484.toml" in evaluated("2027-01", tmp_path).stderr


@pytest.mark.parametrize("month", ["2025-01", "2025-12", "2026-01", "2026-12"])
def test_the_verified_months_on_both_sides_are_drafted(month: str, tmp_path: Path) -> None:
    done = evaluated(month, tmp_path)
    [result] = json.loads(done.stdout)["results"]
    assert done.exit_code == 0
    assert [line["code"] for line in result["lines"]] == ["99492"]
