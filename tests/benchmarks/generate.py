"""A population's month as a Bulk Data export: contract-shaped, US-Core-like, lines shuffled, always the same.

    python tests/benchmarks/generate.py FOLDER --patients 10000

Every line is a pure function of (type, patient, slot), so any number of patients takes no memory and the order
of the lines is a permutation of all of them: no two lines of a patient stand together. About 15 resources and
20 KB a patient-month; service month March 2026, America/Chicago. Each kind of trouble has its share, below.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from math import gcd
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

MONTH = "2026-03"
SITE = 'name = "Bench Clinic"\ntime_zone = "America/Chicago"\n'
CLINIC, CLINICS = 200, 50
"""Patients of a clinic, and how many clinics a health system has: with more patients, each has more."""
"""Patients who share one treating practitioner, one care manager and one consultant."""

Json = dict[str, Any]
_NARRATIVE = (
    '<div xmlns="http://www.w3.org/1999/xhtml"><p><b>Generated summary</b></p><p>{}</p><p>This narrative repeats what '
    "the structured parts of the resource say, as most systems write it.</p></div>"
)
_ITEMS = (
    ("44250-9", "Little interest or pleasure in doing things"),
    ("44255-8", "Feeling down, depressed, or hopeless"),
    ("44259-0", "Trouble falling or staying asleep, or sleeping too much"),
    ("44254-1", "Feeling tired or having little energy"),
    ("44251-7", "Poor appetite or overeating"),
    ("44258-2", "Feeling bad about yourself"),
    ("44252-5", "Trouble concentrating on things"),
    ("44253-3", "Moving or speaking slowly, or being restless"),
    ("44260-8", "Thoughts that you would be better off dead"),
)
_SCORES = ("LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9")
_DIAGNOSES = ("F33.1", "F32.1", "F41.1", "F43.10", "F10.20", "F31.81")
_CONTACTS = ("follow-up", "brief-intervention", "care-coordination", "assessment", "outreach")
_NOTES = ("registry-tracking", "caseload-consultation", "progress-review", "care-planning")
_GENERAL_NOTES = ("care-planning", "treatment-coordination", "progress-review", "follow-up")


def share(patient: int, what: str, percent: float) -> bool:
    """Does this patient belong to so many percent? The same answer every time."""
    return crc32(f"{patient}/{what}".encode()) % 10_000 < percent * 100


def pick(patient: int, what: str, below: int) -> int:
    return crc32(f"{patient}/{what}".encode()) % below


# -- what one patient's month is like ---------------------------------------------------------------


def general(patient: int) -> bool:
    return share(patient, "general", 20)


def first_month(patient: int) -> bool:
    return share(patient, "first month", 20)


def clinic(patient: int) -> str:
    return f"clinic-{patient // CLINIC % CLINICS}"


def staff(patient: int, role: str) -> str:
    return f"Practitioner/{role}-{patient // CLINIC % CLINICS}"


def worker(patient: int) -> str:
    return staff(patient, "nurse" if general(patient) else "manager")


# -- pieces -----------------------------------------------------------------------------------------


def coded(system: str, code: str, text: str = "") -> Json:
    return {"coding": [{"system": system, "code": code, "display": text or code}], "text": text or code}


def refers(reference: str) -> Json:
    return {"reference": reference, "display": reference.replace("/", " ")}


def resource(kind: str, own: str, patient: int, profile: str, /, **parts: Any) -> Json:
    """A resource with the meta, narrative and identifier that every system writes around what it says."""
    version = pick(patient, own, 9) + 1
    return {
        "resourceType": kind,
        "id": own,
        "meta": {
            "versionId": str(version),
            "lastUpdated": f"2026-04-0{version}T04:17:{10 + version}.{100 + version}Z",
            "source": f"urn:ehr:export#{own}",
            "profile": [f"http://hl7.org/fhir/us/core/StructureDefinition/{profile}|6.1.0"],
        },
        "text": {"status": "generated", "div": _NARRATIVE.format(f"{kind} {own} of synthetic patient {patient}")},
        "identifier": [
            {"use": "usual", "system": "urn:oid:1.2.840.114350.1.13.0.1.7.3", "value": f"{kind[:3].upper()}{own}"}
        ],
        **parts,
    }


def at(day: int, minute: int, month: int = 3, year: int = 2026) -> str:
    """A local instant of the working day that begins at eight; Chicago's clocks go forward on 8 March 2026."""
    summer = year == 2026 and (month > 3 or (month == 3 and day >= 8))
    return f"{year}-{month:02d}-{day:02d}T{8 + minute // 60:02d}:{minute % 60:02d}:00-0{5 if summer else 6}:00"


# -- resources of a patient: (patient, slot) -> resource, or None where this one has none -----------


def patient_(patient: int, _: int) -> Json:
    race = {"url": "ombCategory", "valueCoding": {"system": "urn:oid:2.16.840.1.113883.6.238", "code": "2106-3"}}
    born: Json = {"birthDate": f"{1935 + pick(patient, 'born', 30)}-0{1 + pick(patient, 'm', 9)}-15"}
    died = {"deceasedDateTime": "2026-02-11"} if share(patient, "died", 0.5) else {}
    return resource(
        "Patient", f"p{patient}", patient, "us-core-patient", **born, **died,
        extension=[
            {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
             "extension": [race, {"url": "text", "valueString": "White"}]},
            {"url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-birthsex", "valueCode": "F"},
        ],
        active=True, gender="female",
        name=[{"use": "official", "family": f"Synthetic{patient}", "given": ["Pat", "Q"]}],
        telecom=[{"system": "phone", "value": "555-0100"}, {"system": "email", "value": "x@example.com"}],
        address=[{"use": "home", "line": ["1 Main Street"], "city": "Springfield", "state": "IL"}],
        generalPractitioner=[refers(staff(patient, "pcp"))],
        communication=[{"language": coded("urn:ietf:bcp:47", "en-US", "English"), "preferred": True}],
    )  # fmt: skip


def coverage(patient: int, _: int) -> Json | None:
    if share(patient, "uninsured", 4):
        return None
    other = share(patient, "other payer", 5)
    return resource(
        "Coverage", f"cov{patient}", patient, "us-core-coverage",
        status="active",
        type=coded("https://nahdo.org/sopt", "5" if other else "1", "Payer"),
        subscriberId=f"1S{patient:08d}", beneficiary=refers(f"Patient/p{patient}"),
        relationship=coded("http://terminology.hl7.org/CodeSystem/subscriber-relationship", "self", "Self"),
        period={"start": "2020-01-01"}, payor=[refers("Organization/cms")], order=1,
    )  # fmt: skip


def consent(patient: int, _: int) -> Json | None:
    if share(patient, "no consent", 6):
        return None
    ended = share(patient, "inactive consent", 3)
    day = at(pick(patient, "consent", 20) + 1, 30, 2 if first_month(patient) else 1)
    return resource(
        "Consent", f"con{patient}", patient, "consent",
        status="inactive" if ended else "active",
        scope=coded("http://terminology.hl7.org/CodeSystem/consentscope", "treatment", "Treatment"),
        category=[coded("urn:bhi-fhir:consent", "bhi", "Behavioral health integration")],
        patient=refers(f"Patient/p{patient}"), dateTime=day,
        performer=[refers(f"Patient/p{patient}")], organization=[refers(f"Organization/{clinic(patient)}")],
        policyRule=coded("urn:bhi-fhir:consent", "bhi-standard-terms", "Standard terms"),
        provision={"type": "permit", "actor": [
            {"role": coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "PRCP", "Recipient"),
             "reference": refers(staff(patient, "other" if share(patient, "consent for another", 2) else "pcp"))}]},
    )  # fmt: skip


def care_team(patient: int, _: int) -> Json | None:
    if share(patient, "no team", 1):
        return None
    roles = {"pcp": "treating-practitioner"}
    roles |= {"nurse": "clinical-staff"} if general(patient) else {"manager": "behavioral-health-care-manager"}
    if not general(patient) and not share(patient, "no consultant", 4):
        roles["consultant"] = "psychiatric-consultant"
    members = [
        {"role": [coded("urn:bhi-fhir:team-role", role)], "member": refers(staff(patient, who)),
         "onBehalfOf": refers(f"Organization/{clinic(patient)}"), "period": {"start": "2025-01-01"}}
        for who, role in roles.items()
    ]  # fmt: skip
    return resource(
        "CareTeam", f"team{patient}", patient, "us-core-careteam",
        status="active", name="Behavioral health team",
        category=[coded("urn:bhi-fhir:program", "general-bhi" if general(patient) else "cocm")],
        subject=refers(f"Patient/p{patient}"), period={"start": "2025-01-01"}, participant=members,
    )  # fmt: skip


def condition(patient: int, slot: int) -> Json | None:
    if slot and not share(patient, "second diagnosis", 40):
        return None
    code = "I10" if slot else _DIAGNOSES[pick(patient, "diagnosis", len(_DIAGNOSES))]
    sure = "provisional" if not slot and share(patient, "provisional", 3) else "confirmed"
    return resource(
        "Condition", f"dx{patient}-{slot}", patient, "us-core-condition-problems-health-concerns",
        clinicalStatus=coded("http://terminology.hl7.org/CodeSystem/condition-clinical", "active", "Active"),
        verificationStatus=coded("http://terminology.hl7.org/CodeSystem/condition-ver-status", sure),
        category=[coded("http://terminology.hl7.org/CodeSystem/condition-category", "problem-list-item")],
        code={"coding": [
            {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": code, "display": f"Diagnosis {code}"},
            {"system": "http://snomed.info/sct", "code": "35489007", "display": "Disorder"}], "text": code},
        subject=refers(f"Patient/p{patient}"), onsetDateTime="2024-05-02", recordedDate="2024-05-02T09:11:00-05:00",
        recorder=refers(staff(patient, "pcp")), asserter=refers(staff(patient, "pcp")),
    )  # fmt: skip


def encounter(patient: int, slot: int) -> Json | None:
    """Slot 0 the initiating visit, 1 to 4 contacts of the month, 5 one of the month before, 6 odd ones."""
    who, kind, status = worker(patient), coded("urn:bhi-fhir:activity", _CONTACTS[slot % len(_CONTACTS)]), "finished"
    start, minutes = (2 + 6 * slot, 30 * pick(patient, f"at {slot}", 16)), 8 + pick(patient, f"minutes {slot}", 25)
    month, year = 3, 2026
    if slot == 0:
        old = share(patient, "old visit", 5)
        who, kind = staff(patient, "pcp"), coded("http://www.ama-assn.org/go/cpt", "99214", "Office visit")
        month, year, start = (1, 2024 if old else 2026, (start[0], 0))
    elif slot == 5:
        if first_month(patient):
            return None
        month, start = 2, (17, start[1])
    elif slot == 6:
        if not share(patient, "odd entry", 25):
            return None
        odd = pick(patient, "odd", 4)
        kind = coded("urn:bhi-fhir:activity", "administrative") if odd == 0 else kind
        who = staff(patient, "stranger") if odd == 1 else who
        status = ("finished", "finished", "cancelled", "entered-in-error")[odd]
        start = (28, start[1])
    elif slot > 2 and share(patient, f"no contact {slot}", 12):
        return None
    end = start[1] + minutes
    untimed = slot == 1 and share(patient, "no end", 2)
    return resource(
        "Encounter", f"enc{patient}-{slot}", patient, "us-core-encounter", status=status,
        **{"class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR" if slot else "AMB"}},
        type=[kind], subject=refers(f"Patient/p{patient}"),
        participant=[
            {"type": [coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "PPRF", "primary performer")],
             "individual": refers(who),
             "period": {"start": at(start[0], start[1], month, year)}}],
        period={"start": at(start[0], start[1], month, year),
                **({} if untimed else {"end": at(start[0], end, month, year)})},
        location=[{"location": refers(f"Location/{clinic(patient)}")}],
        serviceProvider=refers(f"Organization/{clinic(patient)}"),
    )  # fmt: skip


def procedure(patient: int, slot: int) -> Json | None:
    """Slot 0 the consultant's review, then notes of the month without time, one with."""
    if slot == 0 and general(patient):
        return None
    if slot and share(patient, f"no note {slot}", 6):
        return None
    notes = _GENERAL_NOTES if general(patient) else _NOTES
    kind = notes[slot - 1] if slot else "psychiatric-review"
    day = 3 + 5 * slot + pick(patient, "note", 4)
    timed = {"performedPeriod": {"start": at(day, 240), "end": at(day, 246 + slot)}}
    return resource(
        "Procedure", f"proc{patient}-{slot}", patient, "us-core-procedure",
        status="completed", code=coded("urn:bhi-fhir:activity", kind), subject=refers(f"Patient/p{patient}"),
        category=coded("http://snomed.info/sct", "409063005", "Counselling"),
        **(timed if slot == 2 else {"performedDateTime": at(day, 240)}),
        recorder=refers(worker(patient)),
        performer=[
            {"function": coded("http://snomed.info/sct", "768832004", "Case manager"),
             "actor": refers(worker(patient) if slot else staff(patient, "consultant"))}],
        note=[{"text": "Reviewed with the team; the plan of care stands as it was written, next contact as planned."}],
    )  # fmt: skip


def questionnaire_response(patient: int, _: int) -> Json | None:
    if share(patient, "no scale", 10):
        return None
    items = [
        {"linkId": f"/{code}", "text": text, "answer": [{"valueCoding": {
            "system": "http://loinc.org", "code": _SCORES[pick(patient, code, 4)], "display": "Several days"}}]}
        for code, text in _ITEMS[: 7 if share(patient, "unfinished scale", 3) else 9]
    ]  # fmt: skip
    return resource(
        "QuestionnaireResponse", f"phq{patient}", patient, "us-core-questionnaireresponse",
        questionnaire="http://loinc.org/q/44249-1", status="completed", subject=refers(f"Patient/p{patient}"),
        authored=at(2 + pick(patient, "scale", 24), 100), author=refers(worker(patient)), item=items,
    )  # fmt: skip


def charge_item(patient: int, _: int) -> Json | None:
    apcm, competing = share(patient, "apcm", 15), share(patient, "competing", 4)
    if not apcm and not competing:
        return None
    system = (
        "http://www.ama-assn.org/go/cpt" if competing else "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
    )
    return resource(
        "ChargeItem", f"chg{patient}", patient, "ChargeItem",
        status="billed", code=coded(system, "99484" if competing else "G0557"),
        subject=refers(f"Patient/p{patient}"), occurrenceDateTime="2026-03-31",
        performer=[{"actor": refers(staff(patient, "pcp"))}], quantity={"value": 1},
    )  # fmt: skip


Maker = Callable[[int, int], Json | None]
OF_A_PATIENT: dict[str, tuple[int, Maker]] = {
    "Patient": (1, patient_),
    "Coverage": (1, coverage),
    "Consent": (1, consent),
    "CareTeam": (1, care_team),
    "Condition": (2, condition),
    "Encounter": (7, encounter),
    "Procedure": (5, procedure),
    "QuestionnaireResponse": (1, questionnaire_response),
    "ChargeItem": (1, charge_item),
}
"""type -> (slots of each patient, what stands in one)"""


# -- what all patients share ------------------------------------------------------------------------

_SPECIALTIES = {
    "pcp": "207Q00000X",
    "manager": "1041C0700X",
    "consultant": "2084P0800X",
    "nurse": "163W00000X",
    "stranger": "163W00000X",
    "other": "207R00000X",
}


def shared(patients: int) -> Iterator[tuple[str, Json]]:
    yield "Organization", resource("Organization", "cms", 0, "us-core-organization", name="Medicare")
    for number in range(min((patients - 1) // CLINIC + 1, CLINICS)):
        home = resource("Organization", f"clinic-{number}", number, "us-core-organization", name=f"Clinic {number}")
        yield "Organization", home
        for place, (role, nucc) in enumerate(_SPECIALTIES.items()):
            name = f"{role}-{number}"
            npi = {"system": "http://hl7.org/fhir/sid/us-npi", "value": f"{1_000_000_000 + number * 10 + place}"}
            person = resource("Practitioner", name, number, "us-core-practitioner", active=True)
            yield "Practitioner", {**person, "identifier": [npi]}
            yield "PractitionerRole", resource(
                "PractitionerRole", f"role-{name}", number, "us-core-practitionerrole",
                active=True, practitioner=refers(f"Practitioner/{name}"),
                organization=refers(f"Organization/clinic-{number}"),
                specialty=[coded("http://nucc.org/provider-taxonomy", nucc)],
            )  # fmt: skip


# -- out --------------------------------------------------------------------------------------------


def permuted(count: int) -> Iterator[int]:
    """Every number below `count` once, neighbours far apart."""
    step = int(count * 0.618) | 1
    while gcd(step, count) != 1:
        step += 2
    return (number * step % count for number in range(count))


def lines(kind: str, patients: int) -> Iterator[bytes]:
    slots, make = OF_A_PATIENT[kind]
    for number in permuted(patients * slots):
        patient, slot = divmod(number, slots)
        found = make(patient, slot)
        if found is None:
            continue
        if kind == "Encounter" and slot == 2 and share(patient, "broken", 0.2):
            found["period"] = found["period"]["start"]  # no Period: the line is set aside, and its patient's only
        yield msgspec.json.encode(found)


def generate(folder: Path, patients: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for kind in OF_A_PATIENT:
        with (folder / f"{kind}.ndjson").open("wb") as out:
            for line in lines(kind, patients):
                out.write(line + b"\n")
    files = {
        kind: (folder / f"{kind}.ndjson").open("wb") for kind in ("Organization", "Practitioner", "PractitionerRole")
    }
    for kind, found in shared(patients):
        files[kind].write(msgspec.json.encode(found) + b"\n")
    for file in files.values():
        file.close()


def site(folder: Path) -> Path:
    """A site's folder for these patients."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "site.toml").write_text(SITE)
    return folder


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("folder", type=Path)
    asked.add_argument("--patients", type=int, default=2000)
    options = asked.parse_args()
    generate(options.folder, options.patients)
