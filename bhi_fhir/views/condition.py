"""Condition: a diagnosis, how sure it is, and when it was in force."""

from bhi_fhir.views.common import CodeableConcept, Identifier, PeriodPart, Reference, Row


class Condition(Row):
    identifier: list[Identifier] | None = None
    clinical_status: CodeableConcept | None = None
    verification_status: CodeableConcept | None = None
    code: CodeableConcept | None = None
    subject: Reference | None = None
    onset_date_time: str | None = None
    onset_period: PeriodPart | None = None
    abatement_date_time: str | None = None
    abatement_period: PeriodPart | None = None
    recorded_date: str | None = None
