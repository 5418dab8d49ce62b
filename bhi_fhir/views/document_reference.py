"""DocumentReference: a signed or scanned form, where a site keeps consent in documents."""

from bhi_fhir.views.common import CodeableConcept, Part, PeriodPart, Reference, Row


class Context(Part):
    period: PeriodPart | None = None


class DocumentReference(Row):
    status: str | None = None
    doc_status: str | None = None
    type: CodeableConcept | None = None
    subject: Reference | None = None
    date: str | None = None
    author: list[Reference] | None = None
    custodian: Reference | None = None
    context: Context | None = None
