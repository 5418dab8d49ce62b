"""Observation: the total of a rating scale."""

from decimal import Decimal

import msgspec

from bhi_fhir.views.common import Beside, CodeableConcept, PeriodPart, Quantity, Reference, Row


class Observation(Row):
    status: str | None = None
    code: CodeableConcept | None = None
    subject: Reference | None = None
    effective_date_time: str | None = None
    effective_instant: str | None = None
    effective_period: PeriodPart | None = None
    issued: str | None = None
    encounter: Reference | None = None
    performer: list[Reference] | None = None
    value_quantity: Quantity | None = None
    value_integer: Decimal | None = None
    value_codeable_concept: CodeableConcept | None = None
    value_string: str | None = None
    beside_integer: Beside | None = msgspec.field(name="_valueInteger", default=None)
    data_absent_reason: CodeableConcept | None = None
