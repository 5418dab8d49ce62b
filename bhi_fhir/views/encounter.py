"""Encounter: a contact or a piece of work, by whom, when, how long."""

from typing import ClassVar

import msgspec

from bhi_fhir.views.common import CodeableConcept, Coding, Identifier, Part, PeriodPart, Quantity, Reference, Row


class Participant(Part):
    individual: Reference | None = None


class EncounterDiagnosis(Part):
    condition: Reference | None = None


class Encounter(Row):
    R5_FIELDS: ClassVar[frozenset[str]] = frozenset(
        {"actualPeriod", "plannedStartDate", "plannedEndDate", "admission", "subjectStatus", "reason"}
    )

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
