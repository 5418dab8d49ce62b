"""How fast `bulk` is and how much memory it takes, as ratios to merely parsing the same files; and whether it is right.

    python tests/benchmarks/bulk.py [--patients N] [--pairs K] [--record | --spark]

The floor is `orjson.loads` of every line of the export, in this process, already started. A contestant is the whole
command as a process of its own, start-up included. Each pair is the floor and, right after it, the contestant; shown
are the medians of the ratios, never seconds: the machine is shared. "By processor" counts the time of all processes,
and hardly moves with what else the machine does; "less start-up" takes off what the command takes for one patient,
run in the same pair. Memory is Private_Clean + Private_Dirty of /proc/PID/smaps_rollup, the most that any one process
of a run has, asked every few milliseconds in runs that are not timed. fhir.resources validates every n-th line; that is
extrapolated per line. DuckDB decides all patients again (oracle.py). --record keeps the small form's ratios for the
test that guards them. --spark measures only Spark (local[2]), ours and a plain job (plain_spark.py), beside the local
engine on two processes in the same pair; it needs the extra `spark` and Java.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

try:
    import orjson
except ModuleNotFoundError:
    sys.exit("The benchmark needs the test extra: pip install -e '.[test]'.")

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.generate import MONTH, generate, site
from benchmarks.oracle import decided_by_bulk, second_opinion

RECORDED = Path(__file__).with_name("recorded.json")
SMALL = 400
"""Patients of the small form."""
SAMPLE = 300
"""Lines that fhir.resources validates."""
_SAMPLED_EVERY_S = 0.004
_ASKED_EVERY_S = 0.1


@dataclass(frozen=True)
class Time:
    """Seconds of the clock and of the processor."""

    clock: float
    processor: float

    def over(self, floor: Time) -> Time:
        return Time(self.clock / floor.clock, self.processor / floor.processor)

    def less(self, other: Time) -> Time:
        return Time(self.clock - other.clock, self.processor - other.processor)


def median(times: list[Time]) -> Time:
    return Time(statistics.median(t.clock for t in times), statistics.median(t.processor for t in times))


# -- what is measured -------------------------------------------------------------------------------


class Export:
    """A generated export, and runs of `bulk` on it."""

    def __init__(self, home: Path, patients: int) -> None:
        self.home, self.patients = home, patients
        self.folder, self.site = home / f"in-{patients}", site(home / "site")
        if not self.folder.exists():
            generate(self.folder, patients)
        self._runs = 0

    def floor(self) -> Time:
        begun, worked = time.perf_counter(), time.process_time()
        for path in sorted(self.folder.iterdir()):
            with path.open("rb") as lines:
                for line in lines:
                    orjson.loads(line)
        return Time(time.perf_counter() - begun, time.process_time() - worked)

    @contextmanager
    def running(self, processes: int, out: Path) -> Iterator[subprocess.Popen[bytes]]:
        command = [sys.executable, "-m", "bhi_fhir.cli", "bulk", "--site", str(self.site), "--month", MONTH]
        command += ["--processes", str(processes), "--out", str(out), str(self.folder)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            yield run
            if run.wait() not in (0, 1):  # 1: some lines were set aside
                raise SystemExit(f"bulk ended with {run.returncode}: {' '.join(command)}")

    def bulk(self, processes: int) -> Time:
        """A whole command, with the processor's time of all its processes."""
        out = self._out()
        begun, before = time.perf_counter(), _of_children()
        with self.running(processes, out):
            pass
        return Time(time.perf_counter() - begun, _of_children() - before)

    def spark(self) -> Time:
        """The whole command on Spark."""
        command = [sys.executable, "-m", "bhi_fhir.cli", "bulk", "--engine", "spark", "--site", str(self.site)]
        return self._watched([*command, "--month", MONTH, "--out", str(self._out()), str(self.folder)])

    def plain_spark(self) -> Time:
        job = str(Path(__file__).with_name("plain_spark.py"))
        return self._watched([sys.executable, job, str(self.site), MONTH, str(self.folder), str(self._out())])

    def _out(self) -> Path:
        """A new folder for a run; what earlier runs wrote makes room."""
        for earlier in self.home.glob(f"out-{self.patients}-*"):
            shutil.rmtree(earlier)
        self._runs += 1
        return self.home / f"out-{self.patients}-{self._runs}"

    def _watched(self, command: list[str]) -> Time:
        """Spark's workers are nobody's children at the end: the session's processes are asked while they run."""
        begun, used = time.perf_counter(), dict[int, float]()
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, stdout=quiet, stderr=quiet, start_new_session=True) as run:
            while run.poll() is None:
                used.update(_of_session(run.pid))
                time.sleep(_ASKED_EVERY_S)
            if run.returncode not in (0, 1):
                raise SystemExit(f"it ended with {run.returncode}: {' '.join(command)}")
        return Time(time.perf_counter() - begun, sum(used.values()))

    def memory(self, processes: int) -> float:
        """The most private memory that one process of a run has, in MB."""
        most = 0
        with self.running(processes, self._out()) as run:
            while run.poll() is None:
                most = max([most, *(_private(pid) for pid in _with_children(run.pid))])
                time.sleep(_SAMPLED_EVERY_S)
        return most / 1024

    def decided(self) -> Path:
        out = self._out()
        with self.running(2, out):
            pass
        return out


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _of_session(leader: int) -> dict[int, float]:
    """Seconds of the processor that each process of a session has used."""
    used = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(") ")[2].split()
            if int(fields[3]) == leader:
                used[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return used


def _with_children(pid: int) -> list[int]:
    try:
        return [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    except OSError:
        return []


def _private(pid: int) -> int:
    """kB; 0 of a process that has just ended."""
    try:
        told = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in told.splitlines() if line.startswith("Private_"))


@dataclass(frozen=True)
class Measured:
    """Medians of ratios to the floor."""

    whole: Time
    less_start_up: Time


def paired(export: Export, one: Export, processes: int, pairs: int) -> Measured:
    """Floor, the command on one patient, floor again, the command on all: so many times."""
    whole, less = [], []
    for _ in range(pairs):
        start_up = one.bulk(processes)
        floor = export.floor()
        all_ = export.bulk(processes)
        whole.append(all_.over(floor))
        less.append(all_.less(start_up).over(floor))
    return Measured(median(whole), median(less))


def start_up_alone(export: Export, one: Export, pairs: int) -> Time:
    return median([_pair(export.floor, lambda: one.bulk(1)) for _ in range(pairs)])


def _pair(floor: Callable[[], Time], contestant: Callable[[], Time]) -> Time:
    under = floor()
    return contestant().over(under)


def validating(export: Export, pairs: int) -> tuple[Time, int]:
    """fhir.resources on every n-th line against orjson on the same lines; how many lines that is."""
    from fhir.resources.R4B import get_fhir_model_class
    from pydantic import ValidationError

    lines = [line for path in sorted(export.folder.iterdir()) for line in path.read_bytes().splitlines()]
    chosen = lines[:: max(1, len(lines) // SAMPLE)]
    models = [get_fhir_model_class(orjson.loads(line)["resourceType"]) for line in chosen]

    def timed(each: Callable[[], None]) -> Time:
        begun, worked = time.perf_counter(), time.process_time()
        each()
        return Time(time.perf_counter() - begun, time.process_time() - worked)

    def parse() -> None:
        for line in chosen:
            orjson.loads(line)

    def validate() -> None:
        for line, model in zip(chosen, models, strict=True):
            with suppress(ValidationError):  # a broken line, as generate.py makes a few
                model.model_validate_json(line)

    validate()  # its models are built at the first use
    return median([_pair(lambda: timed(parse), lambda: timed(validate)) for _ in range(pairs)]), len(chosen)


def compared(export: Export) -> tuple[int, int, list[str]]:
    """Patients that the oracle decided, patients left out of it, and who is decided otherwise by bulk."""
    theirs, left_out = second_opinion(export.folder)
    ours = dict(decided_by_bulk(export.decided()))
    assert set(ours) == set(theirs) | left_out
    return len(theirs), len(left_out), sorted(p for p, month in theirs.items() if ours[p] != month)


# -- the small form ---------------------------------------------------------------------------------


def small(home: Path, pairs: int = 3) -> dict[str, float]:
    """The ratios that the test guards: by processor, less start-up, so that neither the machine nor imports speak."""
    export, one = Export(home, SMALL), Export(home, 1)
    export.floor()
    found = {
        f"bulk, {n} process{'es' * (n > 1)}, by processor less start-up / floor": paired(export, one, n, pairs)
        for n in (1, 2)
    }
    return {name: round(measured.less_start_up.processor, 2) for name, measured in found.items()}


def recorded() -> dict[str, float]:
    ratios: dict[str, float] = orjson.loads(RECORDED.read_bytes())["ratios"]
    return ratios


def record(home: Path) -> None:
    machine = f"{os.cpu_count()} cores, shared; Python {platform.python_version()}"
    said = {"measured": str(datetime.now(UTC).date()), "machine": machine, "patients": SMALL, "ratios": small(home, 7)}
    RECORDED.write_bytes(orjson.dumps(said, option=orjson.OPT_INDENT_2) + b"\n")


# -- the table --------------------------------------------------------------------------------------


def table(home: Path, patients: int, pairs: int) -> Iterator[str]:
    export, one = Export(home, patients), Export(home, 1)
    size = sum(path.stat().st_size for path in export.folder.iterdir())
    export.floor()
    yield f"{patients:,} patients, {size / 1e6:.0f} MB; median of {pairs} pairs; 1 = orjson.loads of every line"
    yield f"{'':46s}{'by clock':>10s}{'by processor':>14s}"
    for n in (1, 2):
        found = paired(export, one, n, pairs)
        name = f"bulk, {n} process{'es' * (n > 1)}"
        yield _row(f"{name}, start-up included", found.whole)
        yield _row(f"{name}, less start-up", found.less_start_up)
    yield _row("bulk of one patient: start-up alone", start_up_alone(export, one, pairs))
    validated, lines = validating(export, pairs)
    yield _row(f"fhir.resources, {lines} of the lines, per line", validated)
    tenth = Export(home, max(1, patients // 10))
    for each in (tenth, export):
        said = ", ".join(f"{each.memory(n):.0f} MB with {n}" for n in (1, 2))
        yield f"private memory of one process, {each.patients:,} patients: {said}"
    same, left_out, other = compared(export)
    yield f"DuckDB decides {same - len(other):,} of {same:,} patients as bulk does; {left_out} left out (see oracle.py)"
    yield from (f"  decided otherwise: {patient}" for patient in other[:20])


def spark_table(home: Path, patients: int, pairs: int) -> Iterator[str]:
    """Spark's start-up is long, so it is taken off by a run of one patient in the same pair."""
    export, one = Export(home, patients), Export(home, 1)
    with (export.site / "site.toml").open("a") as toml:
        toml.write('\n[bulk.spark.conf]\n"spark.master" = "local[2]"\n"spark.ui.enabled" = "false"\n')
    export.floor()
    rows: dict[str, list[Time]] = {}
    for _ in range(pairs):
        floor, local = export.floor(), export.bulk(2).less(one.bulk(2))
        start_up, plain_start_up = one.spark(), one.plain_spark()
        ours, plain = export.spark(), export.plain_spark()
        less, plain_less = ours.less(start_up), plain.less(plain_start_up)
        found = {
            "Spark, start-up alone / floor": start_up.over(floor),
            "Spark, start-up included / floor": ours.over(floor),
            "Spark, less start-up / floor": less.over(floor),
            "plain Spark job, less start-up / floor": plain_less.over(floor),
            "bulk, 2 processes, less start-up / floor": local.over(floor),
            "Spark / bulk, 2 processes, both less start-up": less.over(local),
            "Spark / plain Spark job, both less start-up": less.over(plain_less),
        }
        for name, ratio in found.items():
            rows.setdefault(name, []).append(ratio)
    yield f"{patients:,} patients; Spark is local[2]; median of {pairs} pairs; floor = orjson.loads of every line"
    yield f"{'':46s}{'by clock':>10s}{'by processor':>14s}"
    yield from (_row(name, median(ratios)) for name, ratios in rows.items())


def _row(name: str, ratio: Time) -> str:
    return f"{name:46s}{ratio.clock:10.1f}{ratio.processor:14.1f}"


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--patients", type=int, default=2000)
    asked.add_argument("--pairs", type=int, default=5)
    asked.add_argument("--record", action="store_true", help="keep the small form's ratios in recorded.json")
    asked.add_argument("--spark", action="store_true", help="Spark beside the local engine")
    options = asked.parse_args()
    with tempfile.TemporaryDirectory() as home:
        if options.record:
            record(Path(home))
            return
        shown = spark_table if options.spark else table
        for line in shown(Path(home), options.patients, options.pairs):
            print(line, flush=True)


if __name__ == "__main__":
    main()
