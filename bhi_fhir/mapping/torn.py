"""What can be told of something that cannot be read: of which type it is, whose, and from which day."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bhi_fhir.mapping.source import SUBJECT
from bhi_fhir.views import VIEWS
from bhi_fhir.views.common import UNREADABLE
from bhi_fhir.views.r4_types import R4_TYPES

_TYPE_MARK = re.compile(rb'"resourceType"\s*:\s*"([A-Za-z]+)"')
_SPEAKS_OF_OTHERS = frozenset({"Bundle", "OperationOutcome"})
_SNIFFED = 1 << 16
"""How much of something unreadable is searched for its type."""
_OPENING, _ELEMENT, _COMMA = re.compile(r"\s*\{"), re.compile(r'\s*"(\w+)"\s*:\s*'), re.compile(r"\s*,")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def part_of(raw: bytes | msgspec.Raw) -> str:
    """Which part of the record is missing with something unreadable: a type, "" for nothing, "*" for who knows.

    JSON that names no type is no resource, and nothing is missing with it; a torn resource says its type or not.
    """
    start = bytes(raw)[:_SNIFFED]
    found = {mark.decode() for mark in _TYPE_MARK.findall(start)}
    if len(found) > 1 and not _is_json(raw):
        return "*"  # two resources ran into each other
    first = _TYPE_MARK.search(start)
    if first:
        kind = first[1].decode()
        if kind in VIEWS and kind != "OperationOutcome":
            return kind
        return "" if kind in R4_TYPES - _SPEAKS_OF_OTHERS else "*"
    return "" if _is_json(raw) else "*"


def _is_json(raw: bytes | msgspec.Raw) -> bool:
    try:
        msgspec.json.decode(raw)
    except UNREADABLE:
        return False
    return True


def what_can_be_read(raw: bytes | msgspec.Raw, kind: str) -> tuple[str | None, str]:
    """Of a broken resource: the patient whom it names, and the day from which it speaks; None and "" if neither."""
    try:
        resource: Any = None if kind == "*" else msgspec.json.decode(raw)
    except UNREADABLE:
        resource = _whole_elements(bytes(raw))
    patient = _at(resource, SUBJECT.get(kind, ""), "reference")
    if kind == "Patient" and (name := _at(resource, "id")):
        patient = f"Patient/{name}"
    if patient and not patient.isprintable():
        patient = None  # the tear goes through the name
    days = [
        _at(resource, "period", "start"),
        _at(resource, "performedPeriod", "start"),
        _at(resource, "performedDateTime"),
        _at(resource, "actualPeriod", "start"),
    ]
    return patient, next((d[:10] for d in days if d and _DAY.match(d)), "")


def _whole_elements(torn: bytes) -> dict[str, Any]:
    """The elements of a torn resource that stand whole before the place where it is torn.

    None where two resources ran into each other: the first says nothing about the second.
    """
    from json import JSONDecoder  # noqa: PLC0415  # a torn resource is rare: no other start waits for it

    tolerant = JSONDecoder(strict=False)
    text = torn.decode(errors="surrogateescape")
    found: dict[str, Any] = {}
    place = _OPENING.match(text) if text.count('"resourceType"') == 1 else None
    while place and (name := _ELEMENT.match(text, place.end())):
        try:
            found[name[1]], end = tolerant.raw_decode(text, name.end())
        except (ValueError, RecursionError):
            break
        place = _COMMA.match(text, end)
    return found


def _at(resource: Any, *path: str) -> str | None:
    for name in path:
        resource = resource.get(name) if isinstance(resource, dict) else None
    return resource if isinstance(resource, str) else None
