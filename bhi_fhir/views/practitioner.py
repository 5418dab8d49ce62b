"""Practitioner: a person, and what the qualifications say the person is."""

from bhi_fhir.views.common import CodeableConcept, Identifier, Part, PeriodPart, Row


class Qualification(Part):
    code: CodeableConcept | None = None
    period: PeriodPart | None = None


class Practitioner(Row):
    identifier: list[Identifier] | None = None
    qualification: list[Qualification] | None = None
