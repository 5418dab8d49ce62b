"""A resource that is given several times: which of them counts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec

from bhi_fhir.mapping.source import Source
from bhi_fhir.views import Row
from bhi_fhir.views.common import UNREADABLE, Meta

_VERSION = re.compile(r"[0-9]{1,18}")


@dataclass(slots=True)
class Version:
    """One resource as it was given; `row` None: whether it can be read is seen when it is taken."""

    source: Source
    meta: Meta
    type: str
    row: Row | None = None


def newest(same: list[Version]) -> Version | None:
    """The version that counts; None if they differ and nothing says which is newer."""
    for version in same:
        if all(_not_older(version, other) for other in same if other is not version):
            return version
    return None


def _not_older(version: Version, other: Version) -> bool:
    """Is it newer for certain, by lastUpdated, else by numeric versionId; or does it say the same?"""
    mine, others = version.meta, other.meta
    at, others_at = _instant(mine.last_updated), _instant(others.last_updated)
    if at and others_at and at != others_at:
        return at > others_at
    number, others_number = _number(mine), _number(others)
    if number is not None and others_number is not None and number != others_number:
        return number > others_number
    return content(version.source.json) == content(other.source.json)


def _number(meta: Meta) -> int | None:
    number = meta.version_id or ""
    return int(number) if _VERSION.fullmatch(number) else None


def _instant(text: str | None) -> datetime | None:
    """meta.lastUpdated, whatever its zone; None without one, for then it orders nothing."""
    try:
        found = datetime.fromisoformat(text) if text else None
        return found.astimezone(UTC) if found and found.tzinfo else None
    except (ValueError, OverflowError):
        return None


def content(raw: bytes | msgspec.Raw) -> bytes:
    """What the resource says, in one spelling: without its narrative, of its meta only the labels."""
    try:
        resource: Any = msgspec.json.decode(raw)
    except UNREADABLE:
        return bytes(raw)
    if isinstance(resource, dict):
        resource.pop("text", None)
        meta = resource.pop("meta", None)
        resource["meta"] = [meta.get("security"), meta.get("tag")] if isinstance(meta, dict) else [None, None]
    return msgspec.json.encode(resource, order="deterministic")
