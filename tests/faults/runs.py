"""Runs of the command line that can be killed: forked from a preloaded parent (fast), or started plainly.

A forked run begins where a plain one is after its imports, 0.7 s later; the kill is as real.
"""

from __future__ import annotations

import asyncio
import importlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRELOADED = ["bhi_fhir.cli", "bhi_fhir.jobs.sync", "bhi_fhir.jobs.sync_report", "faults.campaign", "servers.running"]


@dataclass(eq=False)
class Run:
    """One process. `ended` is its exit status, -9 if it was killed."""

    pid: int
    ended: asyncio.Future[int]
    out: Path
    err: Path
    killed: float = 0.0
    """The monotonic time at which it was."""

    def kill(self) -> None:
        """SIGKILL to the whole process group."""
        self.killed = self.killed or time.monotonic()
        for kill in (os.killpg, os.kill):  # no group yet in the first instant of a forked child
            with suppress(ProcessLookupError):
                kill(self.pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        """The end of its standard error, in one line."""
        return " ".join(self.err.read_text(errors="replace")[-1000:].split())


@dataclass
class Starter:
    """Starts runs of a module that has a `main()`; output goes to files in `folder`, one pair a run."""

    folder: Path
    module: str = "bhi_fhir.cli"
    forked: bool = True
    started: int = 0

    async def start(self, arguments: Sequence[str]) -> Run:
        self.started += 1
        out, err = (self.folder / f"{self.started}.{name}" for name in ("out", "err"))
        err.touch()
        begin = self._forked if self.forked else self._plain
        return await begin(list(arguments), out, err)

    async def _plain(self, arguments: list[str], out: Path, err: Path) -> Run:
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            )  # fmt: skip
        return Run(process.pid, asyncio.ensure_future(process.wait()), out, err)

    async def _forked(self, arguments: list[str], out: Path, err: Path) -> Run:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_child, args=(self.module, arguments, str(out), str(err)))
        process.start()
        assert process.pid is not None
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[int] = loop.create_future()

        def over() -> None:
            loop.remove_reader(process.sentinel)
            process.join()
            if not ended.done():
                ended.set_result(process.exitcode or 0)

        loop.add_reader(process.sentinel, over)
        return Run(process.pid, ended, out, err)


def _child(module: str, arguments: list[str], out: str, err: str) -> None:
    os.setsid()
    for path, number in ((out, 1), (err, 2)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    # Python's own streams may be bound to what the parent had.
    sys.stdout, sys.stderr = (os.fdopen(os.dup(number), "w") for number in (1, 2))
    sys.argv = ["bhi-fhir", *arguments]
    try:
        importlib.import_module(module).main()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
