"""What a resource's meta says of it: its version, and whether parts of it are left out."""

from __future__ import annotations

import msgspec

from bhi_fhir.views.common import UNREADABLE, Meta

_CUT = {"REDACTED", "MASKED", "SUBSETTED"}
"""Codes of v3-ObservationValue in meta.security or meta.tag: parts of the resource are left out."""
_META = msgspec.json.Decoder(Meta)


def meta_of(raw: msgspec.Raw) -> Meta:
    """A resource's meta; empty where it cannot be read, and then the resource itself says so."""
    try:
        return _META.decode(raw)
    except UNREADABLE:
        return Meta()


def cut_of(meta: Meta | None) -> str:
    """REDACTED, MASKED or SUBSETTED, whatever the spelling of the system; "" for a whole resource."""
    labels = [*(meta.security or ()), *(meta.tag or ())] if meta else []
    return next((label.code for label in labels if label.code in _CUT), "")
