"""Encounter and Procedure: work, visits, other services' time, stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta

from bhi_fhir.domain.record import Activity, OtherService, Stay, Visit
from bhi_fhir.domain.time import Moment
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.times import (
    LONGEST,
    Time,
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


def activities(rows: PatientRows, reading: Reading) -> Iterator[Activity]:
    """Everything that is work by a code, and everything that no map can place."""
    logs = time_logs(rows, reading)
    yield from _logged_alone(rows, reading)
    for key, row in rows.of(Encounter):
        concepts = contact_types(row)
        people = _people([p.individual for p in row.participant or ()], key, reading)
        time = encounter_time(key, row, logs, reading)
        found = _activity(key, concepts, row.status, people, time, reading)
        if found:
            yield replace(found, risk=_risk(row.reason_code, reading))
    for key, procedure in rows.of(Procedure):
        concepts = [procedure.code] if procedure.code else []
        people = _people([p.actor for p in procedure.performer or ()], key, reading)
        found = _activity(key, concepts, procedure.status, people, procedure_time(procedure, reading), reading)
        if found:
            yield replace(
                found,
                inside=reading.record.resolve(procedure.encounter, key),
                risk=_risk(procedure.reason_code, reading),
                device_cleared=reading.terms.holds("dmht-device", *_devices(key, procedure, reading)),
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
        kinds, _ = reading.terms.translate("activity", CodeableConcept([Coding(ACTIVITY, log.kind)]))
        duration = None if trouble else duration
        yield Activity(key, kinds, "done", people, when, duration, trouble)


def _devices(key: str, row: Procedure, reading: Reading) -> list[CodeableConcept]:
    """What the devices that a Procedure used are, by code or by reference."""
    references = [*(row.used_reference or ()), *(d.manipulated for d in row.focal_device or ())]
    rows = [reading.record.rows.get(reading.record.resolve(r, key) or "") for r in references]
    return [*(row.used_code or ()), *(d.type for d in rows if isinstance(d, Device) and d.type)]


def _activity(
    key: str,
    concepts: list[CodeableConcept],
    status: str | None,
    people: frozenset[str],
    time: Time,
    reading: Reading,
) -> Activity | None:
    kinds, hint = reading.terms.translate("activity", *concepts)
    other = {code for _, code in reading.terms.codes(*concepts)} if _is_other(concepts, reading) else set()
    unplaced = not kinds and (hint or not is_placed(concepts, reading))
    if status == _NEVER or not (kinds or unplaced):
        return None
    when, duration, trouble = believable(time)
    return Activity(
        ref=key,
        kinds=kinds,
        state=_state(status),
        people=people,
        when=when,
        duration=duration,
        trouble=trouble,
        billing_codes=frozenset(other),
    )


def _state(status: str | None) -> str:
    """done | not-done | unknown: "done", "Finished" and the like are no FHIR statuses and say nothing for certain."""
    if status in _DONE:
        return "done"
    return "not-done" if status in _NOT_DONE else "unknown"


def _is_other(concepts: list[CodeableConcept], reading: Reading) -> bool:
    return reading.terms.holds("other-service", *concepts)


def is_placed(concepts: list[CodeableConcept], reading: Reading) -> bool:
    """Some map knows what this is, even if it is no BHI work."""
    return any(reading.terms.holds(group, *concepts) for group in ("charge", "other-service", *_VISITS))


def _people(references: Iterable[Reference | None], key: str, reading: Reading) -> frozenset[str]:
    found = (reading.record.person(r, key) for r in references)
    return frozenset(p for p in found if p)


def _risk(concepts: list[CodeableConcept] | None, reading: Reading) -> bool:
    return reading.terms.holds("suicide-or-overdose-risk", *(concepts or ()))


# -- visits, other services, stays ------------------------------------------------------------------


def visits(rows: PatientRows, reading: Reading) -> Iterator[Visit]:
    """Finished visits whose code may open BHI."""
    for key, row in rows.of(Encounter):
        if row.status == "finished":
            people = _people([p.individual for p in row.participant or ()], key, reading)
            when = reading.clock.period(row.period).start
            yield from _visit(key, list(row.type or ()), people, when, reading)
    for key, procedure in rows.of(Procedure):
        if procedure.status == "completed":
            people = _people([p.actor for p in procedure.performer or ()], key, reading)
            when = (
                reading.clock.moment(procedure.performed_date_time)
                or reading.clock.period(procedure.performed_period).start
            )
            yield from _visit(key, [procedure.code] if procedure.code else [], people, when, reading)


def _visit(
    key: str, concepts: list[CodeableConcept], people: frozenset[str], when: Moment | None, reading: Reading
) -> Iterator[Visit]:
    groups = {name for name in _VISITS if reading.terms.holds(name, *concepts)}
    if "initiating-visit-psychiatric" in groups and any(c == "90791" for _, c in reading.terms.codes(*concepts)):
        groups.add("90791")
    if groups:
        yield Visit(key, frozenset(groups), people, when)


def other_services(rows: PatientRows, reading: Reading) -> Iterator[OtherService]:
    """The time of psychotherapy, office visits, CCM …: done, and with known ends."""
    for key, row in rows.of(Encounter):
        if row.status == "finished" and _is_other(list(row.type or ()), reading):
            when, duration, _ = encounter_time(key, row, {}, reading)
            people = _people([p.individual for p in row.participant or ()], key, reading)
            yield from _other(key, people, when, duration)
    for key, procedure in rows.of(Procedure):
        if procedure.status == "completed" and procedure.code and _is_other([procedure.code], reading):
            when, duration, _ = procedure_time(procedure, reading)
            yield from _other(key, _people([p.actor for p in procedure.performer or ()], key, reading), when, duration)


def _other(key: str, people: frozenset[str], when: Moment | None, duration: timedelta | None) -> Iterator[OtherService]:
    if when and when.exact and duration:
        yield OtherService(key, people, (when.earliest, when.earliest + min(duration, LONGEST)))


def stays(rows: PatientRows, reading: Reading) -> Iterator[Stay]:
    for key, row in rows.of(Encounter):
        if row.status in (_NEVER, "planned", "cancelled") or row.class_ is None:
            continue
        concept = CodeableConcept(coding=[row.class_])
        for kind in ("inpatient", "emergency"):
            if reading.terms.holds(f"stay-{kind}", concept):
                finished = {"done": True, "not-done": False}.get(_state(row.status))
                yield Stay(key, kind, reading.clock.period(row.period), finished)
