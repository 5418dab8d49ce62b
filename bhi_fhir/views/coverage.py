"""Coverage: who pays, and when."""

from decimal import Decimal
from typing import ClassVar

from bhi_fhir.views.common import CodeableConcept, PeriodPart, Reference, Row


class Coverage(Row):
    R5_FIELDS: ClassVar[frozenset[str]] = frozenset({"insurer", "paymentBy", "kind"})

    status: str | None = None
    type: CodeableConcept | None = None
    beneficiary: Reference | None = None
    period: PeriodPart | None = None
    order: Decimal | None = None
