"""Coverage: who pays, and when."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import Cover
from bhi_fhir.mapping.numbers import whole
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.views.coverage import Coverage


def covers(rows: PatientRows, reading: Reading) -> Iterator[Cover]:
    for key, row in rows.of(Coverage):
        if row.status in ("draft", "entered-in-error"):
            continue
        period = reading.clock.period(row.period)
        medicare: bool | None = None
        if reading.terms.holds("payer-medicare", row.type):
            medicare = True
        elif reading.terms.holds("payer-other", row.type):
            medicare = False
        ended = row.status == "cancelled" and period.end is None
        doubt = "it is cancelled and nothing says since when" if ended else ""
        if not reading.clock.can_read_period(row.period):
            doubt = "its period has a date that cannot be read"
        yield Cover(key, medicare, period, whole(row.order), doubt)
