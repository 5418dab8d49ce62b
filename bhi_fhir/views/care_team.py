"""CareTeam: who works on the case in which role, and when."""

from bhi_fhir.views.common import CodeableConcept, Part, PeriodPart, Reference, Row


class Participant(Part):
    role: list[CodeableConcept] | None = None
    member: Reference | None = None
    period: PeriodPart | None = None


class CareTeam(Row):
    status: str | None = None
    category: list[CodeableConcept] | None = None
    subject: Reference | None = None
    period: PeriodPart | None = None
    participant: list[Participant] | None = None
