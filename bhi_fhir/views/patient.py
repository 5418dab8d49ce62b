"""Patient: who it is, whether alive, and whether merged into another."""

import msgspec

from bhi_fhir.views.common import Identifier, Part, Reference, Row


class Link(Part):
    other: Reference | None = None
    type: str | None = None


class Patient(Row):
    identifier: list[Identifier] | None = None
    deceased_boolean: bool | None = None
    deceased_date_time: str | None = None
    deceased_undated: dict[str, msgspec.Raw] | None = msgspec.field(name="_deceasedDateTime", default=None)
    """What stands beside a deceasedDateTime, or in the place of one: why there is no date."""
    link: list[Link] | None = None
