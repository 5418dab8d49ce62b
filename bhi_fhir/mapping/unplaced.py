"""What the adapter could not understand: codes seen in a record that no map knows, by element."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from bhi_fhir.domain.time import whole_minutes
from bhi_fhir.domain.value import Value
from bhi_fhir.mapping.charges import is_charge
from bhi_fhir.mapping.consents import kinds_of
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.screenings import scale_of
from bhi_fhir.mapping.teams import roles_elsewhere
from bhi_fhir.mapping.times import believable, contact_types, encounter_time, procedure_time, time_logs
from bhi_fhir.mapping.work import is_placed
from bhi_fhir.views.care_team import CareTeam
from bhi_fhir.views.charge_item import ChargeItem
from bhi_fhir.views.claim import Claim
from bhi_fhir.views.common import CodeableConcept, Coding, PeriodPart
from bhi_fhir.views.condition import Condition
from bhi_fhir.views.consent import Consent
from bhi_fhir.views.coverage import Coverage
from bhi_fhir.views.encounter import Encounter
from bhi_fhir.views.practitioner import Practitioner
from bhi_fhir.views.practitioner_role import PractitionerRole
from bhi_fhir.views.procedure import Procedure
from bhi_fhir.views.questionnaire_response import QuestionnaireResponse


class Seen(Value, frozen=True):
    """One concept in one resource. `placed`: some map knows it. `duration`: the time that hangs on it.

    `untimed`: it documents a time that could not be taken.
    """

    element: str
    concept: CodeableConcept
    example: str
    placed: bool
    duration: timedelta = timedelta()
    untimed: bool = False


class Unplaced(Value, frozen=True):
    """A code that no map knows. `code` "" where there is only text, which is never shown: it may name people."""

    element: str
    system: str
    code: str
    count: int
    example: str
    minutes: int


class Report(Value, frozen=True):
    """`minutes` of all work-like entries seen, `unplaced_minutes` of those that no map knows.

    `untimed`: Encounters and Procedures with a length or a whole period that the site's reading takes no time from.
    """

    unplaced: tuple[Unplaced, ...]
    minutes: int
    unplaced_minutes: int
    untimed: int


def report(seen: list[Seen]) -> Report:
    """Every unknown code of what was seen, the most frequent first."""
    counts: dict[tuple[str, str, str], list[Seen]] = {}
    for one in seen:
        if not one.placed:
            for coding in one.concept.coding or [Coding()]:
                key = (one.element, coding.system or "", coding.code or "")
                counts.setdefault(key, []).append(one)
    found = [
        Unplaced(*key, len(mine), min(m.example for m in mine), whole_minutes(_sum(mine)))
        for key, mine in counts.items()
    ]
    found.sort(key=lambda u: (-u.count, u.element, u.system, u.code))
    unplaced = whole_minutes(_sum([one for one in seen if not one.placed]))
    return Report(tuple(found), whole_minutes(_sum(seen)), unplaced, sum(one.untimed for one in seen))


def _sum(seen: list[Seen]) -> timedelta:
    return sum((one.duration for one in seen), timedelta())


def seen_in(reading: Reading) -> Iterator[Seen]:
    """Every concept of one record that billing asks for."""
    yield from _work(reading)
    yield from _people(reading)
    yield from _facts(reading)


def _work(reading: Reading) -> Iterator[Seen]:
    terms, record = reading.terms, reading.record
    everybody = PatientRows()
    for key, row in record.rows.items():
        everybody.take(key, row)
    logs = time_logs(everybody, reading)
    for key, encounter in record.of_type(Encounter):
        concepts = contact_types(encounter)
        if encounter.status == "finished":
            placed = bool(terms.translate("activity", *concepts)[0]) or is_placed(concepts, reading)
            duration = believable(encounter_time(key, encounter, logs, reading))[1]
            untimed = duration is None and (encounter.length is not None or _is_whole(encounter.period))
            yield Seen("Encounter.type", _merged(concepts), key, placed, duration or timedelta(), untimed)
    for key, procedure in record.of_type(Procedure):
        if procedure.status == "completed":
            concept = procedure.code or CodeableConcept()
            placed = bool(terms.translate("activity", concept)[0]) or is_placed([concept], reading)
            duration = believable(procedure_time(procedure, reading))[1]
            untimed = duration is None and _is_whole(procedure.performed_period)
            yield Seen("Procedure.code", concept, key, placed, duration or timedelta(), untimed)


def _is_whole(period: PeriodPart | None) -> bool:
    return bool(period and period.start and period.end)


def _merged(concepts: list[CodeableConcept]) -> CodeableConcept:
    return CodeableConcept(tuple(coding for concept in concepts for coding in concept.coding or ()))


def _people(reading: Reading) -> Iterator[Seen]:
    terms, record = reading.terms, reading.record
    for key, team in record.of_type(CareTeam):
        for member in team.participant or ():
            concept = _merged(member.role or [])
            known = bool(terms.translate("team-role", concept)[0])
            elsewhere = roles_elsewhere(record.person(member.member, key), reading)
            yield Seen("CareTeam.participant.role", concept, key, known or bool(elsewhere))
        for concept in team.category or ():
            yield Seen("CareTeam.category", concept, key, bool(terms.translate("program", concept)[0]))
    for key, role in record.of_type(PractitionerRole):
        for concept in (*(role.specialty or ()), *(role.code or ())):
            yield Seen("PractitionerRole.specialty", concept, key, terms.knows_system("person-physician", concept))
    for key, practitioner in record.of_type(Practitioner):
        for qualification in practitioner.qualification or ():
            known = terms.knows_system("person-physician", qualification.code)
            yield Seen("Practitioner.qualification", qualification.code or CodeableConcept(), key, known)


def _facts(reading: Reading) -> Iterator[Seen]:
    terms, record = reading.terms, reading.record
    for key, consent in record.of_type(Consent):
        placed = kinds_of(consent, reading) != ["unplaced"]
        yield Seen("Consent.category", _merged(consent.category or []), key, placed)
    for key, condition in record.of_type(Condition):
        placed = terms.knows_system("behavioral-diagnosis", condition.code)
        yield Seen("Condition.code", condition.code or CodeableConcept(), key, placed)
    for key, coverage in record.of_type(Coverage):
        known = terms.holds("payer-medicare", coverage.type) or terms.holds("payer-other", coverage.type)
        yield Seen("Coverage.type", coverage.type or CodeableConcept(), key, known)
    for key, item in record.of_type(ChargeItem):
        yield Seen("ChargeItem.code", item.code or CodeableConcept(), key, is_charge(item.code, reading))
    for key, claim in record.of_type(Claim):
        for line in claim.item or ():
            charged = line.product_or_service
            yield Seen("Claim.item.productOrService", charged or CodeableConcept(), key, is_charge(charged, reading))
    for key, response in record.of_type(QuestionnaireResponse):
        canonical = CodeableConcept((Coding("canonical", (response.questionnaire or "").split("|")[0]),))
        yield Seen("QuestionnaireResponse.questionnaire", canonical, key, bool(scale_of(response, terms)))
