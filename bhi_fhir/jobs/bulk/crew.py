"""Steps of many tasks on several processes; a task that is done is never done again.

A task's result is written when everything else that it wrote is on disk. What a killed run left half is overwritten.
"""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from bhi_fhir.delivery.folder import write_whole
from bhi_fhir.errors import BhiError
from bhi_fhir.jobs.bulk.job import Job

Json = dict[str, Any]
Task = Callable[[Job, int], Json]


class Crew:
    """Who does the tasks."""

    def __init__(self, job: Job, pool: Executor | None) -> None:
        self._job, self._pool = job, pool

    def step(self, name: str, task: Task, numbers: Sequence[int], told: Callable[[int], None]) -> list[Json]:
        """The results, in the order of the numbers; `told` hears of each that is done."""
        found = {number: self._job.result(name, number) for number in numbers if self._is_done(name, number)}
        for number in found:
            told(number)
        for number, result in self._run(name, task, [number for number in numbers if number not in found]):
            found[number] = result
            told(number)
        return [found[number] for number in numbers]

    def _is_done(self, name: str, number: int) -> bool:
        return self._job.path_of(name, number).exists()

    def _run(self, name: str, task: Task, numbers: list[int]) -> Iterator[tuple[int, Json]]:
        if self._pool is None:
            for number in numbers:
                yield number, _done(self._job, name, task, number)
            return
        futures = {self._pool.submit(_work, self._job.out, name, task, number): number for number in numbers}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            said = "a process of this run was ended from outside (was memory short?): run the same command again"
            raise BhiError(f"{said}; it goes on from here") from error
        finally:
            _cancel(list(futures))


def _cancel(futures: list[Future[Json]]) -> None:
    for future in futures:
        future.cancel()


@contextmanager
def crew(job: Job, processes: int) -> Iterator[Crew]:
    """One process: this one. The others are forked before anything else runs here, and leave Ctrl-C to this one."""
    if processes == 1:
        yield Crew(job, None)
        return
    how = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(how)
    with ProcessPoolExecutor(processes, mp_context=context, initializer=_begin) as pool:
        pool.submit(int).result()
        yield Crew(job, pool)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _work(out: Path, name: str, task: Task, number: int) -> Json:
    return _done(_opened(out), name, task, number)


def _done(job: Job, name: str, task: Task, number: int) -> Json:
    write_whole(job.path_of(name, number), msgspec.json.encode(task(job, number)))
    return job.result(name, number)


@cache
def _opened(out: Path) -> Job:
    return Job.open(out)
