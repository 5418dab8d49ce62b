"""CareTeam: who works on the case in which role, and when."""

import msgspec

from bhi_fhir.views.common import CodeableConcept, Part, PeriodPart, Reference, Row


class Participant(Part):
    role: list[CodeableConcept] | None = None
    member: Reference | None = None
    period: PeriodPart | None = None
    coverage_period: msgspec.Raw = msgspec.Raw()
    """R5's name for the period: whoever reads past it makes a former member a present one."""
    coverage_timing: msgspec.Raw = msgspec.Raw()


class CareTeam(Row):
    status: str | None = None
    category: list[CodeableConcept] | None = None
    subject: Reference | None = None
    period: PeriodPart | None = None
    participant: list[Participant] | None = None
