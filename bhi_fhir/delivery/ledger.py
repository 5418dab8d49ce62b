"""The ledger: what was handed over, what is known of it, and the last decision of each patient and month.

SQLAlchemy on SQLite or PostgreSQL. Each method is one short transaction and blocks: call it in a thread. Its
identity of a patient is a pseudonym of the site; everything that names the patient is sealed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4, uuid5

import sqlalchemy as sa
import tenacity
from msgspec import structs
from sqlalchemy.engine import Connection, Engine, RootTransaction, make_url

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.line import Draft, Line, State
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.domain.record import Attestation
from bhi_fhir.errors import SiteError

RESUMED_FOR = timedelta(hours=24)
"""A run that was cut off is gone on with for this long; what was read earlier is too old to be the record."""


@dataclass(frozen=True, slots=True)
class Attested:
    """An attestation as it is kept. `basis`: a digest of what it rests on."""

    id: str
    attestation: Attestation
    basis: str
    lapsed: str = ""


class Ledger:
    """One site's part of a ledger. `namespace` is the site's (drafts/identity.py); `now` is the clock."""

    def __init__(self, engine: Engine, site: UUID, seal: Seal, *, now: Any = lambda: datetime.now(UTC)) -> None:
        self.engine = engine
        self.site = str(site)
        self._namespace = site
        self._seal = seal
        self.now = now

    def close(self) -> None:
        """Gives the connections back; it can still be asked."""
        self.engine.dispose()

    def key(self, patient: str) -> str:
        """The pseudonym of "Patient/id"."""
        return str(uuid5(self._namespace, patient))

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            connection, transaction = _begun(self.engine)
            with connection, transaction:
                yield connection
        except sa.exc.SQLAlchemyError as error:
            # Its text holds the statement and its parameters.
            raise SiteError(f"[delivery] ledger: the database failed ({type(error).__name__}).") from None

    # -- lines --------------------------------------------------------------------------------------

    def lines(self, patient: str, month: str) -> list[Line]:
        """Of one patient and month."""
        t = tables.lines.c
        with self._begin() as db:
            found = db.execute(
                sa.select(tables.lines)
                .where(t.site == self.site, t.patient_key == self.key(patient), t.month == month)
                .order_by(t.resource_type, t.code, t.identifier)
            ).all()
        return [self._line(row) for row in found]

    def month_lines(self, month: str) -> list[tuple[str, Line]]:
        """Every line of a month with its patient; those that retention has emptied are left out."""
        t = tables.lines.c
        with self._begin() as db:
            found = db.execute(
                sa.select(tables.lines)
                .where(t.site == self.site, t.month == month, t.sealed.is_not(None))
                .order_by(t.patient_key, t.resource_type, t.code)
            ).all()
        return sorted(((self._patient(row), self._line(row)) for row in found), key=lambda pair: pair[0])

    def patients(self, months: Sequence[str]) -> set[str]:
        """Whoever has lines in these months that may still have to be looked after."""
        t = tables.lines.c
        with self._begin() as db:
            found = db.execute(
                sa.select(tables.lines).where(
                    t.site == self.site, t.month.in_(months), t.state != "withdrawn", t.sealed.is_not(None)
                )
            ).all()
        return {self._patient(row) for row in found}

    def put(self, patient: str, lines: Sequence[Line]) -> None:
        """Write lines down as they are now, all or none."""
        with self._begin() as db:
            for line in lines:
                values = self._row(patient, line)
                key = {"site": values.pop("site"), "identifier": values.pop("identifier")}
                t = tables.lines
                known = sa.and_(t.c.site == key["site"], t.c.identifier == key["identifier"])
                if db.execute(sa.update(t).where(known).values(values)).rowcount == 0:
                    db.execute(sa.insert(t).values({**key, **values}))

    def _row(self, patient: str, line: Line) -> dict[str, Any]:
        sealed = {
            "patient": patient,
            "draft": asdict(line.draft),
            "replaces": asdict(line.replaces) if line.replaces else None,
            "approved_by": line.approved_by,
        }
        return {
            "site": self.site,
            "identifier": line.identifier,
            "patient_key": self.key(patient),
            "month": line.month,
            "code": line.draft.code,
            "resource_type": line.draft.resource_type,
            "state": line.state,
            "sink": line.sink,
            "reference": line.reference,
            "version": line.version,
            "revision": line.revision,
            "witnessed": line.witnessed,
            "reason": line.reason[:1000],
            "approved_at": line.approved_at,
            "changed_at": self.now(),
            "sealed": self._seal.close(sealed),
        }

    def _line(self, row: sa.Row[Any]) -> Line:
        sealed = self._seal.open(row.sealed) if row.sealed else {}
        return Line(
            draft=_draft(row, sealed.get("draft") or {}),
            month=row.month,
            state=cast(State, row.state),
            sink=row.sink,
            reference=row.reference,
            version=row.version,
            revision=row.revision,
            replaces=_draft(row, sealed["replaces"]) if sealed.get("replaces") else None,
            approved_by=sealed.get("approved_by", ""),
            approved_at=_aware(row.approved_at),
            witnessed=row.witnessed,
            reason=row.reason,
            changed_at=_aware(row.changed_at),
        )

    def _patient(self, row: sa.Row[Any]) -> str:
        return str(self._seal.open(row.sealed)["patient"])

    # -- decisions ----------------------------------------------------------------------------------

    def decided(self, run: str, patient: str, month: str, kept: object) -> None:
        """Keep what a run made of a patient's month; the one before it is replaced."""
        t = tables.months
        key = {"site": self.site, "patient_key": self.key(patient), "month": month}
        values = {"run": run, "decided_at": self.now(), "sealed": self._seal.close(kept)}
        same = sa.and_(*(t.c[name] == value for name, value in key.items()))
        with self._begin() as db:
            if db.execute(sa.update(t).where(same).values(values)).rowcount == 0:
                db.execute(sa.insert(t).values({**key, **values}))

    def done(self, run: str, month: str) -> set[str]:
        """The pseudonyms of the patients whose month a run has finished."""
        t = tables.months.c
        with self._begin() as db:
            found = db.execute(
                sa.select(t.patient_key).where(t.site == self.site, t.month == month, t.run == run)
            ).all()
        return {row.patient_key for row in found}

    def kept(self, patient: str, month: str) -> Any:
        """What `decided` kept last; None where there is nothing."""
        t = tables.months.c
        with self._begin() as db:
            row = db.execute(
                sa.select(t.sealed).where(t.site == self.site, t.patient_key == self.key(patient), t.month == month)
            ).first()
        return self._seal.open(row.sealed) if row and row.sealed else None

    # -- runs ---------------------------------------------------------------------------------------

    def begin(self, month: str, fingerprint: str, *, wrote: bool, afresh: bool) -> tuple[str, bool]:
        """(run, resumed): the same run of the last day that was cut off, unless `afresh`; else a new one."""
        t = tables.runs.c
        with self._begin() as db:
            before = db.execute(
                sa.select(t.id, t.fingerprint, t.wrote, t.started_at, t.ended_at)
                .where(t.site == self.site, t.month == month)
                .order_by(t.started_at.desc())
                .limit(1)
            ).first()
            if before is not None and not afresh and before.ended_at is None:
                same = before.fingerprint == fingerprint and before.wrote == wrote
                started = _aware(before.started_at)
                if same and started is not None and self.now() - started < RESUMED_FOR:
                    return before.id, True
            run = str(uuid4())
            db.execute(
                sa.insert(tables.runs).values(
                    id=run,
                    site=self.site,
                    month=month,
                    fingerprint=fingerprint,
                    wrote=wrote,
                    started_at=self.now(),
                )
            )
        return run, False

    def end(self, run: str) -> None:
        with self._begin() as db:
            db.execute(sa.update(tables.runs).where(tables.runs.c.id == run).values(ended_at=self.now()))

    def delivered_months(self) -> list[str]:
        """The months that a run with --write was begun for, in order."""
        t = tables.runs.c
        with self._begin() as db:
            found = db.execute(
                sa.select(t.month).where(t.site == self.site, t.wrote.is_(True)).distinct().order_by(t.month)
            )
            return [row.month for row in found]

    # -- attestations -------------------------------------------------------------------------------

    def attest(self, patient: str, month: str, attestation: Attestation, basis: str) -> str:
        """Keep what a named person vouches for; its id."""
        made = str(uuid4())
        values = {**structs.asdict(attestation), "on": str(attestation.on), "basis": basis}
        with self._begin() as db:
            db.execute(
                sa.insert(tables.attestations).values(
                    id=made,
                    site=self.site,
                    patient_key=self.key(patient),
                    month=month,
                    requirement=attestation.requirement,
                    made_at=self.now(),
                    lapsed="",
                    sealed=self._seal.close(values),
                )
            )
        return made

    def attested(self, patient: str, month: str) -> list[Attested]:
        """What holds still, in the order in which it was made."""
        t = tables.attestations.c
        with self._begin() as db:
            found = db.execute(
                sa.select(tables.attestations)
                .where(t.site == self.site, t.patient_key == self.key(patient), t.month == month, t.lapsed == "")
                .order_by(t.made_at)
            ).all()
        return [self._attested(row) for row in found if row.sealed]

    def _attested(self, row: sa.Row[Any]) -> Attested:
        said = self._seal.open(row.sealed)
        basis = said.pop("basis")
        return Attested(row.id, Attestation(**{**said, "on": datetime.fromisoformat(said["on"]).date()}), basis)

    def lapse(self, attestation: str, why: str) -> None:
        t = tables.attestations
        with self._begin() as db:
            db.execute(sa.update(t).where(t.c.id == attestation).values(lapsed=why[:200]))

    # -- retention ----------------------------------------------------------------------------------

    def forget_before(self, month: str) -> int:
        """Empty what names patients in months before `month`; that a line was delivered stays known."""
        emptied = 0
        with self._begin() as db:
            for table in (tables.lines, tables.months, tables.attestations):
                old = sa.and_(table.c.site == self.site, table.c.month < month, table.c.sealed.is_not(None))
                emptied += db.execute(sa.update(table).where(old).values(sealed=None)).rowcount
        return emptied


def open_ledger(url: str, folder: Path, site: UUID, seal: Seal) -> Ledger:
    """The ledger at an SQLAlchemy URL, its tables made or migrated. SiteError where that cannot be done.

    A relative SQLite path is relative to `folder`: a ledger that moved with the working directory would be
    two ledgers, and two ledgers are two writers.
    """
    engine = engine_of(url, folder)
    from bhi_fhir.delivery.migrating import migrate  # noqa: PLC0415  # Alembic is needed once

    try:
        _again(migrate)(engine)
    except sa.exc.SQLAlchemyError as error:
        raise SiteError(f"[delivery] ledger: the database cannot be used ({type(error).__name__}).") from None
    return Ledger(engine, site, seal)


# A killed process leaves SQLite a log to recover; who opens the file in that moment may be refused it.
_again = tenacity.retry(
    retry=tenacity.retry_if_exception_type(sa.exc.OperationalError),
    stop=tenacity.stop_after_attempt(6),
    wait=tenacity.wait_random_exponential(multiplier=0.05, max=1.0),
    reraise=True,
)


@_again
def _begun(engine: Engine) -> tuple[Connection, RootTransaction]:
    connection = engine.connect()
    try:
        return connection, connection.begin()
    except BaseException:
        connection.close()
        raise


def engine_of(url: str, folder: Path) -> Engine:
    """Of an SQLAlchemy URL, not yet connected. SiteError if it is not SQLite's or PostgreSQL's."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            file = parsed.database or ""
            if file in ("", ":memory:"):
                raise SiteError("[delivery] ledger: a ledger in memory forgets what it sent; name a file.")
            parsed = parsed.set(database=str(folder / file))
            engine = sa.create_engine(parsed, connect_args={"timeout": 60})
            sa.event.listen(engine, "connect", _careful)
            sa.event.listen(engine, "begin", _immediate)
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


def _immediate(connection: Connection) -> None:
    """A writer takes its turn at the start: a read that became a write in between would fail, not wait."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _draft(row: sa.Row[Any], kept: dict[str, Any]) -> Draft:
    return Draft(
        identifier=row.identifier,
        resource_type=row.resource_type,
        code=row.code,
        content=kept.get("content", {}),
        served=tuple((day, units) for day, units in kept.get("served", ())),
        diagnoses=tuple(kept.get("diagnoses", ())),
    )


def _aware(moment: datetime | None) -> datetime | None:
    """SQLite forgets the zone; everything is written in UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment
