"""Mutation testing of bhi_fhir/rules: mutmut makes the mutants, every scenario and golden record tries to kill them.

    python tests/mutation/mutate_rules.py [--jobs 2] [--only decide] [--every 10]

mutmut's own runner starts pytest for every mutant; here one process decides all scenarios with one mutant after
the other switched on, which is about a hundred times faster. Mutants that change only the text of a sentence are
left out: no decision rests on it. Prints the score and every survivor; the exit status is 1 below 95 %.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).parents[2]
GOAL = 95.0
LONGEST_S = 20
_SETTINGS = """
[tool.mutmut]
source_paths = ["bhi_fhir/rules/"]
pytest_add_cli_args_test_selection = ["tests/test_scenarios.py"]
also_copy = ["bhi_fhir", "mappings", "tests", "examples"]
"""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options.add_argument("--only", default="", help="a module of bhi_fhir/rules")
    options.add_argument("--every", type=int, default=1, help="take every n-th mutant only")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="bhi-fhir-mutants-") as folder:
        mutated = make_mutants(Path(folder))
        names = [n for n in mutants(mutated) if not chosen.only or f".rules.{chosen.only}." in n][:: chosen.every]
        survivors = []
        with ProcessPoolExecutor(chosen.jobs, initializer=start, initargs=(mutated,)) as pool:
            for count, (name, killed) in enumerate(zip(names, pool.map(killed_by, names), strict=True), start=1):
                survivors += [] if killed else [name]
                if count % 100 == 0:
                    print(f"{count} of {len(names)}, {len(survivors)} survived", file=sys.stderr, flush=True)  # noqa: T201
        told = [f"  {name}\n{difference(mutated, name)}" for name in survivors]
    score = 100 * (len(names) - len(survivors)) / len(names)
    print("\n".join([*told, f"{len(names)} mutants, {len(survivors)} survived: {score:.1f} % killed"]))  # noqa: T201
    return int(score < GOAL)


def make_mutants(folder: Path) -> Path:
    """A copy of the project in which the rules hold their mutants, one switched on by an environment variable."""
    for part in ("bhi_fhir", "mappings", "tests", "examples"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, folder / file)
    with (folder / "pyproject.toml").open("a", encoding="utf-8") as settings:
        settings.write(_SETTINGS)
    # A name that matches nothing: mutmut writes the mutants and has none to run.
    command = [sys.executable, "-m", "mutmut", "run", "bhi_fhir.rules.nothing*"]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    mutated = folder / "mutants"
    if not any(mutated.glob("bhi_fhir/rules/*.meta")):
        sys.exit("mutmut made no mutants")
    return mutated


def mutants(mutated: Path) -> Iterator[str]:
    """The names of all mutants that change more than text."""
    for file in sorted(mutated.glob("bhi_fhir/rules/*.py")):
        bodies = functions(file)
        for name in json.loads(file.with_suffix(".py.meta").read_text())["exit_code_by_key"]:
            short = name.rpartition(".")[2]
            original = short.rpartition("__mutmut_")[0] + "__mutmut_orig"
            if bare(bodies[short]) != bare(bodies[original]):
                yield name


def functions(file: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and "__mutmut_" in n.name}


def bare(function: ast.FunctionDef) -> str:
    """The function without its name and without the wording of its sentences."""
    return "".join(shape(node) for statement in function.body for node in ast.walk(statement))


def is_sentence(value: object) -> bool:
    return isinstance(value, str) and (" " in value or value.startswith("XX"))


def shape(node: ast.AST) -> str:
    """One node by itself: its kind and its plain fields."""
    plain = {k: v for k, v in ast.iter_fields(node) if not isinstance(v, ast.AST | list)}
    if isinstance(node, ast.Constant) and is_sentence(node.value):
        return "text"
    return f"{type(node).__name__}{plain}"


def difference(mutated: Path, name: str) -> str:
    module, _, short = name.rpartition(".")
    bodies = functions(mutated / f"{module.replace('.', '/')}.py")
    original = ast.unparse(bodies[short.rpartition("__mutmut_")[0] + "__mutmut_orig"]).splitlines()[1:]
    changed = ast.unparse(bodies[short]).splitlines()[1:]
    return "\n".join(f"    - {a.strip()}\n    + {b.strip()}" for a, b in zip(original, changed, strict=False) if a != b)


# -- in the workers ---------------------------------------------------------------------------------

ROWS: list[object] = []


def start(mutated: Path) -> None:
    """Import the mutated package and the scenarios once; decide nothing yet."""
    sys.path[:0] = [str(mutated), str(mutated / "tests"), str(mutated / "tests" / "mutation")]
    os.environ["MUTANT_UNDER_TEST"] = ""
    from trials import trials

    ROWS.extend(trials())
    signal.signal(signal.SIGALRM, give_up)


def give_up(number: int, frame: FrameType | None) -> None:
    raise TimeoutError


def killed_by(name: str) -> bool:
    """Does any scenario fail with this mutant? Those that killed the last mutant are tried first."""
    os.environ["MUTANT_UNDER_TEST"] = name
    signal.alarm(LONGEST_S)
    try:
        for index, trial in enumerate(ROWS):
            try:
                passed = trial(None)  # type: ignore[operator]
            except Exception:  # noqa: BLE001  # a mutant may break in any way: that is a kill
                passed = False
            if not passed:
                ROWS.insert(0, ROWS.pop(index))
                return True
    finally:
        signal.alarm(0)
        os.environ["MUTANT_UNDER_TEST"] = ""
    return False


if __name__ == "__main__":
    sys.exit(main())
