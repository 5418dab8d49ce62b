"""Coverage: who pays, and when."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import Cover
from bhi_fhir.mapping.numbers import whole
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.terminology import Codings, codings
from bhi_fhir.views.common import CodeableConcept
from bhi_fhir.views.coverage import Coverage


def covers(rows: PatientRows, reading: Reading) -> Iterator[Cover]:
    for key, row in rows.of(Coverage):
        if row.status in ("draft", "entered-in-error"):
            continue
        period = reading.clock.period(row.period)
        medicare = reading.terms.once(_is_medicare, codings([row.type]), reading)
        ended = row.status == "cancelled" and period.end is None
        doubt = "it is cancelled and nothing says since when" if ended else ""
        if not reading.clock.can_read_period(row.period):
            doubt = "its period has a date that cannot be read"
        yield Cover(key, medicare, period, whole(row.order), doubt)


def _is_medicare(coded: Codings, reading: Reading) -> bool | None:
    """None: no map knows the payer's type."""
    concepts = [CodeableConcept(found) for found in coded]
    if reading.terms.holds("payer-medicare", *concepts):
        return True
    return False if reading.terms.holds("payer-other", *concepts) else None
