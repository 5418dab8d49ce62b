"""What an evaluation is asked with: a Parameters or a bare Bundle, looked at only as far as it must be here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from bhi_fhir.mapping.source import Source
from bhi_fhir.views.common import UNREADABLE
from bhi_fhir.web.problems import bad

RECORD = "record"
"""The name under which what was sent stands in the answer, where files have theirs."""

DEEPEST = 64
"""Levels of braces and brackets; FHIR's own resources have about ten."""

_LONGEST_QUESTION = 2**14
"""Bytes of a body that holds no record: it is read beside the other requests, not in the pool."""

_ALIKE = bytes.maketrans(b"[]", b"{}")
_NO_BRACKETS = bytes(c for c in range(256) if c not in b"{}[]")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_OPENS = ord("{")
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")
_MONTHS = "a month such as 2026-03, from 2000-01 to 2099-12"


class _Sent(msgspec.Struct, rename="camel"):
    resource_type: str
    parameter: list[msgspec.Raw] | None = None
    entry: msgspec.Raw = msgspec.Raw()


class _Parameter(msgspec.Struct, rename="camel"):
    name: str
    value_date: str | None = None
    value_string: str | None = None
    resource: msgspec.Raw = msgspec.Raw()


@dataclass(frozen=True)
class Asked:
    """`record`: the Bundle as it came, b"" if none did; `at`: its FHIRPath in what was sent."""

    month: str
    record: bytes = b""
    at: str = "Bundle"

    @property
    def sources(self) -> list[Source]:
        return [Source(RECORD, "", self.record)]


def read(body: bytes, named: str | None, most_entries: int, *, whole: bool) -> Asked:
    """`named`: the month in the address. `whole`: the record must be in the body. Problem with the place."""
    body = body.removeprefix(_BOM)
    if len(body) > _LONGEST_QUESTION and not whole:
        raise bad("too-long", "The body is longer than a Parameters with a month can be.", status=413)
    if not body.strip() and not whole:
        return Asked(month(named))
    sent = _sent(body)
    kind = sent.resource_type
    if kind == "Bundle" and whole:
        _entries(body, "Bundle", most_entries)
        return Asked(month(named), body)
    if kind != "Parameters":
        raise bad("invalid", f"Send a Parameters{' or a Bundle' if whole else ''}.", "resourceType")
    return _parameters(sent, named, most_entries, whole=whole)


def _sent(body: bytes) -> _Sent:
    try:
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        raise bad("structure", "The body is not a JSON object.") from None
    if _too_deep(body):
        raise bad("structure", f"It is nested deeper than {DEEPEST} levels.")
    try:
        return msgspec.json.decode(body, type=_Sent)
    except UNREADABLE:
        raise bad(
            "structure", "It is no FHIR resource: resourceType is missing, or an element has another shape."
        ) from None


def _parameters(sent: _Sent, named: str | None, most_entries: int, *, whole: bool) -> Asked:
    record, at = b"", ""
    months: list[tuple[str | None, str]] = [(named, "")] if named is not None else []
    for number, raw in enumerate(sent.parameter or ()):
        place = f"Parameters.parameter[{number}]"
        try:
            each = msgspec.json.decode(raw, type=_Parameter)
        except UNREADABLE:
            raise bad("structure", "The parameter has no name, or a value of another shape.", place) from None
        if each.name == "month":
            months.append((each.value_date or each.value_string, place))
        elif each.name == RECORD and whole and not at:
            record, at = bytes(each.resource), f"{place}.resource"
        else:
            raise bad("not-supported", "This operation does not take this parameter, or not twice.", place)
    if whole:
        if not at:
            raise bad("required", "The parameter record is missing: the patient's record as a Bundle.", "Parameters")
        _entries(record, at, most_entries)
    return Asked(_one_month(months), record, at or "Parameters")


def _one_month(said: Sequence[tuple[str | None, str]]) -> str:
    """Of (month, where it stands; "" in the address)."""
    months = {month(text, *filter(None, [place])) for text, place in said or [(None, "Parameters")]}
    if len(months) > 1:
        raise bad("invalid", "Two different months are named.", *filter(None, [said[-1][1]]))
    return months.pop()


def month(text: str | None, *at: str) -> str:
    """A month's text, if it is one. `at`: where it stands, or should, in the body."""
    if text is None:
        raise bad("required", f"The month is missing: give {_MONTHS}.", *at)
    if not _MONTH.fullmatch(text):
        raise bad("value", f"The month is not {_MONTHS}.", *at)
    return text


def _entries(bundle: bytes, at: str, most: int) -> None:
    """A Bundle whose entries are a list of objects: what is wrong within one is set aside, not refused."""
    try:
        sent = msgspec.json.decode(bundle, type=_Sent)
        is_bundle = sent.resource_type == "Bundle"
    except UNREADABLE:
        is_bundle = False
    if not is_bundle:
        raise bad("structure", "The record is no Bundle.", at)
    try:
        entries = msgspec.json.decode(bytes(sent.entry) or b"[]", type=list[msgspec.Raw])
    except UNREADABLE:
        raise bad("structure", "The entries of the Bundle are no list.", f"{at}.entry") from None
    if len(entries) > most:
        raise bad("too-costly", f"The Bundle has more than {most} entries.", f"{at}.entry", status=413)
    for number, raw in enumerate(entries):
        if memoryview(raw)[0] != _OPENS:
            raise bad("structure", "The entry is no object.", f"{at}.entry[{number}]")


def _too_deep(body: bytes) -> bool:
    """Of what is JSON. Brackets within strings are taken out only where they could matter."""
    return _is_deep(body) and _is_deep(_STRING.sub(b"", body))


def _is_deep(text: bytes) -> bool:
    """Each round takes the innermost pairs away."""
    brackets = text.translate(_ALIKE, _NO_BRACKETS)
    for _ in range(DEEPEST):
        if not brackets:
            return False
        brackets = brackets.replace(b"{}", b"")
    return bool(brackets)
