"""How often one caller may call: a bucket of tokens each, in this worker only.

With several workers each counts for itself, so that a caller may have up to that many times the rate; a count that
they share would need a server of its own. Not by `limits`: its memory storage starts a thread at every call.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_CALLERS = 10_000


class Rates:
    """`per_minute`: 0 is no limit. Half a minute's calls may come at once."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_minute / 60
        self._room = max(per_minute / 2, 1.0)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str) -> float:
        """Seconds until this caller may call; 0 if now, and then it has."""
        if not self._per_second:
            return 0.0
        now = self._clock()
        left, then = self._left.pop(caller, (self._room, now))
        left = min(self._room, left + (now - then) * self._per_second)
        missing = max(0.0, 1.0 - left)
        self._left[caller] = (left if missing else left - 1.0, now)
        if len(self._left) > _MOST_CALLERS:
            self._left.popitem(last=False)
        return missing / self._per_second
