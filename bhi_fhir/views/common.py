"""The FHIR data types that the views share."""

from __future__ import annotations

from decimal import Decimal

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a read raises for JSON that is broken, of another shape, or nested too deep."""


class Part(msgspec.Struct, rename="camel", gc=False):
    """A piece of a resource."""


class Coding(msgspec.Struct, rename="camel", gc=False, frozen=True, cache_hash=True):
    """Frozen, so that what a coding means can be kept by the coding itself."""

    system: str | None = None
    code: str | None = None


class CodeableConcept(Part):
    coding: tuple[Coding, ...] | None = None
    text: str | None = None


class Identifier(Part):
    system: str | None = None
    value: str | None = None


class Reference(Part):
    reference: str | None = None
    type: str | None = None
    identifier: Identifier | None = None


class PeriodPart(Part):
    start: str | None = None
    end: str | None = None


class Quantity(Part):
    value: Decimal | None = None
    comparator: str | None = None
    unit: str | None = None
    system: str | None = None
    code: str | None = None


class Meta(Part):
    last_updated: str | None = None
    version_id: str | None = None
    security: list[Coding] | None = None
    tag: list[Coding] | None = None


class Row(msgspec.Struct, rename="camel", kw_only=True, tag_field="resourceType", tag=str):
    """What every resource has. A view's name is its resource type, by which one decoder tells them all apart."""

    id: str | None = None
    meta: Meta | None = None
    contained: list[msgspec.Raw] | None = None
    modifier_extension: list[msgspec.Raw] | None = None
    """Each may change what all the rest says; none is understood here."""


class Extension(Part):
    url: str | None = None
    value_decimal: Decimal | None = None
    value_integer: Decimal | None = None
    value_code: str | None = None


class Beside(Part):
    """What stands beside a primitive value, or in its place: `_valueInteger` and the like."""

    extension: list[Extension] | None = None


OnlyR5 = msgspec.Raw
"""An element that only R5 has: a resource that carries one is R5 and is set aside, not half read."""
ABSENT = OnlyR5()
