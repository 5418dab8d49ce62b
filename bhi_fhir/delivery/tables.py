"""The ledger's tables. A change here comes with a migration in migrations/versions (a test compares them).

What is sealed (seal.py) holds patient data; all else can be read by whoever looks after the database: which
code of which month of which pseudonym stands in which state.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import Boolean, Column, DateTime, Float, Index, Integer, LargeBinary, MetaData, String, Table
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

metadata = MetaData()


class Instant(TypeDecorator[datetime]):
    """Aware, in UTC: SQLite forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


lines = Table(
    "lines",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("identifier", String(64), primary_key=True),
    Column("patient_key", String(36), nullable=False),
    Column("month", String(7), nullable=False),
    Column("code", String(200), nullable=False),
    Column("resource_type", String(40), nullable=False),
    Column("state", String(12), nullable=False),
    Column("sink", String(12), nullable=False),
    Column("reference", String(200), nullable=False),
    Column("version", String(100), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("witnessed", Boolean, nullable=False),
    Column("reason", String(1000), nullable=False),
    Column("approved_at", Instant),
    Column("changed_at", Instant, nullable=False),
    Column("sealed", LargeBinary),
    Index("lines_of_a_patient_month", "site", "patient_key", "month"),
    Index("lines_of_a_month", "site", "month"),
)
"""One row per draft. `sealed`: {patient, draft, replaces, approved_by}; NULL once retention has taken it."""

months = Table(
    "patient_months",
    metadata,
    Column("site", String(64), primary_key=True),
    Column("patient_key", String(36), primary_key=True),
    Column("month", String(7), primary_key=True),
    Column("run", String(36), nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("sealed", LargeBinary),
    Index("months_of_a_run", "site", "month", "run"),
)
"""The last decision of each patient and month, for the caseload and for a run that is resumed."""

runs = Table(
    "runs",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("month", String(7), nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("wrote", Boolean, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Index("runs_of_a_month", "site", "month"),
)
"""`fingerprint`: of the site's folder and of the program, so that a run is only resumed as the same run."""

attestations = Table(
    "attestations",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("patient_key", String(36), nullable=False),
    Column("month", String(7), nullable=False),
    Column("requirement", String(40), nullable=False),
    Column("made_at", Instant, nullable=False),
    Column("lapsed", String(200), nullable=False),
    Column("sealed", LargeBinary),
    Index("attestations_of_a_patient_month", "site", "patient_key", "month"),
)
"""`lapsed`: why it no longer holds, "" while it does. `sealed`: {by, on, because, reference, basis}."""

# -- what the workers of the service share (web/) ----------------------------------------------------

sessions = Table(
    "web_sessions",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("site", String(64), nullable=False),
    Column("kind", String(12), nullable=False),
    Column("browser", String(64), nullable=False),
    Column("until", Instant, nullable=False),
    Column("ends", Instant, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Index("web_sessions_of_a_browser", "site", "browser", "kind"),
)
"""Who is signed in. `key`, `browser`: digests of what opens it; `sealed` holds tokens and whose page it is."""

seen = Table(
    "web_seen",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("until", Instant, nullable=False),
)
"""What may come once: the digest of a token's issuer and jti."""

buckets = Table(
    "web_buckets",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("left", Float, nullable=False),
    Column("at", Float, nullable=False),
)
"""How many calls a caller (`key`: a digest) had left at a moment, in seconds since 1970."""
