"""Manners towards a site: how many requests a second, and when to leave it alone.

Both are a few lines of arithmetic on an injected clock. Of the libraries for a breaker on PyPI, aiobreaker is of
2021, purgatory of 2024, and pybreaker's asynchronous half is for Tornado; aiolimiter's clock cannot be injected.
"""

import asyncio
from collections.abc import Awaitable, Callable

from bhi_fhir.errors import Unreachable

FAILURES = 12
"""So many failures in a row, retries included, and the site is left alone."""

PAUSE_S = 60.0
"""For so long; then one request tries."""

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]


class Pace:
    """At most `per_second` requests a second, evenly spaced; 0 is no limit."""

    def __init__(self, per_second: float, clock: Clock, sleep: Sleep = asyncio.sleep) -> None:
        self._gap = 1 / per_second if per_second else 0.0
        self._clock = clock
        self._sleep = sleep
        self._next = 0.0

    async def turn(self) -> None:
        """Waits until it is this request's turn."""
        if not self._gap:
            return
        now = self._clock()
        mine = max(now, self._next)
        self._next = mine + self._gap
        if mine > now:
            await self._sleep(mine - now)


class Breaker:
    """Leaves a site alone that fails `FAILURES` times in a row, for `PAUSE_S`; then one request tries.

    Every `enter` is followed by one `leave`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._until = 0.0
        self._trying = False

    @property
    def left_s(self) -> float:
        """Seconds until somebody may try; at least one while somebody does."""
        if self._failures < FAILURES:
            return 0.0
        return max(1.0, self._until - self._clock())

    def enter(self, what: str) -> bool:
        """Whether this request is the one that tries. Raises Unreachable, not sent, while the site is left alone."""
        if self._failures < FAILURES:
            return False
        left = self._until - self._clock()
        if left > 0 or self._trying:
            when = f"is tried again in {max(1, round(left))} s" if left > 0 else "is being tried now"
            raise Unreachable(
                f"{what}: not sent; the server failed {self._failures} times in a row, is left alone and {when}.",
                sent=False,
                passing=False,
            )
        self._trying = True
        return True

    def leave(self, trying: bool, alive: bool | None) -> None:
        """`trying`: what `enter` said. `alive`: whether the server answered; None is unknown."""
        if trying:
            self._trying = False
        if alive:
            self._failures = 0
        elif alive is False:
            self._failures += 1
            self._until = self._clock() + PAUSE_S
