"""OperationOutcome: what a server says that it did not answer."""

from bhi_fhir.views.common import Part, Row


class Issue(Part):
    severity: str | None = None
    code: str | None = None


class OperationOutcome(Row):
    issue: list[Issue] | None = None
