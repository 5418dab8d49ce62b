"""What practitioners are, by the NUCC codes of their roles and qualifications."""

from __future__ import annotations

from collections import defaultdict

from bhi_fhir.domain.record import Person
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.terminology import NPI, NUCC
from bhi_fhir.views.common import CodeableConcept, Coding, Identifier, Reference
from bhi_fhir.views.practitioner import Practitioner
from bhi_fhir.views.practitioner_role import PractitionerRole

KINDS = (
    "physician",
    "nurse-practitioner",
    "physician-assistant",
    "clinical-nurse-specialist",
    "certified-nurse-midwife",
    "clinical-psychologist",
    "clinical-social-worker",
    "marriage-and-family-therapist",
    "mental-health-counselor",
    "psychiatric-prescriber",
    "undetermined",
)
"""The groups `mappings/base/person-*.json`. A NUCC code outside all of them is "other": known, and none of these."""


def people(record: Record, reading: Reading) -> dict[str, Person]:
    """Everybody whom the record names as a practitioner, by reference, and what each is in the month."""
    kinds: dict[str, set[str]] = defaultdict(set)
    homes: dict[str, set[str]] = defaultdict(set)
    for key, practitioner in record.of_type(Practitioner):
        held = [q.code for q in practitioner.qualification or () if reading.in_force(q.period)]
        kinds[record.person_key(key)] |= _kinds(held, reading)
    for key, role in record.of_type(PractitionerRole):
        found = record.person(role.practitioner, key)
        ended = role.active is False and not (role.period and role.period.end)
        if found is None or ended or not reading.in_force(role.period):
            continue  # an ended role without an end says nothing about any month
        kinds[found] |= _kinds([*(role.specialty or ()), *(role.code or ())], reading)
        home = record.resolve(role.organization, key)
        if home:
            homes[found].add(home)
    for npi, codes in reading.site.people.nucc.items():
        listed = record.person(Reference(type="Practitioner", identifier=Identifier(NPI, npi)))
        if listed:
            kinds[listed] |= _kinds([CodeableConcept((Coding(NUCC, code),)) for code in codes], reading)
    return {who: Person(who, frozenset(kinds[who]), frozenset(homes[who])) for who in kinds | homes}


def _kinds(concepts: list[CodeableConcept | None], reading: Reading) -> set[str]:
    found: set[str] = set()
    for concept in concepts:
        mine = {kind for kind in KINDS if reading.terms.holds(f"person-{kind}", concept)}
        if not mine and reading.terms.knows_system("person-physician", concept):
            mine = {"other"}
        found |= mine
    return found
