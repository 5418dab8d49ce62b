"""Whole records with answers written by hand: run as a user runs them, compared line by line."""

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bhi_fhir.cli import cli

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(p.name.removesuffix(".expected.json") for p in (GOLDEN / "cases").glob("*.expected.json"))


def expected(name: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((GOLDEN / "cases" / f"{name}.expected.json").read_text())
    return answer


@pytest.fixture(scope="module")
def decided() -> dict[str, dict[str, Any]]:
    """Every case's result: one run of the command for each month and set of switches."""
    runs: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in CASES:
        answer = expected(name)
        runs[(answer["month"], *(f"{k}={v}" for k, v in answer.get("set", {}).items()))].append(name)
    return {name: result for key, names in runs.items() for name, result in run(key, names)}


def run(key: tuple[str, ...], names: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    month, *switches = key
    files = [str(GOLDEN / "cases" / f"{name}.bundle.json") for name in names]
    sets = [part for switch in switches for part in ("--set", switch)]
    command = ["evaluate", "--site", str(GOLDEN / "site"), "--month", month, "--format", "json", *sets, *files]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    for result in json.loads(done.stdout)["results"]:
        yield Path(result["file"]).name.removesuffix(".bundle.json"), result


@pytest.mark.parametrize("name", CASES)
def test_a_golden_record_is_decided_as_written_by_hand(name: str, decided: dict[str, dict[str, Any]]) -> None:
    answer, result = expected(name), decided[name]
    for status, key in (("billable", "billable"), ("needs-review", "review")):
        assert {line["code"]: line["units"] for line in result["lines"] if line["status"] == status} == answer[key]
    for code, findings in answer.get("findings", {}).items():
        candidate = next(c for c in result["candidates"] if c["code"] == code)
        outcomes = {f["requirement"]: f["outcome"] for f in candidate["findings"]}
        assert {name: outcomes[name] for name in findings} == findings
    minutes = result["minutes"]
    assert minutes["counted"] == answer.get("counted_minutes", minutes["counted"])
    for reason, total in answer.get("not_counted", {}).items():
        listed = [n["minutes"] or 0 for n in minutes["not_counted"] if n["reason"] == reason]
        assert listed
        assert sum(listed) == total


@pytest.mark.parametrize("name", CASES)
def test_every_finding_says_why_and_by_which_source(name: str, decided: dict[str, dict[str, Any]]) -> None:
    findings = [f for c in decided[name]["candidates"] for f in c["findings"]]
    assert findings
    assert all(f["because"] and f["cite"] for f in findings)
