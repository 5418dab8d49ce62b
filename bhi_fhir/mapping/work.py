"""Encounter and Procedure: work, visits, other services' time, stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta

from bhi_fhir.domain.record import Activity, OtherService, Stay, Visit
from bhi_fhir.domain.time import Moment
from bhi_fhir.domain.value import Value
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.terminology import Codings, codings
from bhi_fhir.mapping.times import (
    LONGEST,
    believable,
    contact_types,
    encounter_time,
    log_of,
    logged,
    procedure_time,
    time_logs,
)
from bhi_fhir.views.common import CodeableConcept, Coding, Reference
from bhi_fhir.views.device import Device
from bhi_fhir.views.encounter import Encounter
from bhi_fhir.views.observation import Observation
from bhi_fhir.views.procedure import Procedure

ACTIVITY = "urn:bhi-fhir:activity"
_NEVER = "entered-in-error"
_DONE = ("finished", "completed")
_NOT_DONE = (
    *("planned", "arrived", "triaged", "in-progress", "onleave", "cancelled"),  # Encounter
    *("preparation", "not-done", "on-hold", "stopped"),  # Procedure
)
_VISITS = ("initiating-visit", "initiating-visit-psychiatric", "initiating-visit-undecided")
_ANY_VISIT = frozenset({"unplaced"})
"""What no map can place, and what only may have taken place, may be any visit."""


class _Meaning(Value, frozen=True):
    """What the codes of an entry say that it is."""

    kinds: frozenset[str]
    is_work: bool
    """Work by a code, or something that no map can place, and so may be."""
    is_other: bool
    """A separately billed service."""
    billing_codes: frozenset[str]
    visits: frozenset[str]
    """Of the groups of visits that may open BHI."""
    codes: frozenset[str]


def _meaning(concepts: Iterable[CodeableConcept | None], reading: Reading) -> _Meaning:
    return reading.terms.once(_read_meaning, codings(concepts), reading)


def _read_meaning(coded: Codings, reading: Reading) -> _Meaning:
    terms = reading.terms
    concepts = [CodeableConcept(found) for found in coded]
    kinds, hint = terms.translate("activity", *concepts)
    other = terms.holds("other-service", *concepts)
    codes = frozenset(code for _, code in terms.codes(*concepts))
    visits = {name for name in _VISITS if terms.holds(name, *concepts)}
    unplaced = not kinds and (hint or not is_placed(concepts, reading))
    billed = codes if other else frozenset[str]()
    return _Meaning(kinds, bool(kinds or unplaced), other, billed, _ANY_VISIT if unplaced else frozenset(visits), codes)


@dataclass(slots=True)
class Work:
    """What a patient's Encounters, Procedures and time logs are; one may be several of these."""

    activities: list[Activity] = field(default_factory=list)
    """Everything that is work by a code, and everything that no map can place."""
    visits: list[Visit] = field(default_factory=list)
    """Finished visits whose code may open BHI."""
    other_services: list[OtherService] = field(default_factory=list)
    """The time of psychotherapy, office visits, CCM …: done, and with known ends."""
    stays: list[Stay] = field(default_factory=list)


def work(rows: PatientRows, reading: Reading) -> Work:
    found, logs = Work(), time_logs(rows, reading)
    found.activities += _logged_alone(rows, reading)
    for key, row in rows.of(Encounter):
        if row.status != _NEVER:
            _encounter(found, key, row, logs, reading)
    for key, procedure in rows.of(Procedure):
        if procedure.status != _NEVER:
            _procedure(found, key, procedure, reading)
    return found


def _encounter(found: Work, key: str, row: Encounter, logs: dict[str, timedelta | None], reading: Reading) -> None:
    people = _people([p.individual for p in row.participant or ()], key, reading)
    billed = _meaning(row.type or (), reading)
    meaning = _meaning(contact_types(row), reading) if row.service_type else billed
    if meaning.is_work:
        when, duration, trouble = believable(encounter_time(key, row, logs, reading))
        found.activities.append(
            Activity(
                ref=key,
                kinds=meaning.kinds,
                state=_state(row.status),
                people=people,
                when=when,
                duration=duration,
                trouble=trouble,
                billing_codes=meaning.billing_codes,
                risk=_risk(row.reason_code, reading),
            )
        )
    if visits := _visits(billed, row.status):
        found.visits.append(Visit(key, visits, billed.codes, people, reading.clock.period(row.period).start))
    if row.status == "finished" and billed.is_other:
        when, duration, _ = encounter_time(key, row, {}, reading)
        found.other_services += _other(key, people, when, duration)
    if row.class_ is not None and row.status not in ("planned", "cancelled"):
        for kind in reading.terms.once(_stays_of, row.class_, reading):
            finished = {"done": True, "not-done": False}.get(_state(row.status))
            found.stays.append(Stay(key, kind, reading.clock.period(row.period), finished))


def _procedure(found: Work, key: str, row: Procedure, reading: Reading) -> None:
    people = _people([p.actor for p in row.performer or ()], key, reading)
    meaning = _meaning((row.code,) if row.code else (), reading)
    if meaning.is_work:
        devices = _devices(key, row, reading)
        when, duration, trouble = believable(procedure_time(row, reading))
        found.activities.append(
            Activity(
                ref=key,
                kinds=meaning.kinds,
                state=_state(row.status),
                people=people,
                when=when,
                duration=duration,
                trouble=trouble,
                billing_codes=meaning.billing_codes,
                inside=reading.record.resolve(row.encounter, key),
                device_cleared=bool(devices) and reading.terms.holds("dmht-device", *devices),
                risk=_risk(row.reason_code, reading),
            )
        )
    if visits := _visits(meaning, row.status):
        when = reading.clock.moment(row.performed_date_time) or reading.clock.period(row.performed_period).start
        found.visits.append(Visit(key, visits, meaning.codes, people, when))
    if row.status == "completed" and meaning.is_other:
        when, duration, _ = procedure_time(row, reading)
        found.other_services += _other(key, people, when, duration)


def _visits(meaning: _Meaning, status: str | None) -> frozenset[str]:
    """The groups of visits that it belongs to, if it took place or may have."""
    state = _state(status)
    if not meaning.visits or state == "not-done":
        return frozenset()
    return meaning.visits if state == "done" else _ANY_VISIT


def _logged_alone(rows: PatientRows, reading: Reading) -> Iterator[Activity]:
    """Rows of a time log that belong to no encounter of work: work of their own, of the kind that the site says.

    Without a kind they are work that no map can place, unless their encounter is known to be something else.
    """
    if not reading.site.minutes.time_log:
        return
    work, known = set(), set()
    for key, row in rows.of(Encounter):
        concepts = contact_types(row)
        if reading.terms.translate("activity", *concepts)[0]:
            work.add(key)
        elif is_placed(concepts, reading):
            known.add(key)
    for key, observation in rows.of(Observation):
        log = log_of(observation, reading)
        encounter = reading.record.resolve(observation.encounter, key)
        if log is None or encounter in work or (not log.kind and encounter in known):
            continue
        clock = reading.clock
        when = clock.moment(observation.effective_date_time) or clock.period(observation.effective_period).start
        duration = logged(observation, log)
        trouble = "" if when and duration is not None else "its time log has no readable value, unit or date"
        when, duration, trouble = believable((when, duration, trouble))
        people = _people(observation.performer or (), key, reading)
        kinds, _ = reading.terms.translate("activity", CodeableConcept((Coding(ACTIVITY, log.kind),)))
        duration = None if trouble else duration
        yield Activity(key, kinds, "done", people, when, duration, trouble)


def _devices(key: str, row: Procedure, reading: Reading) -> list[CodeableConcept]:
    """What the devices that a Procedure used are, by code or by reference."""
    references = [*(row.used_reference or ()), *(d.manipulated for d in row.focal_device or ())]
    rows = [reading.record.rows.get(reading.record.resolve(r, key) or "") for r in references]
    return [*(row.used_code or ()), *(d.type for d in rows if isinstance(d, Device) and d.type)]


def _state(status: str | None) -> str:
    """done | not-done | unknown: "done", "Finished" and the like are no FHIR statuses and say nothing for certain."""
    if status in _DONE:
        return "done"
    return "not-done" if status in _NOT_DONE else "unknown"


def is_placed(concepts: list[CodeableConcept], reading: Reading) -> bool:
    """Some map knows what this is, even if it is no BHI work."""
    return any(reading.terms.holds(group, *concepts) for group in ("charge", "other-service", *_VISITS))


def _people(references: Iterable[Reference | None], key: str, reading: Reading) -> frozenset[str]:
    person = reading.record.person
    return frozenset([p for r in references if (p := person(r, key))])


def _risk(concepts: list[CodeableConcept] | None, reading: Reading) -> bool:
    return concepts is not None and reading.terms.holds("suicide-or-overdose-risk", *concepts)


def _other(key: str, people: frozenset[str], when: Moment | None, duration: timedelta | None) -> Iterator[OtherService]:
    if when and when.exact and duration:
        yield OtherService(key, people, (when.earliest, when.earliest + min(duration, LONGEST)))


def _stays_of(coding: Coding, reading: Reading) -> list[str]:
    concept = CodeableConcept((coding,))
    return [kind for kind in ("inpatient", "emergency") if reading.terms.holds(f"stay-{kind}", concept)]
