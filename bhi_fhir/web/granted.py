"""What an EHR granted a launch, by SMART scopes of version 2 or 1: what can be read, and may it be written."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from bhi_fhir.mapping.source import SUBJECT

_SCOPE = re.compile(r"(patient|user)/(\*|[A-Z][A-Za-z]{2,39})\.(c?r?u?d?s?|read|write|\*)")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}
_PEOPLE = ("Practitioner", "PractitionerRole", "Organization")
_WRITTEN = ("ChargeItem", "Claim")

RECORD = tuple(sorted(SUBJECT))
"""The types that a month is decided from."""


def wanted(*, standalone: bool, v1: bool) -> str:
    """The scopes to ask for; `v1` for a server that knows no others."""
    read, person, write = ("read", "read", "write") if v1 else ("rs", "rs", "cu")
    asked = [
        "openid",
        "fhirUser",
        "launch/patient" if standalone else "launch",
        "online_access",
        f"patient/Patient.{read}",
        *(f"patient/{kind}.{read}" for kind in RECORD if kind != "Patient"),
        *(f"user/{kind}.{person}" for kind in _PEOPLE),
        *(f"user/{kind}.{write}" for kind in _WRITTEN),
        "user/Provenance.write" if v1 else "user/Provenance.c",
    ]
    return " ".join(dict.fromkeys(asked))


@dataclass(frozen=True)
class Granted:
    """Letters of `cruds` by type, of patient and user scopes together.

    A scope that a query narrows counts nothing: part of a type decides nothing.
    """

    letters: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, scope: str) -> Granted:
        found: dict[str, set[str]] = defaultdict(set)
        for each in scope.split():
            if match := _SCOPE.fullmatch(each):
                found[match[2]] |= set(_V1.get(match[3], match[3]))
        return cls({kind: frozenset(letters) for kind, letters in found.items()})

    def allows(self, kind: str, letters: str) -> bool:
        return set(letters) <= self.letters.get(kind, frozenset()) | self.letters.get("*", frozenset())

    def unread(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """Which of these types cannot be seen, or not as a whole: a server may filter them without a word."""
        return tuple(kind for kind in kinds if not self.allows(kind, "rs"))

    @property
    def may_write(self) -> bool:
        """Drafts are created and corrected as the person who is signed in."""
        return all(self.allows(kind, "cu") for kind in _WRITTEN)


EVERYTHING = Granted({"*": frozenset("cruds")})
"""Of the site's own access, which is no person's."""
