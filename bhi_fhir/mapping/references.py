"""What a reference means among resources that were read: every legal form, and who is who."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar
from urllib.parse import unquote

from bhi_fhir.mapping.source import SUBJECT
from bhi_fhir.mapping.terminology import NPI
from bhi_fhir.views import VIEWS, Row
from bhi_fhir.views.common import Identifier, Reference
from bhi_fhir.views.patient import Patient
from bhi_fhir.views.practitioner import Practitioner
from bhi_fhir.views.practitioner_role import PractitionerRole

_R = TypeVar("_R", bound=Row)
_NPI_OID = "urn:oid:2.16.840.1.113883.4.6"
REFERENCE = re.compile(
    r"(?:(?P<base>[a-z][a-z0-9+.-]*://.*)/)?(?P<type>[A-Z][A-Za-z]+)/(?P<id>[^/#|]+)(?:/_history/.*)?"
)
_URN = re.compile(r"urn:(uuid|oid):[0-9A-Za-z.-]+", re.IGNORECASE)
_CONDITIONAL = re.compile(r"(?P<type>[A-Z][A-Za-z]+)\?identifier=(?P<system>[^|&]+)\|(?P<value>[^|&]+)")
_IDENTIFIED = ("Practitioner", "Patient", "PractitionerRole", "Organization", "Encounter", "Condition")
OF_A_PATIENT: dict[type[Row], str] = {VIEWS[name]: element for name, element in SUBJECT.items()}
"""By view, which element names the patient."""


@dataclass
class References:
    """Resources by key, and the keys that references to them come to."""

    rows: dict[str, Row] = field(default_factory=dict)
    _aliases: dict[str, str] = field(default_factory=dict)
    _bases: dict[str, set[str]] = field(default_factory=dict)
    _types: dict[str, str] = field(default_factory=dict)
    """The type of everything that stood under a fullUrl, also of what is not read."""
    _identifiers: dict[str, dict[tuple[str, str], str]] = field(default_factory=dict)
    """By type, once one is asked for: (system, value) -> key."""
    _given: int = 0
    """How many of the rows came from elsewhere, and were looked at there: see `beside`."""
    _by_type: dict[type[Row], list[tuple[str, Row]]] = field(default_factory=dict)
    _filed: int = 0
    """How many of the rows are in `_by_type`."""
    _known_people: dict[str | None, str | None] = field(default_factory=dict)
    _known_patients: dict[str | None, str | None] = field(default_factory=dict)
    """By the text of a reference, where the resource that holds it makes no difference."""
    _one_server: bool = False
    """All that was read comes from one server, or nothing says from which: a reference means the same everywhere."""
    _people: dict[str, str] = field(default_factory=dict)
    _survivors: dict[str, str] = field(default_factory=dict)

    def resolve(self, reference: Reference | None, owner: str = "") -> str | None:
        """The key of what a reference points at: "Type/id" or a fullUrl, also where the target is not here.

        `owner` is the key of the resource that holds the reference (for #contained).
        None: the reference names nothing that can be compared (display only).
        """
        if reference is None:
            return None
        named = None
        if reference.identifier is not None:
            named = self._by_identifier(reference.type, reference.identifier)
        text = (reference.reference or "").strip()
        if not text:
            return named
        key = self._inside(text, owner) if text.startswith("#") else self._at_owner(text, owner) or self._by_text(text)
        return named if named in self.rows and key not in self.rows else key

    def _at_owner(self, text: str, owner: str) -> str | None:
        """By a fullUrl; "Type/id" is first sought on the server that the owner comes from."""
        for base in sorted(self._bases.get(owner.split("#", maxsplit=1)[0], ())):
            if found := self._aliases.get(f"{base}/{text}"):
                return found
        return self._aliases.get(text)

    def _inside(self, fragment: str, owner: str) -> str | None:
        """The key of a contained resource; of the one that contains it for a bare "#"."""
        container = owner.split("#", maxsplit=1)[0]
        key = container if fragment == "#" else f"{container}{fragment}"
        return key if key in self.rows else None

    def _by_text(self, text: str) -> str:
        found = REFERENCE.fullmatch(text)
        if found is None:
            asked = _CONDITIONAL.fullmatch(text)
            if asked is None:
                return text
            identifier = Identifier(unquote(asked["system"]), unquote(asked["value"]))
            return self._by_identifier(asked["type"], identifier) or text
        key = f"{found['type']}/{found['id']}"
        here = self._bases.get(key)
        if found["base"] and here and found["base"] not in here:
            return f"{found['base']}/{key}"  # the same id on another server is somebody else
        return key

    def _by_identifier(self, of: str | None, identifier: Identifier) -> str | None:
        system, value = _system(identifier), _value(identifier)
        if not system or not value:
            return None
        for kind in (of.rpartition("/")[2],) if of else _IDENTIFIED:  # type may be a StructureDefinition's URL
            key = self._identified(kind).get((system, value))
            if key:
                return key
        return f"{system}|{value}"

    def _identified(self, kind: str) -> dict[tuple[str, str], str]:
        """(system, value) -> key of the resources of a type; the order of a file's entries decides nothing."""
        if kind not in self._identifiers:
            found: dict[tuple[str, str], str] = {}
            for key, row in sorted(self.of_type(VIEWS[kind]) if kind in VIEWS else ()):
                for identifier in getattr(row, "identifier", None) or ():
                    system, value = _system(identifier), _value(identifier)
                    if system and value and "#" not in key:
                        found.setdefault((system, value), key)
            self._identifiers[kind] = found
        return self._identifiers[kind]

    def person(self, reference: Reference | None, owner: str = "") -> str | None:
        """Who a reference to a Practitioner or PractitionerRole means; None if that cannot be said."""
        if reference is None:
            return None
        text = reference.reference
        if text in self._known_people and reference.identifier is None:
            return self._known_people[text]
        found = self._person(reference, owner)
        if text and self._is_plain(text, reference):
            self._known_people[text] = found
        return found

    def _is_plain(self, text: str, reference: Reference) -> bool:
        """Does it mean the same whatever resource holds it, by its text alone?"""
        return reference.identifier is None and self._one_server and not text.startswith("#")

    def _person(self, reference: Reference | None, owner: str) -> str | None:
        key = self.resolve(reference, owner)
        for _ in range(3):  # a role of a role is nonsense; a loop must end
            row = self.rows.get(key or "")
            if not isinstance(row, PractitionerRole):
                break
            reference = row.practitioner
            key = self.resolve(reference, key or "")
        if key is None or not self._names_person(key, reference):
            return None
        return self.person_key(key)

    def _names_person(self, key: str, reference: Reference | None) -> bool:
        """A Practitioner that is here, or one that only the reference names: by id, by fullUrl or by identifier."""
        if key in self.rows:
            return isinstance(self.rows[key], Practitioner)
        if "|" in key and not key.startswith(f"{NPI}|"):
            return False  # an employee number that nobody here carries may be anybody's
        if reference is not None and not reference.reference:
            return reference.type in (None, "Practitioner")
        if self.type_of(key) not in ("", "Practitioner"):
            return False
        # An absolute reference to another server names nobody: that server may be this one by another name.
        return key.startswith(("Practitioner/", f"{NPI}|")) or _URN.fullmatch(key) is not None

    def type_of(self, key: str) -> str:
        """The resource type behind a key; "" where nothing says."""
        if key in self.rows:
            return type(self.rows[key]).__name__
        found = REFERENCE.fullmatch(key)
        return self._types.get(key) or (found["type"] if found else "")

    def person_key(self, key: str) -> str:
        """One key for one person, however many Practitioner resources carry the NPI."""
        return self._people.get(key, key)

    def npis(self, person: str) -> set[str]:
        """The NPIs of a person; of somebody who is known by NPI only, that one."""
        row = self.rows.get(person)
        if isinstance(row, Practitioner):
            return {value for i in row.identifier or () if _system(i) == NPI and (value := _value(i))}
        return {person.removeprefix(f"{NPI}|")} if person.startswith(f"{NPI}|") else set()

    def roles_of(self, person: str) -> list[PractitionerRole]:
        found = ((key, row) for key, row in self.of_type(PractitionerRole) if row.active is not False)
        return [row for key, row in found if self.person(row.practitioner, key) == person]

    def patient(self, row: Row, key: str) -> str | None:
        """The patient whom a resource belongs to, a merged patient's survivor included."""
        subject: Reference | None = getattr(row, OF_A_PATIENT[type(row)])
        if subject is None:
            return None
        text = subject.reference
        if text in self._known_patients and subject.identifier is None:
            return self._known_patients[text]
        found = self._patient(subject, key)
        if text and self._is_plain(text, subject):
            self._known_patients[text] = found
        return found

    def _patient(self, subject: Reference | None, key: str) -> str | None:
        found = self.resolve(subject, key)
        if found and "#" in found:
            found = self._outside(found)
        if not found or (subject and not self._can_be_named(found, subject.reference)):
            return None
        return self._survivors.get(found, found)

    def _can_be_named(self, patient: str, text: str | None) -> bool:
        """Does the key come from a reference, and not from free text, which may be a name and would be printed?"""
        if patient in self.rows or _URN.fullmatch(patient) or patient != (text or "").strip():
            return True
        return REFERENCE.fullmatch(patient) is not None and not any(c.isspace() for c in patient)

    def _outside(self, contained: str) -> str:
        """A contained Patient with the identifier of one who is here is that one."""
        for identifier in getattr(self.rows.get(contained), "identifier", None) or ():
            key = self._by_identifier("Patient", identifier)
            if key in self.rows:
                return key
        return contained

    def of_type(self, view: type[_R]) -> Iterator[tuple[str, _R]]:
        if self._filed < len(self.rows):
            for key, row in islice(self.rows.items(), self._filed, None):
                self._by_type.setdefault(type(row), []).append((key, row))
            self._filed = len(self.rows)
        return iter(self._by_type.get(view, ()))  # type: ignore[arg-type]  # filed by their own type

    def alias(self, key: str, full_url: str) -> None:
        self._aliases[full_url] = key
        found = REFERENCE.fullmatch(full_url)
        if found and found["base"]:
            self._bases.setdefault(key, set()).add(found["base"])

    def _same_npi(self, row: Practitioner) -> str | None:
        """Two Practitioners with one NPI are one person; one who is only contained is known by the NPI."""
        for identifier in row.identifier or ():
            if _system(identifier) == NPI and _value(identifier):
                return self._by_identifier("Practitioner", identifier)
        return None

    def _merge(self) -> None:
        """Patient.link: a merged patient's facts belong to the last survivor; in a circle to the first by name."""
        replaced: dict[str, str] = {}
        for key, row in sorted((key, row) for key, row in self.of_type(Patient) if row.link):
            for link in row.link or ():
                other = self.resolve(link.other, key)
                if other and link.type == "replaced-by":
                    replaced.setdefault(key, other)
                elif other and link.type == "replaces":
                    replaced.setdefault(other, key)
        for key in replaced:
            chain = [key]
            while (after := replaced.get(chain[-1])) and after not in chain:
                chain.append(after)
            self._survivors[key] = min(chain[chain.index(after) :]) if after else chain[-1]

    def survivor(self, patient: str) -> str:
        return self._survivors.get(patient, patient)


def _system(identifier: Identifier) -> str:
    """An identifier's system, the NPI's in one spelling; "" without one. Blanks come from fixed-width exports."""
    system = (identifier.system or "").strip()
    return NPI if system.rstrip("/").lower() in (NPI, _NPI_OID) else system


def _value(identifier: Identifier) -> str:
    return (identifier.value or "").strip()
