"""Names of people, for people: the patient's, birth date and number, and practitioners' instead of references."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from bhi_fhir.mapping.source import Source
from bhi_fhir.views.common import UNREADABLE

_LONGEST = 120
_REFERENCE = re.compile(r"\bPractitioner/[A-Za-z0-9.-]{1,64}")


class _Name(msgspec.Struct):
    use: str = ""
    text: str = ""
    family: str = ""
    given: list[str] = []
    prefix: list[str] = []
    suffix: list[str] = []


class _Identifier(msgspec.Struct):
    type: dict[str, object] = {}
    value: str = ""


class _Human(msgspec.Struct):
    resourceType: str = ""  # noqa: N815
    id: str = ""
    name: list[_Name] = []
    birthDate: str = ""  # noqa: N815
    gender: str = ""
    identifier: list[_Identifier] = []


@dataclass(frozen=True)
class Patient:
    """As a banner shows it."""

    reference: str = ""
    name: str = ""
    born: str = ""
    gender: str = ""
    number: str = ""

    @property
    def is_told_apart(self) -> bool:
        """Name and birth date are there: without both nothing is written."""
        return bool(self.name and self.born)


NOBODY = Patient()


@dataclass(frozen=True)
class Names:
    patient: Patient = NOBODY
    people: dict[str, str] = field(default_factory=dict)
    """Practitioner/id to name."""

    @classmethod
    def of(cls, sources: Iterable[Source]) -> Names:
        """The first Patient is the one that was asked for."""
        patient, people = NOBODY, {}
        for source in sources:
            body = bytes(source.json)
            if b'"Patient"' not in body and b'"Practitioner"' not in body:
                continue
            try:
                human = msgspec.json.decode(body, type=_Human)
            except UNREADABLE:
                continue
            if human.resourceType == "Patient" and not patient.reference:
                patient = _patient(human)
            elif human.resourceType == "Practitioner" and (name := _shown(human)):
                people[f"Practitioner/{human.id}"] = name
        return cls(patient, people)

    @staticmethod
    def whose(sources: Iterable[Source], patient: str) -> Patient:
        """The Patient of this reference; of merged records there is more than one."""
        for source in sources:
            if b'"Patient"' in bytes(source.json):
                found = Names.patient_of(bytes(source.json))
                if found.reference == patient:
                    return found
        return NOBODY

    @staticmethod
    def one(body: bytes) -> str:
        return _shown(msgspec.json.decode(body, type=_Human))

    @staticmethod
    def patient_of(body: bytes) -> Patient:
        try:
            return _patient(msgspec.json.decode(body, type=_Human))
        except UNREADABLE:
            return NOBODY

    def told(self, text: str) -> str:
        """The same sentence with names for references."""
        return _REFERENCE.sub(lambda found: self.people.get(found[0], found[0]), text)


def _patient(human: _Human) -> Patient:
    return Patient(f"Patient/{human.id}", _shown(human), human.birthDate[:10], human.gender[:20], _number(human))


def _number(human: _Human) -> str:
    """The record number (MR), never one of Medicare's or another."""
    for each in human.identifier:
        coding = each.type.get("coding")
        if isinstance(coding, list) and any(isinstance(c, dict) and c.get("code") == "MR" for c in coding):
            return each.value[:40]
    return ""


def _shown(human: _Human) -> str:
    names = sorted(human.name, key=lambda name: name.use != "official")
    if not names:
        return ""
    first = names[0]
    built = " ".join(part for part in (*first.prefix, *first.given, first.family, *first.suffix) if part)
    return (built or first.text)[:_LONGEST]
