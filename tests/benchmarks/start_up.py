"""How long `evaluate` of one patient takes, start-up included, beside what only importing two of its libraries takes.

    python tests/benchmarks/start_up.py [pairs]

Beside `evaluate` of one Bundle of 21 resources, as table and as JSON, runs `python -c 'import msgspec, zoneinfo'`. They
take turns, so that what else the machine does falls on both. Printed are the medians over all pairs: seconds of
processor and of the clock, and the ratio within a pair. Modules are compiled before, as an installation leaves them.
"""

import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FLOOR = (sys.executable, "-c", "import msgspec, zoneinfo")
EVALUATE = (
    *(sys.executable, "-c", "from bhi_fhir.cli import main; main()", "evaluate"),
    *("--site", str(ROOT / "mappings/sites/example"), "--month", "2026-09"),
    str(ROOT / "examples/patients/team-without-consultant.json"),
)
SHAPES = ("table", "json")


class Taken(NamedTuple):
    """Seconds."""

    processor: float
    clock: float


class Pair(NamedTuple):
    floor: Taken
    evaluate: Taken

    @property
    def ratio(self) -> Taken:
        """How many times the floor."""
        return Taken(*(mine / least for mine, least in zip(self.evaluate, self.floor, strict=True)))


def pairs(shape: str, number: int) -> list[Pair]:
    """After one run of each that leaves compiled modules behind."""
    command = (*EVALUATE, "--format", shape)
    timed(FLOOR), timed(command)
    return [Pair(timed(FLOOR), timed(command)) for _ in range(number)]


def timed(command: tuple[str, ...]) -> Taken:
    compiled = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=compiled, stdout=subprocess.DEVNULL, check=True)
    after, over = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    return Taken(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, over - clock)


def median(taken: list[Taken]) -> Taken:
    return Taken(*(statistics.median(each) for each in zip(*taken, strict=True)))


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    print(f"median of {number} pairs, seconds of processor and of the clock")
    for shape in SHAPES:
        found = pairs(shape, number)
        floor, mine = median([pair.floor for pair in found]), median([pair.evaluate for pair in found])
        ratio = median([pair.ratio for pair in found])
        print(f"import msgspec, zoneinfo      {floor.processor:6.3f} {floor.clock:6.3f}")
        print(f"evaluate, as {shape:6s}           {mine.processor:6.3f} {mine.clock:6.3f}", end="  ")
        print(f"{ratio.processor:.2f} x by processor, {ratio.clock:.2f} x by clock")


if __name__ == "__main__":
    main()
