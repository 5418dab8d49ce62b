"""How often one caller may call: a bucket of calls each, which fills again by and by.

The buckets stand in the ledger's database where workers share it, else in this worker's memory. A worker takes a
tenth of a bucket at once and spends it by itself, so that the database is asked at every tenth of it only; what is
taken and not spent is lost, so that all workers together never exceed the rate. Not by `limits`: its memory storage
starts a thread at every call.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.web.problems import Issue, Problem
from bhi_fhir.web.session import digest

_MOST_CALLERS = 10_000
_SHARE = 10
_FORGOTTEN_S = 3600.0


@dataclass(frozen=True)
class Bucket:
    """Half a minute's calls may come at once."""

    per_minute: int

    @property
    def per_second(self) -> float:
        return self.per_minute / 60

    @property
    def room(self) -> float:
        return max(self.per_minute / 2, 1.0)

    def draw(self, left: float, seconds: float) -> tuple[int, float]:
        """Calls that are taken out of what was left so long ago, and what then is left."""
        now = min(self.room, left + max(seconds, 0.0) * self.per_second)
        taken = min(max(int(self.room / _SHARE), 1), int(now))
        return taken, now - taken


class Buckets(Protocol):
    async def draw(self, caller: str, bucket: Bucket) -> tuple[int, float]:
        """As `Bucket.draw`, of this caller's."""


class OwnBuckets:
    """This worker's."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def draw(self, caller: str, bucket: Bucket) -> tuple[int, float]:
        now = self._clock()
        left, then = self._known.pop(caller, (bucket.room, now))
        taken, left = bucket.draw(left, now - then)
        self._known[caller] = (left, now)
        if len(self._known) > _MOST_CALLERS:
            self._known.popitem(last=False)
        return taken, left


class SharedBuckets:
    """Of all workers that share a ledger. `clock`: seconds since 1970, as other machines have them."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._clock = ledger, clock

    async def draw(self, caller: str, bucket: Bucket) -> tuple[int, float]:
        """SiteError if the database fails: then nobody is let in."""
        return await asyncio.to_thread(self._draw, digest(f"{self._ledger.site}\n{caller}"), bucket)

    def _draw(self, key: str, bucket: Bucket) -> tuple[int, float]:
        b = tables.buckets
        with self._ledger.transaction() as db:
            now = self._clock()
            row = db.execute(sa.select(b).where(b.c.key == key).with_for_update()).first()
            taken, left = bucket.draw(row.left, now - row.at) if row else bucket.draw(bucket.room, 0.0)
            if row:
                db.execute(sa.update(b).where(b.c.key == key).values(left=left, at=now))
                return taken, left
            db.execute(sa.delete(b).where(b.c.at < now - _FORGOTTEN_S))
            try:
                db.execute(sa.insert(b).values(key=key, left=left, at=now))
            except sa.exc.IntegrityError:  # another worker's first call came at the same moment
                db.rollback()
                return 0, 1.0
        return taken, left


@dataclass
class _Purse:
    """What is taken out of a bucket and not spent. `again`: when it is worth while to look into the bucket."""

    calls: int = 0
    again: float = 0.0


class Rates:
    """`per_minute`: 0 is no limit."""

    def __init__(
        self, per_minute: int, buckets: Buckets | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._bucket = Bucket(per_minute)
        self._buckets = buckets or OwnBuckets(clock)
        self._clock = clock
        self._purses: OrderedDict[str, _Purse] = OrderedDict()

    async def wait(self, caller: str) -> float:
        """Seconds until this caller may call; 0 if now, and then it has."""
        if not self._bucket.per_minute:
            return 0.0
        purse = self._purse(caller)
        if not purse.calls and self._clock() >= purse.again:
            calls, left = await self._buckets.draw(caller, self._bucket)
            purse.calls += calls
            if not calls:
                purse.again = self._clock() + (1.0 - left) / self._bucket.per_second
        if not purse.calls:
            return max(purse.again - self._clock(), 0.001)
        purse.calls -= 1
        return 0.0

    async def admit(self, caller: str, sentence: str) -> None:
        """Problem 429, which says this and when to come again, for whoever may not call now."""
        if wait := await self.wait(caller):
            raise Problem(429, Issue("throttled", sentence), headers={"Retry-After": str(math.ceil(wait))})

    def _purse(self, caller: str) -> _Purse:
        found = self._purses.pop(caller, None) or _Purse()
        self._purses[caller] = found
        if len(self._purses) > _MOST_CALLERS:
            self._purses.popitem(last=False)
        return found
