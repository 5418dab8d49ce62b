"""Progress: a bar on a terminal, one JSON line per tenth elsewhere. Counts only, never patients."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


@contextmanager
def showing(what: str) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that is told (done, in all)."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Callable[[int, int], None]:
    def say(done: int, total: int) -> None:
        if done == total or done % max(10, total // 10) == 0:
            print(json.dumps({"event": what, "done": done, "of": total}), file=sys.stderr, flush=True)  # noqa: T201

    return say
