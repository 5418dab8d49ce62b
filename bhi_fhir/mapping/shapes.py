"""R4 or R5? A resource of R5's shape is set aside, not half read."""

from __future__ import annotations

from functools import reduce
from operator import attrgetter, or_

import msgspec

from bhi_fhir.views import VIEWS, Row
from bhi_fhir.views.care_team import CareTeam
from bhi_fhir.views.common import ABSENT, UNREADABLE, OnlyR5
from bhi_fhir.views.encounter import Encounter
from bhi_fhir.views.operation_outcome import OperationOutcome

_ROW: msgspec.json.Decoder[Row] = msgspec.json.Decoder(
    reduce(or_, (view for view in VIEWS.values() if view is not OperationOutcome))
)
"""Any view, by its resourceType: nearly every resource is read in one go."""
_R5_ENCOUNTER = {"completed", "discharged", "discontinued", "on-hold"}
_R5_FIELDS = {view: tuple(f for f in msgspec.structs.fields(view) if f.type is OnlyR5) for view in VIEWS.values()}
_R5_MARKS = {
    view.__name__: tuple((f.encode_name, f'"{f.encode_name}"'.encode()) for f in found)
    for view, found in _R5_FIELDS.items()
}
_R5_OF = {view: attrgetter(*(f.name for f in found)) for view, found in _R5_FIELDS.items() if found}
_NO_R5 = {view: (ABSENT,) * len(found) for view, found in _R5_FIELDS.items()}


def r4_row(raw: bytes | msgspec.Raw) -> Row | None:
    """A resource that is R4 beyond doubt, in one go; None for whatever wants a closer look."""
    try:
        row = _ROW.decode(raw)
    except UNREADABLE:
        return None
    only_r5 = _R5_OF.get(type(row))
    if only_r5 and only_r5(row) != _NO_R5[type(row)]:
        return None
    return None if r5_inside(row) else row


def r5_inside(row: Row) -> str:
    """What only R5 has in a place that R4 has too; "" if there is nothing."""
    if isinstance(row, Encounter) and row.status in _R5_ENCOUNTER:
        return "status"
    covered = isinstance(row, CareTeam) and [
        p for p in row.participant or () if bytes(p.coverage_period) or bytes(p.coverage_timing)
    ]
    return "participant.coverage" if covered else ""


def r5_element(raw: bytes, kind: str) -> str:
    """The element that only R5 has; "" if there is none. Bytes first: nearly every resource is R4."""
    suspects = [name for name, mark in _R5_MARKS[kind] if mark in raw]
    if kind in ("Encounter", "Consent") and not suspects:
        shapes = {"Encounter": b'"class"', "Consent": b'"provision"'}
        if shapes[kind] in raw:
            suspects = [shapes[kind].decode().strip('"')]
    if not suspects:
        return ""
    try:
        top = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return ""
    for name in suspects:
        if name in top and (name not in ("class", "provision") or bytes(top[name]).lstrip().startswith(b"[")):
            return name
    return ""
