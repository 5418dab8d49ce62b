"""Procedure: a piece of work, by whom, when."""

from bhi_fhir.views.common import ABSENT, CodeableConcept, OnlyR5, Part, PeriodPart, Reference, Row


class Performer(Part):
    actor: Reference | None = None


class FocalDevice(Part):
    manipulated: Reference | None = None


class Procedure(Row):
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
    occurrence_age: OnlyR5 = ABSENT
    occurrence_date_time: OnlyR5 = ABSENT
    occurrence_period: OnlyR5 = ABSENT
    occurrence_string: OnlyR5 = ABSENT
    reported_boolean: OnlyR5 = ABSENT
