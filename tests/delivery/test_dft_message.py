"""What a DFT says, read back by another library, which checks it against HL7's own structure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from delivery.charges import APPROVED, TWO_DAYS
from drafts.samples import ZONE
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st

from bhi_fhir.delivery.charged import Charged, charged
from bhi_fhir.delivery.dft_message import (
    NPI,
    Identifier,
    Interface,
    Person,
    control_id,
    message,
    patient_identifier,
    transactions,
)

NOW = datetime(2026, 4, 2, 9, 30, tzinfo=ZONE)
INTERFACE = Interface("BHI-FHIR", "EXAMPLE", "CHARGES", "HOSPITAL", "2.5.1", "T", "urn:oid:1.2.36.146")
MARIA = Person(
    "Patient/maria",
    (Identifier("urn:oid:1.2.36.146", "E4711", "MR"), Identifier("urn:other", "9")),
    family="Núñez-O'Hara",
    given="María",
    birth_date="1961-04-05",
    sex="female",
)
DOCTOR = Person("Practitioner/pcp", (Identifier(NPI, "1234567893"),), family="Weiß", given="Jo")
MONTHLY = charged(APPROVED.draft)
VERSIONS = ["2.3", "2.3.1", "2.4", "2.5", "2.5.1"]


def written(
    charge: Charged = MONTHLY,
    patient: Person = MARIA,
    doctor: Person = DOCTOR,
    interface: Interface = INTERFACE,
    visit: str = "",
) -> str:
    sent = transactions("CG", APPROVED.identifier, charge)
    known_as = patient_identifier(patient, interface.patient_identifier_system)
    assert known_as is not None
    return message(control_id(1, sent), sent, patient, known_as, {"Practitioner/pcp": doctor}, visit, interface, NOW)


def parsed(text: str) -> Any:
    return parse_message(text, validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)


def charges(text: str) -> list[Any]:
    return [each.ft1 for each in parsed(text).children if each.name == "DFT_P03_FINANCIAL"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_the_settings_is_valid_hl7(version: str) -> None:
    charge = replace(charged(TWO_DAYS.draft), diagnoses=("F32.1", "F41.1"))
    text = written(charge, interface=replace(INTERFACE, version=version))
    assert parsed(text).validate()
    assert parsed(text).msh.msh_12.to_er7() == version


def test_the_message_as_a_whole() -> None:
    number = control_id(1, transactions("CG", APPROVED.identifier, MONTHLY))
    (charge,) = transactions("CG", APPROVED.identifier, MONTHLY)
    assert written().split("\r") == [
        "MSH|^~\\&|BHI-FHIR|EXAMPLE|CHARGES|HOSPITAL|20260402093000-0500||DFT^P03^DFT_P03"
        f"|{number}|T|2.5.1||||||UNICODE UTF-8",
        "EVN|P03|20260402093000-0500",
        "PID|1||E4711^^^&1.2.36.146&ISO^MR||Núñez-O'Hara^María||19610405|F",
        "PV1|1|O",
        f"FT1|1|{charge.number}||20260331|20260402|CG|99492^CoCM, first month^C4|||1||||||||"
        "||1234567893^Weiß^Jo^^^^^^&2.16.840.1.113883.4.6&ISO^^^^NPI|||||99492^CoCM, first month^C4",
        "",
    ]


def test_a_service_of_a_day_has_one_ft1_for_each_day() -> None:
    first, second = charges(written(charged(TWO_DAYS.draft)))
    assert [first.ft1_4.to_er7(), first.ft1_10.to_er7()] == ["20260303", "1"]
    assert [second.ft1_4.to_er7(), second.ft1_10.to_er7()] == ["20260317", "2"]
    assert first.ft1_2.to_er7() != second.ft1_2.to_er7()


def test_a_code_of_cms_is_named_as_hcpcs() -> None:
    text = written(replace(MONTHLY, code="G0560", system="http://www.cms.gov/x", title=""))
    assert charges(text)[0].ft1_7.to_er7() == charges(text)[0].ft1_25.to_er7() == "G0560^^HCPCS"


def test_diagnoses_are_repeated_and_a_visit_is_numbered() -> None:
    text = written(replace(MONTHLY, diagnoses=("F32.1", "F41.1")), visit="call-1")
    assert "|F32.1^^I10~F41.1^^I10|" in text
    assert parsed(text).pv1.pv1_19.to_er7() == "call-1"


def test_a_practitioner_without_one_npi_is_left_to_the_receiver() -> None:
    two = replace(DOCTOR, identifiers=(Identifier(NPI, "1"), Identifier(NPI, "2")))
    for doctor in (two, replace(DOCTOR, identifiers=())):
        assert charges(written(doctor=doctor))[0].ft1_20.to_er7() == ""


@pytest.mark.parametrize(
    ("system", "identifiers", "expected"),
    [
        ("urn:oid:1.2.36.146", MARIA.identifiers, Identifier("urn:oid:1.2.36.146", "E4711", "MR")),
        ("", MARIA.identifiers, Identifier("", "maria")),
        ("urn:nobody's", MARIA.identifiers, None),
        ("urn:a", (Identifier("urn:a", "1"), Identifier("urn:a", "2")), None),
        ("urn:a", (Identifier("urn:a", "1"), Identifier("urn:a", "1")), Identifier("urn:a", "1")),
    ],
)
def test_a_patient_has_one_identifier_or_none(
    system: str, identifiers: tuple[Identifier, ...], expected: Identifier | None
) -> None:
    assert patient_identifier(replace(MARIA, identifiers=identifiers), system) == expected


def test_a_uri_is_an_authority_too() -> None:
    patient = replace(MARIA, identifiers=(Identifier("https://ehr.example/mrn", "7"),))
    text = written(patient=patient, interface=replace(INTERFACE, patient_identifier_system="https://ehr.example/mrn"))
    assert "|7^^^&https://ehr.example/mrn&URI|" in text


def test_numbers_fit_and_are_the_same_whenever_they_are_made() -> None:
    sent = transactions("CG", APPROVED.identifier, MONTHLY)
    credit = transactions("CD", APPROVED.identifier, MONTHLY)
    assert [len(control_id(1, sent)), len(sent[0].number)] == [20, 12]
    assert control_id(1, sent) == control_id(1, transactions("CG", APPROVED.identifier, MONTHLY))
    assert len({control_id(1, sent), control_id(2, sent), control_id(1, credit)}) == 3
    assert credit[0].number == sent[0].number


@given(st.text(st.characters(), min_size=1))
def test_no_name_can_break_the_message(name: str) -> None:
    text = written(patient=replace(MARIA, family=f"x{name}"))
    assert [segment[:3] for segment in text.split("\r")] == ["MSH", "EVN", "PID", "PV1", "FT1", ""]
    pid = text.split("\r")[2].split("|")
    assert len(pid) == 9
    assert len(pid[5].split("^")) == 2
    assert not {"&", "~"} & set(pid[5])
    assert text.encode()


def test_what_separates_is_escaped_and_other_letters_are_not() -> None:
    text = written(patient=replace(MARIA, family="A|B^C~D\\E&F\r\nG", given="Żółć 王"))
    assert "|A\\F\\B\\S\\C\\R\\D\\E\\E\\T\\F G^Żółć 王|" in text
