"""A Bundle's entries, and what of it is not here: a page that follows, an entry that the server refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from bhi_fhir.domain.record import Withheld
from bhi_fhir.mapping.labels import cut_of, meta_of
from bhi_fhir.mapping.source import Source
from bhi_fhir.mapping.torn import part_of
from bhi_fhir.views.common import UNREADABLE

if TYPE_CHECKING:
    from bhi_fhir.mapping.record import Record

_DEEPEST = 16
"""Bundles within Bundles."""


class _Entry(msgspec.Struct, rename="camel"):
    full_url: str | None = None
    resource: msgspec.Raw = msgspec.Raw()  # `Raw | None` would refuse every value
    response: msgspec.Raw = msgspec.Raw()


class _Response(msgspec.Struct):
    status: str = ""


class Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Bundle(msgspec.Struct):
    link: msgspec.Raw = msgspec.Raw()
    entry: list[msgspec.Raw] | None = None
    meta: msgspec.Raw = msgspec.Raw()


_ENTRY = msgspec.json.Decoder(_Entry)
_BUNDLE = msgspec.json.Decoder(_Bundle)
_LINKS = msgspec.json.Decoder(list[Link])
_RESPONSE = msgspec.json.Decoder(_Response)


def entries_of(source: Source, record: Record) -> Iterator[Source]:
    """The entries of a Bundle; a broken one is set aside and the others go on."""
    if source.at.count("entry[") >= _DEEPEST:
        record.put_aside(source, "", "it is a Bundle in too many others", "*")
        return
    try:
        bundle = _BUNDLE.decode(source.json)
    except UNREADABLE:
        record.put_aside(source, "", "it is a Bundle whose entries cannot be read", "*")
        return
    entries = bundle.entry or []
    record.note_page(_links(bundle.link))
    if cut := cut_of(meta_of(bundle.meta)):
        record.withheld.append((None, Withheld("*", f"the Bundle is marked {cut}: parts of it are left out")))
    prefix = f"{source.at}." if source.at else ""
    for index, raw in enumerate(entries):
        at = f"{prefix}entry[{index}]"
        try:
            entry = _ENTRY.decode(raw)
        except UNREADABLE:
            record.put_aside(Source(source.file, at, raw), "", "it is no Bundle entry", part_of(raw))
            continue
        if bytes(entry.resource) in (b"", b"null"):
            kind = "*" if _is_refused(entry.response) else part_of(raw)
            record.put_aside(Source(source.file, at, raw), "", "it is a Bundle entry without a resource", kind)
        else:
            yield Source(source.file, at, entry.resource, entry.full_url)


def _links(raw: msgspec.Raw) -> list[Link]:
    """None where they cannot be read: what they say besides is not asked for."""
    try:
        return _LINKS.decode(raw) if bytes(raw) else []
    except UNREADABLE:
        return []


def _is_refused(raw: msgspec.Raw) -> bool:
    """Did the server say that it kept back what was asked for? What that is cannot be said."""
    try:
        return bool(bytes(raw)) and _RESPONSE.decode(raw).status.startswith(("4", "5"))
    except UNREADABLE:
        return True
