"""One patient's rows to one `domain.record.Chart`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, TypeVar

from bhi_fhir.domain.record import Chart, Person, SetAside, Withheld
from bhi_fhir.domain.time import BEGINNING, END, Moment
from bhi_fhir.mapping.charges import charges
from bhi_fhir.mapping.consents import consents
from bhi_fhir.mapping.covers import covers
from bhi_fhir.mapping.diagnoses import diagnoses
from bhi_fhir.mapping.people import people
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.references import OF_A_PATIENT
from bhi_fhir.mapping.screenings import screenings
from bhi_fhir.mapping.teams import care_episodes, teams
from bhi_fhir.mapping.work import work
from bhi_fhir.views.patient import Patient

_Fact = TypeVar("_Fact")
_REF: Callable[[Any], str] = attrgetter("ref")


@dataclass
class Charts:
    """Every patient of one input, and what of it could not be read."""

    charts: tuple[Chart, ...] = ()
    set_aside: tuple[SetAside, ...] = field(default_factory=tuple)


def charts(record: Record, reading: Reading, staff: dict[str, Person] | None = None) -> Charts:
    """One Chart per patient of the record, in the order of their references.

    `staff`: its people, where they are known already.
    """
    rows = _by_patient(record)
    staff = people(record, reading) if staff is None else staff
    found = []
    for patient in sorted(rows):
        mine = rows[patient]
        mine.withheld.extend(held for who, held in record.withheld if who in (None, patient))
        found.append(_chart(patient, mine, staff, reading))
    return Charts(tuple(found), tuple(record.set_aside))


def _by_patient(record: Record) -> dict[str, PatientRows]:
    rows: dict[str, PatientRows] = defaultdict(PatientRows)
    for key, row in record.own():
        if "#" in key:
            continue
        if type(row) in OF_A_PATIENT:
            patient = record.patient(row, key)
            if patient is None:
                record.names_nobody(key, row)
            elif patient in rows or record.type_of(patient) not in ("Group", "Device", "Location"):
                rows[patient].take(key, row)
        elif isinstance(row, Patient):
            rows[record.survivor(key)].take(key, row)
    return rows


def _chart(patient: str, rows: PatientRows, staff: dict[str, Person], reading: Reading) -> Chart:
    done = work(rows, reading)
    return Chart(
        patient=patient,
        people=staff,
        teams=_sorted(teams(rows, reading)),
        activities=_sorted(done.activities),
        visits=_sorted(done.visits),
        other_services=_sorted(done.other_services),
        stays=_sorted(done.stays),
        consents=_sorted(consents(rows, reading)),
        screenings=_sorted(screenings(rows, reading)),
        diagnoses=_sorted(diagnoses(rows, reading)),
        charges=_sorted(charges(rows, reading)),
        covers=_sorted(covers(rows, reading)),
        care_episodes=_sorted(care_episodes(rows, reading)),
        died=_death(rows, reading),
        withheld=(*rows.withheld, *_withheld_too(rows, reading)),
        security=_security(rows) if reading.record.labelled else (),
    )


def _withheld_too(rows: PatientRows, reading: Reading) -> Iterator[Withheld]:
    """What else is missing where this site keeps its consents or its minutes in the part that was not read."""
    site = reading.site
    kept = {
        "DocumentReference": "Consent" if site.consent.document else "",
        "QuestionnaireResponse": "Consent" if site.consent.answer else "",
        "Observation": "Encounter" if site.minutes.time_log else "",
    }
    for held in rows.withheld:
        if part := kept.get(held.part):
            yield Withheld(part, held.reason, held.began)


def _sorted(facts: Iterable[_Fact]) -> tuple[_Fact, ...]:
    """In the order of their references: the order of a file's entries decides nothing."""
    found = tuple(facts)
    return found if len(found) < 2 else tuple(sorted(found, key=_REF))


def _death(rows: PatientRows, reading: Reading) -> Moment | None:
    """When the patient died; at any time, where the record says that it was and not when."""
    found = [(row, reading.clock.moment(row.deceased_date_time)) for _, row in rows.of(Patient)]
    undated = any(when is None and _is_dead(row, reading) for row, when in found)
    dated = (when for _, when in found if when)
    return min(dated, key=lambda m: m.earliest, default=Moment(BEGINNING, END) if undated else None)


def _is_dead(row: Patient, reading: Reading) -> bool:
    return bool(row.deceased_boolean or row.deceased_undated) or not reading.clock.can_read(row.deceased_date_time)


def _security(rows: PatientRows) -> tuple[tuple[str, str, str], ...]:
    return tuple(
        sorted(
            (key, label.system or "", label.code)
            for key, row in rows.all()
            if row.meta and row.meta.security
            for label in row.meta.security
            if label.code
        )
    )
