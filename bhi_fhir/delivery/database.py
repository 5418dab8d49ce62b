"""The ledger's database, SQLite or PostgreSQL: how it is opened, and how a transaction begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import sqlalchemy as sa
import tenacity
from sqlalchemy.engine import Connection, Engine, RootTransaction, make_url

from bhi_fhir.errors import SiteError

READS = "bhi_fhir_reads"
"""The execution option of a connection whose next transaction only reads."""

# A killed process leaves SQLite a log to recover; who opens the file in that moment may be refused it.
again = tenacity.retry(
    retry=tenacity.retry_if_exception_type(sa.exc.OperationalError),
    stop=tenacity.stop_after_attempt(6),
    wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
    reraise=True,
)


@again
def begun(engine: Engine, *, read: bool) -> tuple[Connection, RootTransaction]:
    """A connection and its transaction. `read`: nothing is written in it, and so on SQLite it waits for no writer."""
    connection = engine.connect().execution_options(**{READS: read})
    try:
        return connection, connection.begin()
    except BaseException:
        connection.close()
        raise


def engine_of(url: str, folder: Path) -> Engine:
    """Of an SQLAlchemy URL; a relative SQLite path is relative to `folder`. SiteError for any other database."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            file = parsed.database or ""
            if file in ("", ":memory:"):
                raise SiteError("[delivery] ledger: a ledger in memory forgets what it sent; name a file.")
            parsed = parsed.set(database=str(folder / file))
            engine = sa.create_engine(parsed, connect_args={"timeout": 60})
            sa.event.listen(engine, "connect", _careful)
            sa.event.listen(engine, "begin", _begin)
            return engine
        if parsed.get_backend_name() == "postgresql":
            return sa.create_engine(parsed, pool_pre_ping=True, pool_size=8, max_overflow=56)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError, ModuleNotFoundError):
        raise SiteError(
            "[delivery] ledger: give sqlite:///FILE, or postgresql+psycopg://… with 'bhi-fhir[postgresql]' installed."
        ) from None
    raise SiteError("[delivery] ledger: only SQLite and PostgreSQL are supported.")


def _careful(connection: Any, _: object) -> None:
    """What is committed survives a power cut, and what is deleted is gone."""
    connection.isolation_level = None
    for pragma in ("synchronous=FULL", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    """A writer takes its turn at the start: a read that became a write in between would fail, not wait."""
    if not connection.get_execution_options().get(READS):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        return
    connection.exec_driver_sql("BEGIN")
    connection.exec_driver_sql("SELECT 1 FROM sqlite_master LIMIT 1")  # it begins with its first read
