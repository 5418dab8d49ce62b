"""Device: what a device that was used or supplied is."""

from bhi_fhir.views.common import CodeableConcept, Identifier, Row


class Device(Row):
    identifier: list[Identifier] | None = None
    type: CodeableConcept | None = None
