"""A run that was cut off goes on; a result is whole or not there, and never another run's."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bulk.export import SITE, run, scattered, write
from bulk.test_same_answers import DESK, MONTH, contents, examples
from click.testing import CliRunner

from bhi_fhir.cli import cli
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.bulk import job, lines
from bhi_fhir.jobs.bulk.crew import Crew

CUT = "import bhi_fhir.jobs.bulk.job as j, bhi_fhir.jobs.bulk.lines as l; j.SHARE = l.PIECE = 40_000; "


@pytest.fixture
def export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lines, "PIECE", 40_000)
    monkeypatch.setattr(job, "SHARE", 40_000)
    return write(tmp_path / "in", scattered(examples(), 3))


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("after", [0, 2, 5, 9, 12, 16])
def test_a_killed_run_goes_on_and_writes_the_same_bytes(
    after: int, processes: int, export: Path, tmp_path: Path
) -> None:
    today = datetime.now(DESK.site.zone).date()
    run(export, tmp_path / "whole", DESK, today=today)
    killed = kill_after(after, processes, export, tmp_path / "out")
    assert killed or (tmp_path / "out").exists()
    run(export, tmp_path / "out", DESK, processes, today=today)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert not (tmp_path / "out.partial").exists()


def test_an_export_that_changes_while_it_is_read_gives_no_result(
    export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing = next(export.rglob("*.ndjson"))
    begun = Crew.step

    def step(self: Crew, name: str, *rest: Any) -> Any:
        if name == "planning":
            changing.write_bytes(changing.read_bytes().replace(b"finished", b"planned!"))
        return begun(self, name, *rest)

    monkeypatch.setattr(Crew, "step", step)
    with pytest.raises(UsageError, match="changed while it was read"):
        run(export, tmp_path / "out", DESK)
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_told_in_a_sentence(export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Crew, "step", full)
    with pytest.raises(UsageError, match="No space left on device"):
        run(export, tmp_path / "out", DESK)


def test_a_result_may_not_lie_inside_the_export(export: Path) -> None:
    with pytest.raises(UsageError, match="lies inside the export"):
        run(export, export / "out", DESK)


def kill_after(results: int, processes: int, export: Path, out: Path) -> bool:
    """Begin a run in a process group of its own, and kill -9 all of it when so many tasks are done."""
    command = ["bulk", "--site", SITE, "--month", MONTH, "--out", out, "--processes", processes, export]
    program = f"{CUT}from bhi_fhir.cli import cli; cli({[str(part) for part in command]!r})"
    started = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, start_new_session=True)
    work = out.with_name(f"{out.name}.partial") / "work"
    while started.poll() is None and len(list(work.glob("*.json"))) < results:
        time.sleep(0.002)
    if started.poll() is None:
        os.killpg(started.pid, signal.SIGKILL)
    started.wait()
    return started.returncode < 0


def test_what_is_done_is_not_done_again(export: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    step = Crew._run

    def noted(self: Crew, name: str, task: object, numbers: list[int]) -> object:
        done.extend(f"{name} {number}" for number in numbers)
        return step(self, name, task, numbers)  # type: ignore[arg-type]

    monkeypatch.setattr(Crew, "_run", noted)
    monkeypatch.setattr("bhi_fhir.jobs.bulk.run._finish", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(export, tmp_path / "out", DESK)
    assert len(done) > 15
    monkeypatch.undo()
    monkeypatch.setattr(lines, "PIECE", 40_000)
    monkeypatch.setattr(job, "SHARE", 40_000)
    monkeypatch.setattr(Crew, "_run", lambda self, name, task, numbers: iter(()) if not numbers else 1 / 0)
    run(export, tmp_path / "out", DESK)


def test_the_same_run_again_is_there_already_and_another_is_refused(export: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not run(export, out, DESK).again
    assert run(export, out, DESK).again
    with pytest.raises(UsageError, match="not this run's"):
        run(export, out, DESK.for_month("2026-08"))
    (export / "more.ndjson").write_text("{}\n")
    with pytest.raises(UsageError, match="not this run's"):
        run(export, out, DESK)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter").write_text("dear")
    with pytest.raises(UsageError, match="not this run's"):
        run(export, tmp_path / "mine", DESK)
    assert (tmp_path / "mine" / "letter").read_text() == "dear"


def test_what_another_run_left_unfinished_is_not_touched(export: Path, tmp_path: Path) -> None:
    kill_after(5, 1, export, tmp_path / "out")
    (export / "more.ndjson").write_text("{}\n")
    with pytest.raises(UsageError, match="left unfinished"):
        run(export, tmp_path / "out", DESK)


def test_the_command_says_what_came_of_it(export: Path, tmp_path: Path) -> None:
    (export / "more.ndjson").write_text('{"resourceType": "Consent", "id": "x"}\n')
    command = ["bulk", "--site", str(SITE), "--month", MONTH, "--out", str(tmp_path / "out"), "--processes", "1"]
    done = CliRunner().invoke(cli, [*command, str(export)])
    assert done.exit_code == 1, done.output
    assert "patients" in done.stdout
    assert "set aside: more.ndjson line 1 Consent/x: it names no patient" in done.stderr
    assert "WITHHELD FROM EVERY PATIENT" in done.stderr
    assert "rests on absence: more.ndjson: Consent/x names no patient" in done.stderr
    assert '"event": "bulk deciding"' in done.stderr
    again = CliRunner().invoke(cli, [*command, "--format", "json", str(export)])
    assert again.exit_code == 1
    assert '"for_all"' in again.stdout
