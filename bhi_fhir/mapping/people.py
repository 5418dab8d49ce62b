"""What practitioners are, by the NUCC codes of their roles and qualifications."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from types import MappingProxyType

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
NOBODY: Mapping[str, Person] = MappingProxyType({})


def people(record: Record, reading: Reading, known: Mapping[str, Person] = NOBODY) -> dict[str, Person]:
    """Everybody whom the record names as a practitioner, by reference, and what each is in the month.

    `known`: what the record that this one stands beside says of its people; only what is added to it is looked at.
    """
    kinds: dict[str, set[str]] = defaultdict(set)
    homes: dict[str, set[str]] = defaultdict(set)
    own = list(record.own() if known else record.rows.items())
    for key, practitioner in own:
        if not isinstance(practitioner, Practitioner):
            continue
        held = [q.code for q in practitioner.qualification or () if reading.in_force(q.period)]
        kinds[record.person_key(key)] |= _kinds(held, reading)
    for key, role in own:
        if not isinstance(role, PractitionerRole):
            continue
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
    for who in (kinds | homes).keys() & known.keys():
        kinds[who] |= known[who].kinds
        homes[who] |= known[who].organizations
    return {who: Person(who, frozenset(kinds[who]), frozenset(homes[who])) for who in kinds | homes}


def _kinds(concepts: list[CodeableConcept | None], reading: Reading) -> set[str]:
    found: set[str] = set()
    for concept in concepts:
        mine = {kind for kind in KINDS if reading.terms.holds(f"person-{kind}", concept)}
        if not mine and reading.terms.knows_system("person-physician", concept):
            mine = {"other"}
        found |= mine
    return found
