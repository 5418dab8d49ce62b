"""PractitionerRole: what a person is and for whom the person works."""

from bhi_fhir.views.common import ABSENT, CodeableConcept, Identifier, OnlyR5, PeriodPart, Reference, Row


class PractitionerRole(Row):
    identifier: list[Identifier] | None = None
    active: bool | None = None
    period: PeriodPart | None = None
    practitioner: Reference | None = None
    organization: Reference | None = None
    code: list[CodeableConcept] | None = None
    specialty: list[CodeableConcept] | None = None
    availability: OnlyR5 = ABSENT
    contact: OnlyR5 = ABSENT
