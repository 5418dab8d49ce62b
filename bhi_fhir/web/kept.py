"""The months of the last sync, read from the ledger: nothing is asked of the FHIR server.

Whoever is not on its roster has left it and is not shown.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.domain.decision import Decision
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
    _known: OrderedDict[tuple[str, str, datetime], Any] = field(default_factory=OrderedDict)

    def months(self, month: str, shorten: Callable[[Kept], _T]) -> list[_T]:
        """Every patient of the roster of the last sync of this month, as `shorten` makes it of what is kept.

        It is remembered so; always give the same.
        """
        listed = {key: (key, month, at) for key, at in self.ledger.roster(month).items()}
        found = {key: self._known[known] for key, known in listed.items() if known in self._known}
        for each in self._kept(month, [key for key in listed if key not in found]):
            found[each.key] = self._known[each.key, month, each.read_at] = shorten(each)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return [found[key] for key in listed if key in found]

    def one(self, key: str, month: str) -> Kept | None:
        """The month of the patient with this pseudonym, if on that roster."""
        return next(self._kept(month, [key]), None)

    def key(self, patient: str) -> str:
        return self.ledger.key(patient)

    def has_run(self, month: str) -> bool:
        """Whether any sync of this month has come to its end."""
        return self.ledger.synced(month)

    def newest(self, first: str, last: str) -> str:
        """The newest of these months of which a sync has come to its end; "" if there is none."""
        return self.ledger.newest_synced(first, last)

    def _kept(self, month: str, keys: Sequence[str]) -> Iterator[Kept]:
        return (Kept(*found) for found in self.ledger.kept_of(month, keys, Month))
