"""Answers of the server that several wait for at once."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

_T = TypeVar("_T")


class Shared(Generic[_T]):
    """Each answer is asked for once, and at most `most` are remembered.

    What raises is not remembered. Whoever stops waiting does not take the answer from the others.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[str, asyncio.Task[_T]] = OrderedDict()

    async def get(self, key: str, ask: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        task = self._known.get(key)
        if task is None or task.cancelled():
            task = self._known[key] = asyncio.create_task(ask())
            task.add_done_callback(lambda done: self._forget(key, done))
            while len(self._known) > self._most:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return await asyncio.shield(task)

    def _forget(self, key: str, done: asyncio.Task[_T]) -> None:
        if (done.cancelled() or done.exception() is not None) and self._known.get(key) is done:
            del self._known[key]
