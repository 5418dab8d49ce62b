"""How long something took: Encounter.length, periods, and the time logs that a site names, in the site's order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import timedelta

from bhi_fhir.domain.time import Moment, Period
from bhi_fhir.mapping.numbers import between
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.site_reading import LocalCode, TimeLog
from bhi_fhir.views.common import CodeableConcept, Coding, Quantity
from bhi_fhir.views.encounter import Encounter
from bhi_fhir.views.observation import Observation
from bhi_fhir.views.procedure import Procedure

UCUM = "http://unitsofmeasure.org"
_UCUM_SPELLINGS = (None, "", UCUM, "urn:oid:2.16.840.1.113883.6.8")
_SECONDS = {"s": 1, "min": 60, "h": 3600}

LONGEST = timedelta(days=31)

Time = tuple[Moment | None, timedelta | None, str]
"""(when it began, how long it took, why that cannot be read)"""


def encounter_time(key: str, row: Encounter, logs: dict[str, timedelta | None], reading: Reading) -> Time:
    """The first of the site's sources that says something; by default the time log, the length, the period.

    `logs`: time logged by encounter (None where a log's value cannot be read).
    """
    period = reading.clock.period(row.period)
    order = reading.site.minutes.order
    trouble = ""
    for source in order:
        if source == "time-log" and key in logs:
            found = logs[key]
            return (period.start, found, "") if found is not None else (period.start, None, "its time log has no unit")
        if source == "length" and row.length is not None:
            length = length_of(row.length)
            if length is not None:
                return _placed(period, length)
            if is_inexact(row.length):
                return period.start, None, "its length is no exact time"
            trouble = "its length has no readable unit"
        if source == "period":
            when, duration, why = period_time(period, row.period is not None)
            if duration is not None:
                return _trusted(when, duration, row, reading)
            trouble = f"{trouble} and its period no end" if trouble else why
    return period.start, None, trouble


def believable(time: Time) -> Time:
    """No piece of work lasts longer than a month: 10,000,000 hours are an upload's mistake, and no time at all."""
    when, duration, _ = time
    return (when, None, "its time is longer than a month") if duration and duration > LONGEST else time


def contact_types(row: Encounter) -> list[CodeableConcept]:
    """What kind of contact it was: the type, and the service type, where some vendors say more."""
    return [*(row.type or ()), *([row.service_type] if row.service_type else ())]


def _placed(period: Period, length: timedelta) -> Time:
    """A length begins where the period begins and cannot be longer than it."""
    if period.start is None:
        return None, None, "its length has no start"
    if period.end and period.end.latest - period.start.earliest < length:
        return period.start, None, "its length is longer than its period"
    return period.start, length, ""


def _trusted(when: Moment | None, duration: timedelta, row: Encounter, reading: Reading) -> Time:
    """A period counts only for the contact types, and up to the length, that the site trusts."""
    trust = reading.site.minutes.period
    if trust.only_types and not has_code(contact_types(row), trust.only_types, reading):
        return when, None, "the site does not take the period of this kind of contact for its time"
    if trust.longest_minutes and duration > timedelta(minutes=trust.longest_minutes):
        return when, None, f"its period is longer than {trust.longest_minutes} minutes (site's limit)"
    return when, duration, ""


def procedure_time(row: Procedure, reading: Reading) -> Time:
    if row.performed_period is not None:
        return period_time(reading.clock.period(row.performed_period), True)
    when = reading.clock.moment(row.performed_date_time)
    return when, None, "" if when or not row.performed_date_time else "what says when it was cannot be read"


def period_time(period: Period, given: bool) -> Time:
    """What has no period (nor length) documents no time: it is no time that cannot be read."""
    start, end = period.start, period.end
    if start is None:
        return None, None, "its period has no readable start" if given else ""
    if not start.exact:
        return start, None, ""  # a date without time of day documents no minutes
    if end is None:
        return start, None, "its period has no readable end"
    if not end.exact:
        return start, None, "its period ends on a day without time"
    if end.earliest < start.earliest:
        return start, None, "its period ends before it begins"
    return start, end.earliest - start.earliest, ""


def length_of(quantity: Quantity, unit: str = "") -> timedelta | None:
    """A duration in UCUM min, h or s, exactly; None where value or unit cannot be read.

    `unit` is taken where the quantity has none.
    """
    said = quantity.code or quantity.unit or unit
    if quantity.system not in _UCUM_SPELLINGS or quantity.comparator:
        return None
    if said not in _SECONDS or quantity.value is None or not between(0, quantity.value):
        return None
    return timedelta(microseconds=int(quantity.value * _SECONDS[said] * 1_000_000))


def is_inexact(quantity: Quantity) -> bool:
    """Less or more than it says, or below nothing: a length that contradicts whatever else is taken for it."""
    negative = quantity.value is not None and quantity.value.is_finite() and quantity.value < 0
    return quantity.value is not None and (bool(quantity.comparator) or negative)


# -- time logs --------------------------------------------------------------------------------------


def has_code(
    concepts: Sequence[CodeableConcept | None] | None, wanted: tuple[LocalCode, ...], reading: Reading
) -> bool:
    named = {reading.terms.code(Coding(w.system, w.code)) for w in wanted}
    return any(code in named for code in reading.terms.codes(*(concepts or ())))


def log_of(row: Observation, reading: Reading) -> TimeLog | None:
    """The site's time log that this Observation is a row of; None if it is none."""
    if row.status not in ("final", "amended", "corrected") or row.code is None:
        return None
    return next((log for log in reading.site.minutes.time_log if has_code([row.code], (log,), reading)), None)


def logged(row: Observation, log: TimeLog) -> timedelta | None:
    if row.value_quantity is not None:
        return length_of(row.value_quantity, log.unit)
    if row.value_integer is not None:
        return length_of(Quantity(value=row.value_integer), log.unit)
    return None


def time_logs(rows: PatientRows, reading: Reading) -> dict[str, timedelta | None]:
    """Time logged for each encounter; several rows of one encounter are added."""
    found: dict[str, list[timedelta | None]] = defaultdict(list)
    if reading.site.minutes.time_log:
        for key, row in rows.of(Observation):
            log = log_of(row, reading)
            encounter = reading.record.resolve(row.encounter, key)
            if log and encounter:
                found[encounter].append(logged(row, log))
    return {encounter: _together(rows_of_it) for encounter, rows_of_it in found.items()}


def _together(durations: list[timedelta | None]) -> timedelta | None:
    """Their sum; None if one cannot be read. One that nobody can believe stands for all: no sum can overflow."""
    known = [d for d in durations if d is not None]
    if len(known) < len(durations):
        return None
    longest = max(known)
    return longest if longest > LONGEST else sum(known, timedelta())
