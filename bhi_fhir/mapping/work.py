"""Encounter and Procedure: work, visits, other services' time, stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from bhi_fhir.domain.record import Activity, OtherService, Stay, Visit
from bhi_fhir.domain.time import Moment
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


@dataclass(frozen=True, slots=True)
class _Meaning:
    """What the codes of an entry say that it is."""

    kinds: frozenset[str]
    is_work: bool
    """Work by a code, or something that no map can place, and so may be."""
    is_other: bool
    """A separately billed service."""
    billing_codes: frozenset[str]
    visits: frozenset[str]
    """Of the groups of visits that may open BHI."""


def _meaning(concepts: Iterable[CodeableConcept | None], reading: Reading) -> _Meaning:
    return reading.terms.once(_read_meaning, codings(concepts), reading)


def _read_meaning(coded: Codings, reading: Reading) -> _Meaning:
    terms = reading.terms
    concepts = [CodeableConcept(found) for found in coded]
    kinds, hint = terms.translate("activity", *concepts)
    other = terms.holds("other-service", *concepts)
    codes = frozenset(code for _, code in terms.codes(*concepts))
    visits = {name for name in _VISITS if terms.holds(name, *concepts)}
    if "initiating-visit-psychiatric" in visits and "90791" in codes:
        visits.add("90791")
    unplaced = not kinds and (hint or not is_placed(concepts, reading))
    billed = codes if other else frozenset[str]()
    return _Meaning(kinds, bool(kinds or unplaced), other, billed, frozenset(visits))


def activities(rows: PatientRows, reading: Reading) -> Iterator[Activity]:
    """Everything that is work by a code, and everything that no map can place."""
    logs = time_logs(rows, reading)
    yield from _logged_alone(rows, reading)
    for key, row in rows.of(Encounter):
        meaning = _meaning(contact_types(row), reading)
        if meaning.is_work and row.status != _NEVER:
            when, duration, trouble = believable(encounter_time(key, row, logs, reading))
            yield Activity(
                ref=key,
                kinds=meaning.kinds,
                state=_state(row.status),
                people=_participants(key, row, reading),
                when=when,
                duration=duration,
                trouble=trouble,
                billing_codes=meaning.billing_codes,
                risk=_risk(row.reason_code, reading),
            )
    for key, procedure in rows.of(Procedure):
        meaning = _meaning((procedure.code,) if procedure.code else (), reading)
        if meaning.is_work and procedure.status != _NEVER:
            when, duration, trouble = believable(procedure_time(procedure, reading))
            yield Activity(
                ref=key,
                kinds=meaning.kinds,
                state=_state(procedure.status),
                people=_performers(key, procedure, reading),
                when=when,
                duration=duration,
                trouble=trouble,
                billing_codes=meaning.billing_codes,
                inside=reading.record.resolve(procedure.encounter, key),
                device_cleared=reading.terms.holds("dmht-device", *_devices(key, procedure, reading)),
                risk=_risk(procedure.reason_code, reading),
            )


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


def _participants(key: str, row: Encounter, reading: Reading) -> frozenset[str]:
    return _people([p.individual for p in row.participant or ()], key, reading)


def _performers(key: str, row: Procedure, reading: Reading) -> frozenset[str]:
    return _people([p.actor for p in row.performer or ()], key, reading)


def _people(references: Iterable[Reference | None], key: str, reading: Reading) -> frozenset[str]:
    person = reading.record.person
    return frozenset([p for r in references if (p := person(r, key))])


def _risk(concepts: list[CodeableConcept] | None, reading: Reading) -> bool:
    return concepts is not None and reading.terms.holds("suicide-or-overdose-risk", *concepts)


# -- visits, other services, stays ------------------------------------------------------------------


def visits(rows: PatientRows, reading: Reading) -> Iterator[Visit]:
    """Finished visits whose code may open BHI."""
    clock = reading.clock
    for key, row in rows.of(Encounter):
        groups = _meaning(row.type or (), reading).visits if row.status == "finished" else None
        if groups:
            yield Visit(key, groups, _participants(key, row, reading), clock.period(row.period).start)
    for key, procedure in rows.of(Procedure):
        groups = _meaning((procedure.code,), reading).visits if _is_coded_and_done(procedure) else None
        if groups:
            when = clock.moment(procedure.performed_date_time) or clock.period(procedure.performed_period).start
            yield Visit(key, groups, _performers(key, procedure, reading), when)


def other_services(rows: PatientRows, reading: Reading) -> Iterator[OtherService]:
    """The time of psychotherapy, office visits, CCM …: done, and with known ends."""
    for key, row in rows.of(Encounter):
        if row.status == "finished" and _meaning(row.type or (), reading).is_other:
            when, duration, _ = encounter_time(key, row, {}, reading)
            yield from _other(key, _participants(key, row, reading), when, duration)
    for key, procedure in rows.of(Procedure):
        if _is_coded_and_done(procedure) and _meaning((procedure.code,), reading).is_other:
            when, duration, _ = procedure_time(procedure, reading)
            yield from _other(key, _performers(key, procedure, reading), when, duration)


def _is_coded_and_done(row: Procedure) -> bool:
    return row.status == "completed" and row.code is not None


def _other(key: str, people: frozenset[str], when: Moment | None, duration: timedelta | None) -> Iterator[OtherService]:
    if when and when.exact and duration:
        yield OtherService(key, people, (when.earliest, when.earliest + min(duration, LONGEST)))


def stays(rows: PatientRows, reading: Reading) -> Iterator[Stay]:
    for key, row in rows.of(Encounter):
        if row.status in (_NEVER, "planned", "cancelled") or row.class_ is None:
            continue
        for kind in reading.terms.once(_stays_of, row.class_, reading):
            finished = {"done": True, "not-done": False}.get(_state(row.status))
            yield Stay(key, kind, reading.clock.period(row.period), finished)


def _stays_of(coding: Coding, reading: Reading) -> list[str]:
    concept = CodeableConcept((coding,))
    return [kind for kind in ("inpatient", "emergency") if reading.terms.holds(f"stay-{kind}", concept)]
