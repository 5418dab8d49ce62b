"""The FHIR data types that the views share."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a read raises for JSON that is broken, of another shape, or nested too deep."""


class Part(msgspec.Struct, rename="camel", gc=False):
    """A piece of a resource."""


class Coding(Part):
    system: str | None = None
    code: str | None = None


class CodeableConcept(Part):
    coding: list[Coding] | None = None
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


class Row(msgspec.Struct, rename="camel", kw_only=True):
    """What every resource has."""

    id: str | None = None
    meta: Meta | None = None
    contained: list[msgspec.Raw] | None = None

    R5_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """Elements that only R5 has: a resource that carries one is R5 and is set aside, not half read."""
