"""Organization: only what references need."""

from bhi_fhir.views.common import Identifier, Row


class Organization(Row):
    identifier: list[Identifier] | None = None
