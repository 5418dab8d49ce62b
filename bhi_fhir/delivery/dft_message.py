"""Charges as an HL7 v2 DFT^P03: MSH, EVN, PID, PV1, and one FT1 for each day of service.

Built and read with `hl7` (python-hl7): small, without dependencies, with an asyncio MLLP client; 0.4.5 is of 2022,
but its repository tests 3.9 to 3.13, and what is used here warns on none of them. `hl7apy` can validate, brings no
client, and so is what the tests check these messages with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import hl7

from bhi_fhir.delivery.charged import Charged

CPT = "http://www.ama-assn.org/go/cpt"
NPI = "http://hl7.org/fhir/sid/us-npi"

Part = str | tuple[str, ...]
Value = str | tuple[Part, ...] | list[tuple[Part, ...]]
"""Of a field: text, components (each text or subcomponents), or repetitions of components."""

_NPI_AUTHORITY = ("", "2.16.840.1.113883.4.6", "ISO")
_SEX = {"male": "M", "female": "F", "other": "O"}
_ESCAPED = str.maketrans({"\\": "\\E\\", "|": "\\F\\", "^": "\\S\\", "&": "\\T\\", "~": "\\R\\"})


@dataclass(frozen=True, slots=True)
class Interface:
    """What was agreed with the receiver, as in `[delivery.dft]`.

    `patient_identifier_system`: the system of the patients' identifier in PID-3; "" is the FHIR id.
    """

    sending_application: str
    sending_facility: str
    receiving_application: str
    receiving_facility: str
    version: str
    processing_id: str
    patient_identifier_system: str


@dataclass(frozen=True, slots=True)
class Identifier:
    """`kind` is a code of HL7 table 0203 such as MR, "" where the record has none."""

    system: str
    value: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Person:
    """A Patient or Practitioner as a message names them. `birth_date` is ISO, `sex` FHIR's administrative gender."""

    reference: str
    identifiers: tuple[Identifier, ...] = ()
    family: str = ""
    given: str = ""
    birth_date: str = ""
    sex: str = ""

    def identified(self, system: str) -> list[Identifier]:
        return list(dict.fromkeys(known for known in self.identifiers if known.system == system))


@dataclass(frozen=True, slots=True)
class Transaction:
    """One FT1: a charge (CG) or the credit (CD) that takes it back."""

    kind: Literal["CG", "CD"]
    line: str
    day: str
    units: int
    code: str
    system: str
    title: str
    performer: str
    diagnoses: tuple[str, ...]

    @property
    def number(self) -> str:
        """FT1-2, which holds 12 characters before v2.7 and so not our UUID.

        Made of the charge itself: a credit carries the number of the charge that it takes back.
        """
        return _digest(12, self.line, self.day, self.units, self.code, self.performer)


def transactions(kind: Literal["CG", "CD"], line: str, charge: Charged) -> tuple[Transaction, ...]:
    """One for each day."""
    return tuple(
        Transaction(
            kind, line, day, units, charge.code, charge.system, charge.title, charge.performer, charge.diagnoses
        )
        for day, units in charge.served
    )


def control_id(revision: int, sent: Sequence[Transaction]) -> str:
    """MSH-10, 20 characters: the same for the same hand-over, whenever it is sent."""
    said = [[each.kind, each.number, each.system, each.diagnoses] for each in sent]
    return _digest(20, revision, said)


def patient_identifier(patient: Person, system: str) -> Identifier | None:
    """What PID-3 says; None where the patient has no such identifier, or several."""
    if not system:
        return Identifier("", patient.reference.rpartition("/")[2])
    found = patient.identified(system)
    return found[0] if len(found) == 1 else None


def message(
    number: str,
    sent: Sequence[Transaction],
    patient: Person,
    known_as: Identifier,
    performers: dict[str, Person],
    visit: str,
    interface: Interface,
    now: datetime,
) -> str:
    """The message with its segments ended by CR. `now` is aware; `performers` by reference."""
    segments = [
        _header(number, interface, now),
        _segment("EVN", {1: "P03", 2: _instant(now)}),
        _segment("PID", _patient(patient, known_as)),
        # The structure wants a PV1; the month's charges belong to no visit, so class outpatient is all it says.
        _segment("PV1", {1: "1", 2: "O", 19: visit}),
        *(_segment("FT1", _charge(index, each, performers, now)) for index, each in enumerate(sent, 1)),
    ]
    return str(hl7.Message("\r", segments))


def _header(number: str, interface: Interface, now: datetime) -> hl7.Segment:
    # The third component, the structure, came with v2.3.1.
    kind = ("DFT", "P03") if interface.version == "2.3" else ("DFT", "P03", "DFT_P03")
    fields = _segment(
        "MSH",
        {
            3: interface.sending_application,
            4: interface.sending_facility,
            5: interface.receiving_application,
            6: interface.receiving_facility,
            7: _instant(now),
            9: kind,
            10: number,
            11: interface.processing_id,
            12: interface.version,
            18: "UNICODE UTF-8",
        },
    )
    # MSH-1 and MSH-2 are the separators themselves, which are not escaped.
    return hl7.Segment("|", [fields[0], hl7.Field("", ["|"]), hl7.Field("", ["^~\\&"]), *fields[3:]])


def _patient(patient: Person, known_as: Identifier) -> dict[int, Value]:
    return {
        1: "1",
        3: (known_as.value, "", "", _authority(known_as.system), known_as.kind),
        5: (patient.family, patient.given),
        7: patient.birth_date.replace("-", ""),
        8: _SEX.get(patient.sex, "U"),
    }


def _charge(index: int, sent: Transaction, performers: dict[str, Person], now: datetime) -> dict[int, Value]:
    code = (sent.code, sent.title, "C4" if sent.system == CPT else "HCPCS")
    return {
        1: str(index),
        2: sent.number,
        4: sent.day.replace("-", ""),
        5: f"{now:%Y%m%d}",
        6: sent.kind,
        7: code,
        10: str(sent.units),
        19: [(each, "", "I10") for each in sent.diagnoses],
        20: _performer(performers.get(sent.performer)),
        25: code,
    }


def _performer(person: Person | None) -> Value:
    """By NPI, which is what bills; a person without one is left to the receiver."""
    known = person.identified(NPI) if person else []
    if person is None or len(known) != 1:
        return ""
    name = (known[0].value, person.family, person.given)
    return (*name, *("",) * 5, _NPI_AUTHORITY, *("",) * 3, "NPI")


def _authority(system: str) -> Part:
    """FHIR's URI as a v2 HD."""
    if system.startswith("urn:oid:"):
        return ("", system.removeprefix("urn:oid:"), "ISO")
    return ("", system, "URI") if system else ""


def _instant(now: datetime) -> str:
    return f"{now:%Y%m%d%H%M%S%z}"


def _segment(name: str, fields: dict[int, Value]) -> hl7.Segment:
    last = max(number for number, value in fields.items() if value)
    return hl7.Segment("|", [hl7.Field("~", [name]), *(_field(fields.get(n, "")) for n in range(1, last + 1))])


def _field(value: Value) -> hl7.Field:
    repetitions = value if isinstance(value, list) else [value]
    return hl7.Field("~", [_repetition(each) for each in repetitions])


def _repetition(value: str | tuple[Part, ...]) -> hl7.Repetition:
    components = (value,) if isinstance(value, str) else value
    filled = max((index for index, part in enumerate(components, 1) if part), default=0)
    return hl7.Repetition("^", [_component(part) for part in components[:filled]])


def _component(part: Part) -> hl7.Component:
    return hl7.Component("&", [_escaped(text) for text in ((part,) if isinstance(part, str) else part)])


def _escaped(text: str) -> str:
    """The library's own escape turns every letter beyond ASCII into hex of another character set."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]+", " ", text).translate(_ESCAPED)


def _digest(length: int, *said: object) -> str:
    """Base 32: five bits a character, so that 12 of them are 60."""
    digest = hashlib.sha256(json.dumps(said).encode()).digest()
    return base64.b32encode(digest).decode()[:length]
