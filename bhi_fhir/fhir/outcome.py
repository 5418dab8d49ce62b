"""OperationOutcome -> codes and sentences.

Only codes are taken: `diagnostics` and `details.text` hold names and identifiers on real servers.
"""

import re

import msgspec

from bhi_fhir.views.common import UNREADABLE

_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,39}")
# Epic's codes for a record that is seen only by breaking the glass, such as a sensitive psychiatric visit.
_BREAK_THE_GLASS = frozenset({"4130", "4131", "4134"})


class _Coding(msgspec.Struct):
    code: str | None = None


class _Details(msgspec.Struct):
    coding: list[_Coding] = []


class _Issue(msgspec.Struct):
    severity: str = ""
    code: str = ""
    details: _Details | None = None

    def codes(self) -> list[str]:
        """The issue type, then the coded details: `["suppressed", "4131"]`."""
        coded = [coding.code or "" for coding in self.details.coding] if self.details else []
        return [code for code in (self.code, *coded) if _CODE.fullmatch(code)]


class _Outcome(msgspec.Struct, tag_field="resourceType", tag="OperationOutcome"):
    issue: list[_Issue] = []


_decode = msgspec.json.Decoder(_Outcome).decode


def issue_codes(body: bytes | msgspec.Raw) -> list[str]:
    """The codes of all issues, each once; empty if this is no readable OperationOutcome."""
    try:
        issues = _decode(body).issue
    except UNREADABLE:
        return []
    return list(dict.fromkeys(code for issue in issues for code in issue.codes()))


def withheld_sentences(body: bytes | msgspec.Raw, resource_type: str) -> list[str]:
    """One sentence for each issue that is more than information: part of the answer was kept back."""
    try:
        issues = _decode(body).issue
    except UNREADABLE:
        return [f"The server says something about {resource_type} that cannot be read."]
    return [_sentence(issue, resource_type) for issue in issues if issue.severity != "information"]


def _sentence(issue: _Issue, resource_type: str) -> str:
    codes = issue.codes()
    said = ", ".join(codes) or "without a code"
    if _BREAK_THE_GLASS.intersection(codes):
        return f"The server keeps back {resource_type} of a protected record, break-the-glass ({said})."
    return f"The server's answer for {resource_type} is not whole ({said})."
