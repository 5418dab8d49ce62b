"""Progress: a bar on a terminal, one JSON line per tenth elsewhere. Counts only, never patients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from time import monotonic
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from bhi_fhir.jobs.sync import Progress


@contextmanager
def showing(what: str) -> Iterator[Callable[[Progress], None]]:
    """Yields a function that is told how far it is."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what)
        return
    asked = TextColumn("{task.fields[requests]} requests, {task.fields[repeated]} again")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), asked, TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None, requests=0, repeated=0)
        yield lambda now: bar.update(
            task, completed=now.done, total=now.of, requests=now.requests, repeated=now.repeated
        )


def _lines(what: str) -> Callable[[Progress], None]:
    def say(now: Progress) -> None:
        if now.done == now.of or now.done % max(10, now.of // 10) == 0:
            print(json.dumps({"event": what, **asdict(now)}), file=sys.stderr, flush=True)  # noqa: T201

    return say


@contextmanager
def counting(what: str, of: int) -> Iterator[Callable[[int], None]]:
    """Yields a function that is told how much more is done: with rate and time left."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _counted(what, of)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=of)
        yield lambda more: bar.advance(task, more)


def _counted(what: str, of: int) -> Callable[[int], None]:
    started, done, tenth = monotonic(), 0, 0

    def say(more: int) -> None:
        nonlocal done, tenth
        done += more
        if done * 10 // max(of, 1) == tenth:
            return
        tenth = done * 10 // max(of, 1)
        rate = done / max(monotonic() - started, 1e-9)
        line = {"event": f"bulk {what}", "done": done, "of": of, "per_second": round(rate, 1)}
        print(json.dumps({**line, "seconds_left": round((of - done) / rate, 1)}), file=sys.stderr, flush=True)  # noqa: T201

    return say
