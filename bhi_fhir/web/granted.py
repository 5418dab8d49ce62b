"""What an EHR granted a launch, by SMART scopes of version 2 or 1: what can be read, and may it be written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from bhi_fhir.fhir import scopes
from bhi_fhir.fhir.scopes import Scopes
from bhi_fhir.mapping.source import SUBJECT

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
    """`scopes`: of the patient's and the user's contexts together."""

    scopes: Scopes = field(default_factory=Scopes)

    @classmethod
    def read(cls, scope: str) -> Granted:
        return cls(Scopes.read(scope, "patient", "user"))

    def unread(self, kinds: Iterable[str]) -> tuple[str, ...]:
        """Which of these types cannot be seen, or not as a whole: a server may filter them without a word."""
        return tuple(kind for kind in kinds if not self.scopes.allows(kind, "rs"))

    @property
    def may_write(self) -> bool:
        """Drafts are created and corrected as the person who is signed in."""
        return all(self.scopes.allows(kind, "cu") for kind in _WRITTEN)


EVERYTHING = Granted(scopes.EVERYTHING)
"""Of the site's own access, which is no person's."""
