"""The ledger's tables by Alembic: made, or brought up to date, once per version and by one process at a time."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.engine import Connection, Engine

from bhi_fhir.delivery.database import READS
from bhi_fhir.delivery.writer import alone
from bhi_fhir.errors import SiteError

FOLDER = Path(__file__).parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    made = Config()
    made.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def migrate(engine: Engine) -> None:
    """Bring the tables to this version. SiteError for a ledger of a later version."""
    scripts = ScriptDirectory.from_config(config())
    head = scripts.get_current_head()
    with alone(engine, "migration"):
        now = _version(engine)
        if now == head:
            return
        _write_ahead(engine)
        try:
            if now is not None:
                scripts.get_revision(now)
        except CommandError:
            raise SiteError("[delivery] ledger: it was written by a later bhi-fhir; update this one.") from None
        with engine.begin() as connection:
            command.upgrade(config(connection), "head")


def _write_ahead(engine: Engine) -> None:
    """SQLite: readers do not wait for writers. Kept in the file, and only to be changed while nobody else is there."""
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA journal_mode=WAL")


def _version(engine: Engine) -> str | None:
    with engine.connect().execution_options(**{READS: True}) as connection:
        if not sa.inspect(connection).has_table("alembic_version"):
            return None
        return MigrationContext.configure(connection).get_current_revision()
