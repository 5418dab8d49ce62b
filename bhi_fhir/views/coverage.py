"""Coverage: who pays, and when."""

from decimal import Decimal

from bhi_fhir.views.common import ABSENT, CodeableConcept, OnlyR5, PeriodPart, Reference, Row


class Coverage(Row):
    status: str | None = None
    type: CodeableConcept | None = None
    beneficiary: Reference | None = None
    period: PeriodPart | None = None
    order: Decimal | None = None
    insurer: OnlyR5 = ABSENT
    kind: OnlyR5 = ABSENT
    payment_by: OnlyR5 = ABSENT
