"""Encounter and Procedure: work, visits, other services' time, stays."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from bhi_fhir.domain.record import Activity, OtherService, Stay, Visit
from bhi_fhir.domain.time import Moment, Period
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.views.common import CodeableConcept, Quantity, Reference
from bhi_fhir.views.encounter import Encounter
from bhi_fhir.views.procedure import Procedure

UCUM = "http://unitsofmeasure.org"
_SECONDS = {"s": 1, "min": 60, "h": 3600}
_NEVER = "entered-in-error"
_DONE = {"finished": "done", "completed": "done", "unknown": "unknown"}
_VISITS = ("initiating-visit", "initiating-visit-psychiatric", "initiating-visit-undecided")
Time = tuple[Moment | None, timedelta | None, str]
"""(when it began, how long it took, why that cannot be read)"""


def activities(rows: PatientRows, reading: Reading) -> Iterator[Activity]:
    """Everything that is work by a code, and everything that no map can place."""
    for key, row in rows.of(Encounter):
        concepts = list(row.type or ())
        if row.service_type:
            concepts.append(row.service_type)
        people = _people([p.individual for p in row.participant or ()], key, reading)
        found = _activity(key, concepts, row.status, people, _encounter_time(row, reading), reading)
        if found:
            yield replace(found, risk=_risk(row.reason_code, reading))
    for key, procedure in rows.of(Procedure):
        concepts = [procedure.code] if procedure.code else []
        people = _people([p.actor for p in procedure.performer or ()], key, reading)
        found = _activity(key, concepts, procedure.status, people, _procedure_time(procedure, reading), reading)
        if found:
            yield replace(
                found,
                inside=reading.record.resolve(procedure.encounter, key),
                risk=_risk(procedure.reason_code, reading),
                device_cleared=reading.terms.holds("dmht-device", *(procedure.used_code or ())),
            )


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
    unplaced = not kinds and (hint or not _is_placed(concepts, reading))
    if status == _NEVER or not (kinds or unplaced):
        return None
    when, duration, trouble = time
    return Activity(
        ref=key,
        kinds=kinds,
        state=_DONE.get(status or "unknown", "not-done"),
        people=people,
        when=when,
        duration=duration,
        trouble=trouble,
        billing_codes=frozenset(other),
        unplaced_codes=unplaced,
    )


def _is_other(concepts: list[CodeableConcept], reading: Reading) -> bool:
    return reading.terms.holds("other-service", *concepts)


def _is_placed(concepts: list[CodeableConcept], reading: Reading) -> bool:
    """Some map knows what this is, even if it is no BHI work."""
    return reading.terms.holds("charge", *concepts)


def _people(references: Iterable[Reference | None], key: str, reading: Reading) -> frozenset[str]:
    found = (reading.record.person(r, key) for r in references)
    return frozenset(p for p in found if p)


def _risk(concepts: list[CodeableConcept] | None, reading: Reading) -> bool:
    return reading.terms.holds("suicide-or-overdose-risk", *(concepts or ()))


# -- time -------------------------------------------------------------------------------------------


def _encounter_time(row: Encounter, reading: Reading) -> Time:
    """Encounter.length where its unit can be read, else Encounter.period."""
    period = reading.clock.period(row.period)
    if row.length is None:
        return _period_time(period, row.period is not None)
    length = _length(row.length)
    if length is None:
        when, duration, trouble = _period_time(period, row.period is not None)
        if duration is None:
            trouble = "its length has no readable unit and its period no end"
        return when, duration, trouble
    if period.start is None:
        return None, None, "its length has no start"
    if period.end and period.end.latest - period.start.earliest < length:
        return period.start, None, "its length is longer than its period"
    return period.start, length, ""


def _procedure_time(row: Procedure, reading: Reading) -> Time:
    if row.performed_period is not None:
        return _period_time(reading.clock.period(row.performed_period), True)
    when = reading.clock.moment(row.performed_date_time)
    return when, None, "" if when else "nothing readable says when it was"


def _period_time(period: Period, given: bool) -> Time:
    start, end = period.start, period.end
    if start is None:
        return None, None, "its period has no readable start" if given else "nothing says when it was"
    if not start.exact:
        return start, None, ""  # a date without time of day documents no minutes
    if end is None:
        return start, None, "its period has no readable end"
    if not end.exact:
        return start, None, "its period ends on a day without time"
    if end.earliest < start.earliest:
        return start, None, "its period ends before it begins"
    return start, end.earliest - start.earliest, ""


def _length(quantity: Quantity) -> timedelta | None:
    """A Duration in UCUM min, h or s, exactly; None where value or unit cannot be read."""
    unit = quantity.code if quantity.code else quantity.unit
    if quantity.system not in (None, UCUM, "urn:oid:2.16.840.1.113883.6.8") or quantity.comparator:
        return None
    if unit not in _SECONDS or quantity.value is None or not 0 <= quantity.value <= Decimal(10**7):
        return None
    return timedelta(microseconds=int(quantity.value * _SECONDS[unit] * 1_000_000))


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
            when, duration, _ = _encounter_time(row, reading)
            people = _people([p.individual for p in row.participant or ()], key, reading)
            yield from _other(key, people, when, duration)
    for key, procedure in rows.of(Procedure):
        if procedure.status == "completed" and procedure.code and _is_other([procedure.code], reading):
            when, duration, _ = _procedure_time(procedure, reading)
            yield from _other(key, _people([p.actor for p in procedure.performer or ()], key, reading), when, duration)


def _other(key: str, people: frozenset[str], when: Moment | None, duration: timedelta | None) -> Iterator[OtherService]:
    if when and when.exact and duration:
        yield OtherService(key, people, (when.earliest, when.earliest + duration))


def stays(rows: PatientRows, reading: Reading) -> Iterator[Stay]:
    for key, row in rows.of(Encounter):
        if row.status in (_NEVER, "planned", "cancelled") or row.class_ is None:
            continue
        concept = CodeableConcept(coding=[row.class_])
        for kind in ("inpatient", "emergency"):
            if reading.terms.holds(f"stay-{kind}", concept):
                yield Stay(key, kind, reading.clock.period(row.period), row.status == "finished")
