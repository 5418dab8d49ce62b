"""One patient is in order; a scenario says only what differs.

    cocm_record(month="2026-03").work(36, kind="assessment")
    cocm_record(episode="later").work(20).without("brief-intervention")
    general_record().work(25).change("Consent", status="inactive")

A Record is a list of plain FHIR R4 resources with short methods that read like the field. Each returns the
record and takes further fields of the resource as keywords, None to remove one: `.work(20, id="evening")`.
A day is a day of the service month (`3`) or a date (`"2026-01-14"`); times of day are Chicago's.
Everybody is invented: the NPIs begin with 9, and the MBIs hold an S, which no issued one does.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Self
from zoneinfo import ZoneInfo

Resource = dict[str, Any]
Day = int | str
Many = str | Sequence[str]

BASE = "https://ehr.example/fhir"
CHICAGO = ZoneInfo("America/Chicago")
CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
LOINC = "http://loinc.org"
MBI = "http://hl7.org/fhir/sid/us-mbi"
NPI = "http://hl7.org/fhir/sid/us-npi"
NUCC = "http://nucc.org/provider-taxonomy"
SOPT = "https://nahdo.org/sopt"
HL7 = "http://terminology.hl7.org/CodeSystem/"
ACTIVITY = "urn:bhi-fhir:activity"
CONSENT = "urn:bhi-fhir:consent"
PROGRAM = "urn:bhi-fhir:program"
TEAM_ROLE = "urn:bhi-fhir:team-role"

# fmt: off
COCM_ELEMENTS = (
    "psychiatric-review", "assessment", "caseload-consultation", "registry-tracking", "brief-intervention",
    "care-planning", "care-coordination", "progress-review", "outreach",
)
GENERAL_ELEMENTS = ("care-planning", "treatment-coordination", "follow-up")

PHQ9 = ("44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8")
GAD7 = ("69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7")
# fmt: on
PANELS = {"phq-9": ("44249-1", "44261-6", PHQ9), "gad-7": ("69737-5", "70274-6", GAD7)}
ANSWERS = ("LA6568-5", "LA6569-3", "LA6570-1", "LA6571-9")  # not at all … nearly every day: 0 to 3 points

PEOPLE: dict[str, tuple[str, str, str | None]] = {  # id: given name, NPI, NUCC specialty
    "pcp": ("Paula", "9000001013", "207Q00000X"),  # family medicine
    "bhcm": ("Benita", "9000002029", "1041C0700X"),  # clinical social worker
    "psych": ("Piers", "9000003035", "2084P0800X"),  # psychiatry
    "nurse": ("Nora", "9000004041", "163W00000X"),  # registered nurse
    "cp": ("Celeste", "9000005055", "103TC0700X"),  # clinical psychologist
    "clerk": ("Clara", "9000006061", None),
}


def concept(system: str, *codes: str) -> Resource:
    """A CodeableConcept with one coding for each code."""
    return {"coding": [{"system": system, "code": code} for code in codes]}


def billing_code(code: str) -> Resource:
    return concept(CPT if code[0].isdigit() else HCPCS, code)


def reference(who: str) -> Resource:
    """`pcp` is a Practitioner; anything with a slash is taken as it is."""
    return {"reference": who if "/" in who else f"Practitioner/{who}"}


def months_before(month: str, count: int) -> str:
    year, index = divmod(int(month[:4]) * 12 + int(month[5:]) - 1 - count, 12)
    return f"{year}-{index + 1:02}"


def answers(panel: str, score: int) -> list[int]:
    """The score spread evenly over the items; PHQ-9's item on self-harm stays 0 as long as it can."""
    size = len(PANELS[panel][2])
    spread = 8 if panel == "phq-9" and score <= 24 else size
    return [score // spread + (i < score % spread) if i < spread else 0 for i in range(size)]


class Record:
    """One patient's record around one service month."""

    def __init__(
        self, month: str, patient: str = "maria", *, program: str = "cocm", biller: str = "pcp",
        worker: str = "bhcm", gender: str = "female", born: str = "1951-07-14", mbi: str = "1S00E00AA00",
    ) -> None:  # fmt: skip
        self.month, self.patient, self.biller, self.worker = month, patient, biller, worker
        self.resources: list[Resource] = []
        self._numbers: dict[str, int] = {}
        name, identifier = {"family": "Synthetic", "given": [patient.title()]}, {"system": MBI, "value": mbi}
        self._put("Patient", patient, name=[name], gender=gender, birthDate=born, identifier=[identifier])
        team = {"status": "active", "category": [concept(PROGRAM, program)], "subject": self.subject}
        self._put("CareTeam", f"{patient}-team", **team, period={"start": "2025-01-01"}, participant=[])

    @property
    def subject(self) -> Resource:
        return {"reference": f"Patient/{self.patient}"}

    # -- time

    def date(self, day: Day) -> str:
        return f"{self.month}-{day:02}" if isinstance(day, int) else day

    def moment(self, day: Day, at: str) -> datetime:
        """A Chicago time with the offset of that day."""
        return datetime.fromisoformat(f"{self.date(day)}T{at}").replace(tzinfo=CHICAGO)

    def period(self, day: Day, at: str, minutes: float) -> Resource:
        """The minutes are added in UTC: on the clock on the wall some nights an hour is lost or won."""
        start = self.moment(day, at)
        end = (start.astimezone(UTC) + timedelta(minutes=minutes)).astimezone(CHICAGO)
        return {"start": start.isoformat(), "end": end.isoformat()}

    def when(self, text: str) -> str:
        """A local date-time gets its offset; a date, or a date-time that has one, stays."""
        return self.moment(*text.split("T")).isoformat() if len(text) in (16, 19) else text

    # -- people

    def person(self, who: str, specialty: str | None = None) -> Self:
        """A Practitioner of PEOPLE, or a new one with this NUCC specialty; once."""
        if self._named(f"Practitioner/{who}"):
            return self
        given, npi, known = PEOPLE.get(who, (who.title(), None, None))
        identifier = [{"system": NPI, "value": npi}] if npi else None
        self._put("Practitioner", who, name=[{"family": "Synthetic", "given": [given]}], identifier=identifier)
        if nucc := specialty or known:
            role = {"practitioner": reference(who), "specialty": [concept(NUCC, nucc)]}
            self._put("PractitionerRole", f"{who}-role", active=True, **role)
        return self

    def member(self, who: str, role: str, start: str | None = None, end: str | None = None) -> Self:
        """Joins the care team in this role, and the people if not yet on file."""
        participant: Resource = {"role": [concept(TEAM_ROLE, role)], "member": reference(who)}
        if start or end:
            participant["period"] = {key: date for key, date in (("start", start), ("end", end)) if date}
        self.get("CareTeam")["participant"].append(participant)
        return self.person(who)

    def leaves(self, who: str) -> Self:
        """Was never on the team; the person stays on file."""
        team = self.get("CareTeam")
        team["participant"] = [p for p in team["participant"] if p["member"] != reference(who)]
        return self

    # -- what a record holds

    def coverage(self, payer: str = "1", start: str = "2016-07-01", end: str | None = None, **fields: Any) -> Self:
        """A payer by its SOPT code: 1 Medicare, 2 Medicaid, 5 private."""
        name, owner = ("Medicare Part B", "cms") if payer == "1" else (f"Payer {payer}", f"payer-{payer}")
        self._put("Organization", owner, name=f"{name} (synthetic)")
        who = {"beneficiary": self.subject, "payor": [{"reference": f"Organization/{owner}"}]}
        period = {"start": start} | ({"end": end} if end else {})
        what = {"status": "active", "type": concept(SOPT, payer), **who, "period": period}
        return self._new("Coverage", "coverage", what, fields)

    def condition(
        self, code: str, clinical: str | None = "active", verified: str | None = "confirmed", **fields: Any
    ) -> Self:
        what = {
            "subject": self.subject,
            "clinicalStatus": concept(f"{HL7}condition-clinical", clinical) if clinical else None,
            "verificationStatus": concept(f"{HL7}condition-ver-status", verified) if verified else None,
            "category": [concept(f"{HL7}condition-category", "problem-list-item")],
            "code": concept(ICD10, code),
            "recordedDate": "2024-01-15",
        }
        return self._new("Condition", "condition", what, fields)

    def consent(self, given: str, by: str | None = None, status: str = "active", **fields: Any) -> Self:
        """To the billing practitioner; one more, if one is on file already."""
        role = concept(f"{HL7}v3-ParticipationType", "PRCP")
        what = {
            "status": status,
            "scope": concept(f"{HL7}consentscope", "treatment"),
            "category": [concept(CONSENT, "bhi")],
            "patient": self.subject,
            "dateTime": self.when(given),
            "policyRule": concept(CONSENT, "bhi-standard-terms"),
            "provision": {
                "type": "permit",
                "actor": [{"role": role, "reference": reference(by or self.biller)}],
            },
        }
        return self._new("Consent", "consent", what, fields)

    def visit(self, code: str, date: Day, by: str | None = None, *, at: str = "08:30", **fields: Any) -> Self:
        """Half an hour in the practice, finished, with a billing code."""
        fields = {"period": self.period(date, at, 30)} | fields
        return self._encounter("visit", "AMB", billing_code(code), by or self.biller, **fields)

    def work(
        self, minutes: float, day: Day = 3, at: str = "10:00", kind: Many = "follow-up",
        by: Many | None = None, **fields: Any,
    ) -> Self:  # fmt: skip
        """A timed Encounter, finished and virtual, by the record's care manager or staff."""
        fields = {"period": self.period(day, at, minutes)} | fields
        return self._encounter("work", "VR", concept(ACTIVITY, *_many(kind)), by or self.worker, **fields)

    def work_procedure(
        self, minutes: float, day: Day = 3, at: str = "10:00", kind: Many = "follow-up",
        by: Many | None = None, **fields: Any,
    ) -> Self:  # fmt: skip
        """A timed Procedure, completed; `encounter={"reference": …}` puts it inside one."""
        fields = {"performedPeriod": self.period(day, at, minutes)} | fields
        return self._procedure("procedure", kind, by or self.worker, **fields)

    def note(self, kind: str, day: Day = 10, by: Many | None = None, **fields: Any) -> Self:
        """Work that is documented with a date and no time: a completed Procedure."""
        by = by or ("psych" if kind == "psychiatric-review" else self.worker)
        fields = {"performedDateTime": self.date(day)} | fields
        return self._procedure(kind, kind, by, **fields)

    def scale(
        self, score: int = 11, panel: Literal["phq-9", "gad-7"] = "phq-9", day: Day = 10, *,
        answered: int | None = None, total: int | None = None, **fields: Any,
    ) -> Self:  # fmt: skip
        """A completed questionnaire: all items or the first `answered`; the form's total only if all are."""
        code, total_code, items = PANELS[panel]
        given = list(zip(items, answers(panel, score), strict=True))[:answered]
        filled: dict[str, Resource] = {
            link: {"valueCoding": {"system": LOINC, "code": ANSWERS[points]}} for link, points in given
        }
        if total is not None or len(given) == len(items):
            filled[total_code] = {"valueInteger": score if total is None else total}
        item = [{"linkId": f"/{link}", "answer": [answer]} for link, answer in filled.items()]
        who = {"subject": self.subject, "authored": self.moment(day, "11:00").isoformat()}
        what = {"questionnaire": f"{LOINC}/q/{code}", "status": "completed", "item": item or None}
        return self._new("QuestionnaireResponse", "scale", who | what, fields)

    def charge(self, service: str, day: Day = 2, by: str | None = None, status: str = "billed", **fields: Any) -> Self:
        who = {"subject": self.subject, "performer": [{"actor": reference(by or self.biller)}]}
        what = {"status": status, "code": billing_code(service), "quantity": {"value": 1}}
        return self._new("ChargeItem", "charge", who | what | {"occurrenceDateTime": self.date(day)}, fields)

    def claim(self, *codes: str, day: Day = 28, by: str | None = None, **fields: Any) -> Self:
        """An active professional Claim with one item for each code."""
        covers = [r for r in self.resources if r["resourceType"] == "Coverage"]
        coverage = {"reference": f"Coverage/{covers[0]['id']}"} if covers else {"display": "none on file"}
        dated = [{"productOrService": billing_code(code), "servicedDate": self.date(day)} for code in codes]
        item = [{"sequence": n} | line for n, line in enumerate(dated, 1)]
        what = {
            "status": "active",
            "type": concept(f"{HL7}claim-type", "professional"),
            "use": "claim",
            "patient": self.subject,
            "created": self.date(day),
            "provider": reference(by or self.biller),
            "priority": concept(f"{HL7}processpriority", "normal"),
            "insurance": [{"sequence": 1, "focal": True, "coverage": coverage}],
            "item": item,
        }
        return self._new("Claim", "claim", what, fields)

    def emergency(self, start: str, end: str | None = None, **fields: Any) -> Self:
        """An emergency department visit, finished, between two local date-times."""
        period = {"start": self.when(start)} | ({"end": self.when(end)} if end else {})
        what = {
            "status": "finished",
            "class": {"system": f"{HL7}v3-ActCode", "code": "EMER"},
            "subject": self.subject,
            "period": period,
        }
        return self._new("Encounter", "emergency", what, fields)

    # -- what differs

    def add(self, *resources: Resource) -> Self:
        self.resources.extend(resources)
        return self

    def get(self, what: str) -> Resource:
        """The one resource that `what` names: a type, a reference, an id, or a code of its kind."""
        found = self._named(what)
        assert len(found) == 1, f"{what} names {len(found)} resources of {self.patient}"
        return found[0]

    def change(self, what: str, **fields: Any) -> Self:
        _merge(self.get(what), fields)
        return self

    def without(self, *what: str) -> Self:
        """Drops all that each word names: `Condition`, `Consent/maria-consent-1`, `outreach`, `99214`."""
        for word in what:
            found = self._named(word)
            assert found, f"{self.patient} has no {word} to drop"
            self.resources = [r for r in self.resources if not any(r is f for f in found)]
        return self

    # -- out

    def bundle(self) -> Resource:
        entries = [{"fullUrl": f"{BASE}/{r['resourceType']}/{r['id']}", "resource": r} for r in self.resources]
        return copy.deepcopy({"resourceType": "Bundle", "type": "collection", "entry": entries})

    def ndjson(self) -> str:
        return "".join(json.dumps(r) + "\n" for r in self.resources)

    # -- inside

    def _named(self, what: str) -> list[Resource]:
        def names(r: Resource) -> tuple[str, str, str]:
            return r["resourceType"], r["id"], f"{r['resourceType']}/{r['id']}"

        def codes(r: Resource) -> Iterable[str]:
            kinds = [r.get("code"), *(r["type"] if isinstance(r.get("type"), list) else ())]
            return [coding["code"] for kind in kinds if kind for coding in kind["coding"]]

        named = [r for r in self.resources if what in names(r)]
        return named or [r for r in self.resources if what in codes(r)]

    def _put(self, kind: str, name: str, /, **fields: Any) -> None:
        resource = _merge({"resourceType": kind, "id": name}, fields)
        if resource not in self.resources:  # a payer of two coverages
            self.resources.append(resource)

    def _new(self, type_: str, word: str, what: Resource, differs: Resource) -> Self:
        if "id" not in differs:
            self._numbers[word] = self._numbers.get(word, 0) + 1
        name = differs.get("id") or f"{self.patient}-{word}-{self._numbers[word]}"
        self.resources.append(_merge({"resourceType": type_, "id": name}, what | differs))
        return self

    def _encounter(self, word: str, act: str, type_: Resource, by: Many, **fields: Any) -> Self:
        who = {"subject": self.subject, "participant": [{"individual": reference(who)} for who in _many(by)]}
        what = {"status": "finished", "class": {"system": f"{HL7}v3-ActCode", "code": act}, "type": [type_]}
        return self._new("Encounter", word, who | what, fields)

    def _procedure(self, word: str, kind: Many, by: Many, **fields: Any) -> Self:
        who = {"subject": self.subject, "performer": [{"actor": reference(who)} for who in _many(by)]}
        what = {"status": "completed", "code": concept(ACTIVITY, *_many(kind))}
        return self._new("Procedure", word, who | what, fields)


def _many(text: Many) -> Sequence[str]:
    return (text,) if isinstance(text, str) else text


def _merge(resource: Resource, fields: Resource) -> Resource:
    for key, value in fields.items():
        if value is None:
            resource.pop(key, None)
        else:
            resource[key] = value
    return resource


# -- patients in order


def cocm_record(
    month: str = "2026-03",
    episode: Literal["initial", "later"] = "initial",
    patient: str = "maria",
    **who: Any,
) -> Record:
    """Collaborative care, all documented, no minutes yet; `later`: 45 minutes the month before."""
    record = Record(month, patient, **who)
    record.member("pcp", "treating-practitioner")
    record.member("bhcm", "behavioral-health-care-manager")
    record.member("psych", "psychiatric-consultant")
    _in_order(record, months_before(month, 2 if episode == "later" else 1), "99214", COCM_ELEMENTS)
    if episode == "later":
        record.work(45, f"{months_before(month, 1)}-10", id=f"{patient}-month-before")
    return record


def general_record(month: str = "2026-03", patient: str = "maria", **who: Any) -> Record:
    """General BHI by the practice's nurse, all documented, no minutes yet."""
    record = Record(month, patient, program="general-bhi", worker="nurse", **who)
    record.member("pcp", "treating-practitioner").member("nurse", "clinical-staff")
    return _in_order(record, months_before(month, 1), "99214", GENERAL_ELEMENTS)


def g0323_record(month: str = "2026-03", patient: str = "maria", **who: Any) -> Record:
    """General BHI by a clinical psychologist in person, after a 90791, all documented, no minutes yet."""
    record = Record(month, patient, program="general-bhi", biller="cp", worker="cp", **who)
    record.member("cp", "treating-practitioner")
    return _in_order(record, months_before(month, 1), "90791", GENERAL_ELEMENTS)


def _in_order(record: Record, before: str, visit: str, elements: Sequence[str]) -> Record:
    record.coverage(subscriberId=record.get("Patient")["identifier"][0]["value"]).condition("F33.1")
    record.visit(visit, f"{before}-20").consent(f"{before}-20T09:30").scale()
    for kind in elements:
        record.note(kind)
    return record
