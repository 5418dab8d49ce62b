"""Whose line is it? One shallow look at an ordinary line; a whole reading of any other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from zlib import adler32, crc32

import msgspec

from bhi_fhir.domain.record import SetAside, Withheld
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import SUBJECT, Source
from bhi_fhir.views import VIEWS, Row
from bhi_fhir.views.common import ABSENT, UNREADABLE, Reference
from bhi_fhir.views.patient import Patient
from bhi_fhir.views.r4_types import R4_TYPES

SHARED = "shared"
"""The owner of what belongs to no patient: staff, organizations, devices."""
IGNORED = "ignored"
"""The owner of whole resources of types that are not read."""
_PATIENT = re.compile(r"Patient/[A-Za-z0-9\-.]{1,64}")
_SHARED_TYPES = frozenset(VIEWS) - frozenset(SUBJECT) - {"Patient", "OperationOutcome"}
_IGNORED_TYPES = R4_TYPES - frozenset(VIEWS) - {"Bundle"}


class _Named(msgspec.Struct):
    reference: str = ""
    identifier: msgspec.Raw = ABSENT


class _Line(msgspec.Struct, rename="camel"):
    resource_type: str
    id: str = ""
    subject: _Named | None = None
    patient: _Named | None = None
    beneficiary: _Named | None = None
    contained: list[msgspec.Raw] | None = None
    link: list[msgspec.Raw] | None = None


_LINE = msgspec.json.Decoder(_Line)


@dataclass
class Closer:
    """What a whole reading of one line says. `owner` "" : nobody, and then the rest is to be told here."""

    owner: str = ""
    name: str = ""
    same: list[str] = field(default_factory=list)
    """Other patients whom the line says to be the owner."""
    asked: list[str] = field(default_factory=list)
    """Identifiers ("system|value") by which it names the owner."""
    for_all: list[Withheld] = field(default_factory=list)
    set_aside: list[SetAside] = field(default_factory=list)


def mark(name: str) -> int:
    """64 bits for a name. Two names with the same mark only share their lines' way, never an answer."""
    data = name.encode(errors="surrogatepass")
    return crc32(data) << 32 | adler32(data)


def glance(text: bytes) -> tuple[str, str] | None:
    """(owner, name) of an ordinary line; None for one that wants a closer look."""
    try:
        line = _LINE.decode(text)
    except UNREADABLE:
        return None
    kind = line.resource_type
    if line.contained:
        return None
    name = f"{kind}/{line.id}" if line.id else ""
    if kind in SUBJECT:
        named: _Named | None = getattr(line, SUBJECT[kind])
        plain = named and named.identifier == ABSENT and _PATIENT.fullmatch(named.reference)
        return (named.reference, name) if named and plain else None
    if kind == "Patient":
        return (name, name) if name and not line.link else None
    if kind in _SHARED_TYPES:
        return SHARED, name
    return (IGNORED, "") if kind in _IGNORED_TYPES else None


def look_closer(source: Source) -> Closer:
    """Read the line by itself, exactly as in a record."""
    if not source.trouble and _kind(source.json) == "Bundle":
        return _bundle(source)
    record = Record.read([source])
    found = Closer()
    for key, row in record.rows.items():
        if "#" not in key:
            found.name = key
            _take(record, key, row, found)
    if not found.owner:
        found.owner = next((patient for patient, _ in record.withheld if patient), "")
    if found.owner != SHARED:  # what is shared is read as a whole later and says so itself
        found.for_all = [part for patient, part in record.withheld if patient is None]
    if not found.owner:
        found.set_aside = record.set_aside
    return found


def _bundle(source: Source) -> Closer:
    """Its entries may be anybody's."""
    reason = "it is a Bundle, and bulk reads one resource a line"
    held = Withheld("*", f"{source.at} was set aside: {reason}")
    return Closer(for_all=[held], set_aside=[SetAside(source.file, source.at, "", reason)])


def _take(record: Record, key: str, row: Row, found: Closer) -> None:
    if isinstance(row, Patient):
        found.owner = key
        links = (record.resolve(link.other, key) for link in row.link or ())
        found.same = [other for other in links if other]
    elif type(row).__name__ not in SUBJECT:
        found.owner = SHARED
    elif patient := record.patient(row, key):
        found.owner = patient
        found.asked = list(_asked(record, row, patient))
    else:
        record.names_nobody(key, row)


def _asked(record: Record, row: Row, patient: str) -> Iterator[str]:
    subject: Reference = getattr(row, SUBJECT[type(row).__name__])
    if "|" in patient:
        yield patient
    if subject.identifier and (asked := Record().resolve(Reference(identifier=subject.identifier))):
        yield asked
    contained = record.rows.get(patient) if "#" in patient else None
    if isinstance(contained, Patient):
        yield from identifiers(contained)


def identifiers(patient: Patient) -> list[str]:
    """ "system|value" of each."""
    nobody = Record()
    found = (nobody.resolve(Reference(type="Patient", identifier=i)) for i in patient.identifier or ())
    return [each for each in found if each]


def _kind(text: bytes | msgspec.Raw) -> str:
    try:
        return _LINE.decode(text).resource_type
    except UNREADABLE:
        return ""
