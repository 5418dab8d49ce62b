"""Do two resources say the same? Equal instants and numbers may be spelled differently, and servers add things."""

from __future__ import annotations

from typing import Any

from fhir.resources.R4B.chargeitem import ChargeItem
from fhir.resources.R4B.claim import Claim

from bhi_fhir.delivery.line import Content

_TYPES: dict[str, Any] = {"ChargeItem": ChargeItem, "Claim": Claim}
_NOT_COMPARED = frozenset({"id", "meta", "text", "created", "resource_type", "resourceType"})
"""What the server writes itself, and the day of the run."""


def differences(ours: Content, theirs: Content) -> tuple[str, ...]:
    """One short text for each element that differs, ours first: "status planned → billable". Empty: the same.

    Only codes and numbers are quoted; of what may name a person only the element is named.
    """
    kind = str(ours.get("resourceType"))
    if theirs.get("resourceType") != kind:
        return ("it is another type of resource",)
    try:
        mine, other = _TYPES[kind].model_validate(ours), _TYPES[kind].model_validate(theirs)
    except (ValueError, KeyError):  # KeyError: a contained resource of a type that R4B does not know
        return ("it is no valid R4",)
    names = sorted(set(type(mine).model_fields) - _NOT_COMPARED)
    found = [_said(name, ours, theirs) for name in names if getattr(mine, name) != getattr(other, name)]
    # The server may add labels, and must not have lost one.
    if not _labels(ours) <= _labels(theirs):
        found.insert(0, "meta.security")
    return tuple(found)


def _said(name: str, ours: Content, theirs: Content) -> str:
    quote = _QUOTED.get(name)
    if quote is None:
        return name
    return f"{name} {quote(ours.get(name)) or 'nothing'} → {quote(theirs.get(name)) or 'nothing'}"


def _quantity(value: Any) -> str:
    return str(value.get("value", "")) if isinstance(value, dict) else ""


def _code(value: Any) -> str:
    codings = value.get("coding") if isinstance(value, dict) else None
    return ", ".join(str(c.get("code", "")) for c in codings or () if isinstance(c, dict))[:40]


def _items(value: Any) -> str:
    items = [item for item in value or () if isinstance(item, dict)]
    said = (f"{_code(i.get('productOrService'))} × {_quantity(i.get('quantity'))} on {_day(i)}" for i in items)
    return ", ".join(said)[:200]


def _day(item: Content) -> str:
    return str(item.get("servicedDate") or "no day")[:10]


_QUOTED = {
    "status": lambda value: str(value or "")[:20],
    "quantity": _quantity,
    "code": _code,
    "item": _items,
}


def _labels(content: Content) -> set[tuple[str, str]]:
    meta = content.get("meta")
    labels = meta.get("security") if isinstance(meta, dict) else None
    return {(str(label.get("system") or ""), str(label.get("code") or "")) for label in labels or ()}
