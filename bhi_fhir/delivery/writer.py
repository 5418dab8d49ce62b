"""One writer per patient and month, across tasks, processes and, with PostgreSQL, machines.

The lock dies with its holder, so that after a crash nobody waits: an advisory lock of a database session
(PostgreSQL), or a lock of the operating system on a file beside the ledger (SQLite, which is one machine's).
There is no lease and no clock: a writer that is only slow is still the writer.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa
from filelock import FileLock, Timeout
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.pool import NullPool

from bhi_fhir.errors import SiteError

_STRIPES = 256
"""Lock files beside a SQLite ledger. Two keys in one stripe wait for each other, which costs time only."""
_PATIENCE_S = 600.0
_PAUSE_S = 0.02
_BUSY = "Another bhi-fhir has been writing the same patient for ten minutes; see what it waits for, then run again."


class Lock(Protocol):
    def acquire(self) -> bool:
        """At once: whether it is ours now."""

    def release(self) -> None: ...

    def sure(self) -> bool:
        """Whether it is ours still: a database session can be cut off."""


@asynccontextmanager
async def writing(engine: Engine, key: str, patience: float = _PATIENCE_S) -> AsyncIterator[Lock]:
    """Hold the lock of `key`. SiteError if it is not had in `patience` seconds."""
    lock = _lock(engine, key)
    until = time.monotonic() + patience
    while not await asyncio.to_thread(lock.acquire):
        if time.monotonic() > until:
            raise SiteError(_BUSY)
        await asyncio.sleep(_PAUSE_S)
    try:
        yield lock
    finally:
        lock.release()


@contextmanager
def alone(engine: Engine, key: str) -> Iterator[None]:
    """The same for what is not asynchronous."""
    lock = _lock(engine, key)
    until = time.monotonic() + _PATIENCE_S
    while not lock.acquire():
        if time.monotonic() > until:
            raise SiteError(_BUSY)
        time.sleep(_PAUSE_S)
    try:
        yield
    finally:
        lock.release()


def _lock(engine: Engine, key: str) -> Lock:
    digest = hashlib.sha256(key.encode()).digest()
    if engine.dialect.name == "postgresql":
        return _SessionLock(engine, int.from_bytes(digest[:8], "big", signed=True))
    return _FileLock(Path(f"{engine.url.database}.locks"), digest[0] % _STRIPES)


class _FileLock:
    def __init__(self, folder: Path, stripe: int) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise SiteError(f"[delivery] ledger: {folder} cannot be made ({error.strerror}).") from error
        # It may be taken in one thread and given back in another.
        self._file = FileLock(folder / f"{stripe:02x}", blocking=False, thread_local=False)

    def acquire(self) -> bool:
        try:
            self._file.acquire()
        except Timeout:
            return False
        except OSError as error:
            raise SiteError(f"[delivery] ledger: its lock files cannot be used ({error.strerror}).") from error
        return True

    def release(self) -> None:
        self._file.release()

    def sure(self) -> bool:
        return self._file.is_locked


class _SessionLock:
    def __init__(self, engine: Engine, number: int) -> None:
        # A session of its own: a pool could run out while those who hold a lock wait for a connection.
        self._engine = sa.create_engine(engine.url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self._number = number
        self._session: Connection | None = None

    def acquire(self) -> bool:
        try:
            if self._session is None:
                self._session = self._engine.connect()
            got = self._session.scalar(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": self._number})
        except sa.exc.SQLAlchemyError as error:
            raise SiteError(f"[delivery] ledger: the database failed ({type(error).__name__}).") from None
        return bool(got)

    def release(self) -> None:
        """With its session; one that was cut off has given the lock back by that."""
        if self._session is not None:
            self._session.invalidate()
            self._session.close()
        self._engine.dispose()

    def sure(self) -> bool:
        try:
            return self._session is not None and bool(self._session.scalar(sa.text("SELECT 1")))
        except sa.exc.SQLAlchemyError:
            return False
