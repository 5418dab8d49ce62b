"""The whole check in one command: style, types and the layers are tests like any other."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"], ["lint-imports", "--no-cache"]],
    ids=lambda command: command[0] + (" format" if "format" in command else ""),
)
def test_the_house_is_in_order(command: list[str]) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_top_level_is_the_one_that_was_agreed() -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout: nothing says what belongs to the project")
    agreed = {
        "pyproject.toml", "bhi_fhir", "mappings", "tests", "examples", "README.md", "CHANGELOG.md", "LICENSE",
        ".gitignore", ".ci",
    }  # fmt: skip
    assert {line.split("/")[0] for line in listed.stdout.splitlines()} <= agreed
