"""What every mapping needs: the record, the site's maps, the site's clock; and one patient's rows by type."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from bhi_fhir.domain.record import Withheld
from bhi_fhir.domain.time import Span
from bhi_fhir.domain.value import Value
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.site_reading import AS_USUAL, SiteReading
from bhi_fhir.mapping.terminology import Terminology
from bhi_fhir.views import Row
from bhi_fhir.views.common import PeriodPart

_R = TypeVar("_R", bound=Row)


class Reading(Value, frozen=True):
    record: Record
    terms: Terminology
    clock: Clock
    site: SiteReading = AS_USUAL
    during: Span | None = None
    """The service month; None where no month is asked for and everything that ever was counts."""

    def in_force(self, period: PeriodPart | None) -> bool:
        """Does this period meet the month? Who becomes a nurse practitioner in June is none in March."""
        return self.during is None or self.clock.period(period).meets(self.during)


@dataclass
class PatientRows:
    """One patient's resources: (key, row) by view."""

    by_type: dict[type[Row], list[tuple[str, Row]]] = field(default_factory=lambda: defaultdict(list))
    withheld: list[Withheld] = field(default_factory=list)

    def take(self, key: str, row: Row) -> None:
        self.by_type[type(row)].append((key, row))

    def of(self, view: type[_R]) -> list[tuple[str, _R]]:
        return self.by_type.get(view, [])  # type: ignore[return-value]  # take() files rows by their own type

    def all(self) -> Iterator[tuple[str, Row]]:
        for rows in self.by_type.values():
            yield from rows
