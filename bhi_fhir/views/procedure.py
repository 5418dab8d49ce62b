"""Procedure: a piece of work, by whom, when."""

from typing import ClassVar

from bhi_fhir.views.common import CodeableConcept, Part, PeriodPart, Reference, Row


class Performer(Part):
    actor: Reference | None = None


class FocalDevice(Part):
    manipulated: Reference | None = None


class Procedure(Row):
    R5_FIELDS: ClassVar[frozenset[str]] = frozenset(
        {"occurrenceDateTime", "occurrencePeriod", "occurrenceString", "occurrenceAge", "reportedBoolean"}
    )

    status: str | None = None
    code: CodeableConcept | None = None
    subject: Reference | None = None
    encounter: Reference | None = None
    performed_date_time: str | None = None
    performed_period: PeriodPart | None = None
    performer: list[Performer] | None = None
    reason_code: list[CodeableConcept] | None = None
    focal_device: list[FocalDevice] | None = None
    used_reference: list[Reference] | None = None
    used_code: list[CodeableConcept] | None = None
