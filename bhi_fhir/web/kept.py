"""The months of the last sync, read from the ledger: nothing is asked of the FHIR server.

A sync that runs now, or was cut off, has replaced part of the months of the one before: both count. Whoever is not
in either has left the roster and is not shown.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.domain.decision import Decision
from bhi_fhir.errors import SiteError

_MOST = 50_000
"""So many months are remembered open, in this worker's memory."""


class Month(msgspec.Struct, frozen=True):
    """What a sync kept of a patient's month, as far as it is shown here."""

    patient: str
    decision: Decision | None = None
    failed: str = ""
    last_contact: str = ""
    scores: tuple[tuple[str, str, int], ...] = ()


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
    _known: OrderedDict[tuple[str, str, datetime], Month] = field(default_factory=OrderedDict)

    def months(self, month: str) -> list[Kept]:
        """Every patient of the roster of the last sync of this month."""
        return self._read(month, None)

    def one(self, key: str, month: str) -> Kept | None:
        """The month of the patient with this pseudonym, if on that roster."""
        found = self._read(month, key)
        return found[0] if found else None

    def key(self, patient: str) -> str:
        return self.ledger.key(patient)

    def has_run(self, month: str) -> bool:
        """Whether any sync of this month has come to its end."""
        r = tables.runs.c
        with self.ledger.engine.begin() as db:
            mine = sa.and_(r.site == self.ledger.site, r.month == month, r.ended_at.is_not(None))
            return db.execute(sa.select(r.id).where(mine).limit(1)).first() is not None

    def _read(self, month: str, key: str | None) -> list[Kept]:
        r, m = tables.runs.c, tables.months.c
        try:
            with self.ledger.engine.begin() as db:
                mine = sa.and_(r.site == self.ledger.site, r.month == month)
                ended = sa.select(sa.func.max(r.started_at)).where(mine, r.ended_at.is_not(None)).scalar_subquery()
                runs = sa.select(r.id).where(mine, r.started_at >= sa.func.coalesce(ended, _FIRST))
                wanted = sa.and_(m.site == self.ledger.site, m.month == month, m.run.in_(runs), m.sealed.is_not(None))
                if key is not None:
                    wanted = sa.and_(wanted, m.patient_key == key)
                rows = db.execute(sa.select(m.patient_key, m.decided_at, m.sealed).where(wanted)).all()
        except sa.exc.SQLAlchemyError as error:
            raise SiteError(f"[delivery] ledger: the database failed ({type(error).__name__}).") from None
        return [self._kept(row, month) for row in rows]

    def _kept(self, row: Any, month: str) -> Kept:
        known = (row.patient_key, month, row.decided_at)
        found = self._known.get(known)
        if found is None:
            found = self._known[known] = msgspec.convert(self.seal.open(row.sealed), Month, strict=False)
            if len(self._known) > _MOST:
                self._known.popitem(last=False)
        read_at = row.decided_at if row.decided_at.tzinfo else row.decided_at.replace(tzinfo=UTC)
        return Kept(row.patient_key, read_at, found)


_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
