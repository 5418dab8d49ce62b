"""The months of the last sync, read from the ledger: nothing is asked of the FHIR server.

A sync that runs now, or was cut off, has replaced part of the months of the one before: both count. Whoever is not
in either has left the roster and is not shown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.domain.decision import Decision
from bhi_fhir.errors import SiteError
from bhi_fhir.jobs.people import NOBODY, Patient

_MOST = 20_000
"""So many are remembered, in this worker's memory."""

_T = TypeVar("_T")


class Month(msgspec.Struct, frozen=True):
    """What a sync kept of a patient's month, as far as it is shown here."""

    patient: str
    decision: Decision | None = None
    failed: str = ""
    last_contact: str = ""
    scores: tuple[tuple[str, str, int], ...] = ()
    who: Patient = NOBODY


@dataclass(frozen=True)
class Kept:
    """`key`: the patient's pseudonym. `read_at`: when the record was read."""

    key: str
    read_at: datetime
    month: Month


@dataclass
class LastSync:
    """One site's. Blocks: call it in a thread."""

    ledger: Ledger
    seal: Seal
    _known: OrderedDict[tuple[str, str, datetime], Any] = field(default_factory=OrderedDict)

    def months(self, month: str, shorten: Callable[[Kept], _T]) -> list[_T]:
        """Every patient of the roster of the last sync of this month, as `shorten` makes it of what is kept.

        It is remembered so; always give the same.
        """
        found = []
        for row in self._read(month, None):
            known = (row.patient_key, month, row.decided_at)
            if known not in self._known:
                self._known[known] = shorten(self._kept(row))
                if len(self._known) > _MOST:
                    self._known.popitem(last=False)
            found.append(self._known[known])
        return found

    def one(self, key: str, month: str) -> Kept | None:
        """The month of the patient with this pseudonym, if on that roster."""
        found = self._read(month, key)
        return self._kept(found[0]) if found else None

    def key(self, patient: str) -> str:
        return self.ledger.key(patient)

    def has_run(self, month: str) -> bool:
        """Whether any sync of this month has come to its end."""
        r = tables.runs.c
        with self.ledger.engine.begin() as db:
            mine = sa.and_(r.site == self.ledger.site, r.month == month, r.ended_at.is_not(None))
            return db.execute(sa.select(r.id).where(mine).limit(1)).first() is not None

    def newest(self, first: str, last: str) -> str:
        """The newest of these months of which a sync has come to its end; "" if there is none."""
        r = tables.runs.c
        with self.ledger.engine.begin() as db:
            mine = sa.and_(r.site == self.ledger.site, r.ended_at.is_not(None), r.month.between(first, last))
            return db.execute(sa.select(sa.func.max(r.month)).where(mine)).scalar() or ""

    def _read(self, month: str, key: str | None) -> Sequence[Any]:
        r, m = tables.runs.c, tables.months.c
        try:
            with self.ledger.engine.begin() as db:
                mine = sa.and_(r.site == self.ledger.site, r.month == month)
                ended = sa.select(sa.func.max(r.started_at)).where(mine, r.ended_at.is_not(None)).scalar_subquery()
                runs = sa.select(r.id).where(mine, r.started_at >= sa.func.coalesce(ended, _FIRST))
                wanted = sa.and_(m.site == self.ledger.site, m.month == month, m.run.in_(runs), m.sealed.is_not(None))
                if key is not None:
                    wanted = sa.and_(wanted, m.patient_key == key)
                return db.execute(sa.select(m.patient_key, m.decided_at, m.sealed).where(wanted)).all()
        except sa.exc.SQLAlchemyError as error:
            raise SiteError(f"[delivery] ledger: the database failed ({type(error).__name__}).") from None

    def _kept(self, row: Any) -> Kept:
        read_at = row.decided_at if row.decided_at.tzinfo else row.decided_at.replace(tzinfo=UTC)
        return Kept(row.patient_key, read_at, self.seal.open(row.sealed, Month))


_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
