"""Python work beside the event loop, in a few threads with a short line before them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import ParamSpec, TypeVar

from bhi_fhir.web.problems import Issue, Problem

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Pool:
    """`threads` at work and `waiting` in line; whoever comes then is told to come again."""

    def __init__(self, threads: int, waiting: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="decide")
        self._places = BoundedSemaphore(threads + waiting)

    async def run(self, call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Raises what `call` raises, and Problem 503 if the line is full.

        Whoever stops waiting gives up the place in the line; work that has begun is done to its end.
        """
        if not self._places.acquire(blocking=False):
            raise Problem(503, Issue("throttled", "The service is busy; come again."), headers={"Retry-After": "1"})
        job = self._executor.submit(call, *args, **kwargs)
        job.add_done_callback(lambda done: self._places.release())
        return await asyncio.wrap_future(job)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
