"""ChargeItem: a service that is charged, or our own draft of one."""

from bhi_fhir.views.common import CodeableConcept, Identifier, Part, PeriodPart, Quantity, Reference, Row


class ChargePerformer(Part):
    actor: Reference | None = None


class ChargeItem(Row):
    identifier: list[Identifier] | None = None
    status: str | None = None
    code: CodeableConcept | None = None
    subject: Reference | None = None
    occurrence_date_time: str | None = None
    occurrence_period: PeriodPart | None = None
    performer: list[ChargePerformer] | None = None
    quantity: Quantity | None = None
