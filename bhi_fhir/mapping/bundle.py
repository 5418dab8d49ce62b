"""A Bundle's entries, and what of it is not here: a page that follows, an entry that the server refused."""

from __future__ import annotations

import msgspec

from bhi_fhir.domain.value import Value, replace
from bhi_fhir.mapping.labels import cut_of, meta_of
from bhi_fhir.mapping.source import Source
from bhi_fhir.views.common import UNREADABLE

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


class Opened(Value, frozen=True):
    """`entries`: also those that cannot be read, with their trouble. `cut`: REDACTED, MASKED or SUBSETTED."""

    entries: list[Source]
    links: tuple[Link, ...] = ()
    cut: str = ""


def opened(source: Source) -> Opened:
    """A broken entry costs itself only."""
    if source.at.count("entry[") >= _DEEPEST:
        return Opened([replace(source, trouble="it is a Bundle in too many others", may_hold="*")])
    try:
        bundle = _BUNDLE.decode(source.json)
    except UNREADABLE:
        return Opened([replace(source, trouble="it is a Bundle whose entries cannot be read", may_hold="*")])
    prefix = f"{source.at}." if source.at else ""
    entries = [_entry(source.file, f"{prefix}entry[{index}]", raw) for index, raw in enumerate(bundle.entry or ())]
    return Opened(entries, tuple(_links(bundle.link)), cut_of(meta_of(bundle.meta)))


def _entry(file: str, at: str, raw: msgspec.Raw) -> Source:
    try:
        entry = _ENTRY.decode(raw)
    except UNREADABLE:
        return Source(file, at, raw, trouble="it is no Bundle entry")
    if bytes(entry.resource) in (b"", b"null"):
        held = "*" if _is_refused(entry.response) else ""
        return Source(file, at, raw, trouble="it is a Bundle entry without a resource", may_hold=held)
    return Source(file, at, entry.resource, entry.full_url)


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
