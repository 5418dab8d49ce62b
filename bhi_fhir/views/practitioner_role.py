"""PractitionerRole: what a person is and for whom the person works."""

from typing import ClassVar

from bhi_fhir.views.common import CodeableConcept, Identifier, PeriodPart, Reference, Row


class PractitionerRole(Row):
    R5_FIELDS: ClassVar[frozenset[str]] = frozenset({"contact", "availability"})

    identifier: list[Identifier] | None = None
    active: bool | None = None
    period: PeriodPart | None = None
    practitioner: Reference | None = None
    organization: Reference | None = None
    code: list[CodeableConcept] | None = None
    specialty: list[CodeableConcept] | None = None
