"""Patient: who it is, whether alive, and whether merged into another."""

from bhi_fhir.views.common import Identifier, Part, Reference, Row


class Link(Part):
    other: Reference | None = None
    type: str | None = None


class Patient(Row):
    identifier: list[Identifier] | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    link: list[Link] | None = None
