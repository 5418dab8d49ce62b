"""Encounter: a contact or a piece of work, by whom, when, how long."""

import msgspec

from bhi_fhir.views.common import (
    ABSENT,
    CodeableConcept,
    Coding,
    Identifier,
    OnlyR5,
    Part,
    PeriodPart,
    Quantity,
    Reference,
    Row,
)


class Participant(Part):
    individual: Reference | None = None


class EncounterDiagnosis(Part):
    condition: Reference | None = None


class Encounter(Row):
    identifier: list[Identifier] | None = None
    status: str | None = None
    class_: Coding | None = msgspec.field(name="class", default=None)
    type: list[CodeableConcept] | None = None
    service_type: CodeableConcept | None = None
    subject: Reference | None = None
    participant: list[Participant] | None = None
    period: PeriodPart | None = None
    length: Quantity | None = None
    reason_code: list[CodeableConcept] | None = None
    diagnosis: list[EncounterDiagnosis] | None = None
    actual_period: OnlyR5 = ABSENT
    admission: OnlyR5 = ABSENT
    planned_end_date: OnlyR5 = ABSENT
    planned_start_date: OnlyR5 = ABSENT
    reason: OnlyR5 = ABSENT
    subject_status: OnlyR5 = ABSENT
