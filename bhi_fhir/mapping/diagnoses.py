"""Condition, and the diagnoses and reasons of encounters."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import Diagnosis
from bhi_fhir.domain.time import Moment, Period
from bhi_fhir.domain.value import replace
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.terminology import ICD10, Codings, codings
from bhi_fhir.views.common import CodeableConcept, PeriodPart
from bhi_fhir.views.condition import Condition
from bhi_fhir.views.encounter import Encounter

_IN_FORCE = {"active", "recurrence", "relapse", "remission"}
_ENDED = {"inactive", "resolved"}
_NO_DIAGNOSIS = {"entered-in-error", "refuted"}
_VERIFIED = {"confirmed", "unconfirmed", "provisional", "differential", *_NO_DIAGNOSIS}


def diagnoses(rows: PatientRows, reading: Reading) -> Iterator[Diagnosis]:
    known = set()
    for key, row in rows.of(Condition):
        known.add(key)
        verification = _status(row.verification_status, _VERIFIED)
        if not verification & _NO_DIAGNOSIS:
            yield _diagnosis(key, row, verification, reading)
    for key, encounter in rows.of(Encounter):
        if encounter.status == "finished":
            yield from _of_encounter(key, encounter, known, reading)


def _diagnosis(key: str, row: Condition, verification: set[str], reading: Reading) -> Diagnosis:
    period = _in_force(row, reading)
    clinical = _status(row.clinical_status, _IN_FORCE | _ENDED)
    doubt = ""
    if verification - {"confirmed"}:
        doubt = f"it is {' and '.join(sorted(verification - {'confirmed'}))}"
    elif clinical & _ENDED and period.end is None:
        doubt = f"it is {' and '.join(sorted(clinical))} now and nothing says since when"
    elif "unclear" in clinical:
        doubt = "its clinical status says nothing"
    elif not _readable(row, reading):
        doubt = "its onset or abatement has a date that cannot be read"
    return _coded(key, row.code, period, doubt, reading)


def _coded(key: str, concept: CodeableConcept | None, period: Period, doubt: str, reading: Reading) -> Diagnosis:
    behavioral, icd10, risk = reading.terms.once(_meaning, codings([concept]), reading)
    return Diagnosis(key, behavioral, period, doubt, icd10, risk)


def _meaning(coded: Codings, reading: Reading) -> tuple[bool | None, str, bool]:
    """(is it behavioral, None if no map knows; its ICD-10 code; is it a suicide or overdose risk)."""
    terms, concepts = reading.terms, [CodeableConcept(found) for found in coded]
    behavioral: bool | None = None
    if terms.holds("behavioral-diagnosis", *concepts):
        behavioral = True
    elif terms.knows_system("behavioral-diagnosis", *concepts):
        behavioral = False
    icd10 = next((code for system, code in terms.codes(*concepts) if system == ICD10), "")
    return behavioral, icd10, terms.holds("suicide-or-overdose-risk", *concepts)


def _in_force(row: Condition, reading: Reading) -> Period:
    """From onset (else the recorded date) to abatement."""
    clock = reading.clock
    onset = clock.moment(row.onset_date_time) or clock.period(row.onset_period).start
    abatement = clock.moment(row.abatement_date_time)
    if abatement is None and row.abatement_period:
        abated = clock.period(row.abatement_period)
        abatement = abated.end or abated.start
    recorded = clock.moment(row.recorded_date)
    if onset and recorded and onset.earliest < recorded.latest < onset.latest:
        onset = Moment(onset.earliest, recorded.latest)  # what is recorded has begun
    return Period(onset or recorded, abatement)


def _of_encounter(key: str, row: Encounter, known: set[str], reading: Reading) -> Iterator[Diagnosis]:
    """A behavioral reason is a diagnosis recorded then; what no map knows raises doubt only on its own days."""
    if not row.reason_code and not row.diagnosis:
        return
    period = reading.clock.period(row.period)
    if period.start is None:
        return
    seen = Period(period.start, period.end or _same_day(period.start))
    for concept in row.reason_code or ():
        found = _coded(key, concept, seen, "", reading)
        yield replace(found, period=Period(period.start)) if found.behavioral else found
    for part in row.diagnosis or ():
        target = reading.record.resolve(part.condition, key)
        if target and target not in known and target not in reading.record.rows:
            yield Diagnosis(key, None, seen, "the record does not hold the condition that it refers to")
        elif target and "#" in target:
            contained = reading.record.rows[target]
            if isinstance(contained, Condition):
                yield _coded(key, contained.code, seen, "", reading)


def _same_day(start: Moment) -> Moment:
    return Moment(start.latest, start.latest)


def _status(concept: CodeableConcept | None, known: set[str]) -> set[str]:
    """The codes of a status, whatever its system's spelling; local codes beside them say nothing. Empty: absent."""
    if concept is None:
        return set()
    coded = [(c.system or "", c.code.strip().lower()) for c in concept.coding or () if c.code]
    official = {code for system, code in coded if code in known and "condition-" in system}
    return official or {code for _, code in coded if code in known} or {"unclear"}


def _readable(row: Condition, reading: Reading) -> bool:
    onset, abatement = row.onset_period or PeriodPart(), row.abatement_period or PeriodPart()
    dates = (row.onset_date_time, row.abatement_date_time, onset.start, abatement.start, abatement.end)
    return all(reading.clock.can_read(date) for date in dates)
