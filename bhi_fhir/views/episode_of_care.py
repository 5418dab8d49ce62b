"""EpisodeOfCare: the time during which a program follows the patient."""

from bhi_fhir.views.common import CodeableConcept, PeriodPart, Reference, Row


class EpisodeOfCare(Row):
    status: str | None = None
    type: list[CodeableConcept] | None = None
    patient: Reference | None = None
    period: PeriodPart | None = None
