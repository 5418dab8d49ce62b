"""What people enter by hand, where no door takes it: a list, and the list as a sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import tzinfo

from bhi_fhir.delivery.charged import charged, units
from bhi_fhir.delivery.folder import sheet
from bhi_fhir.delivery.line import WITHDRAWN, Draft, Line, Receipt, Seen, Unseen


class WorkList:
    name = "worklist"
    keyed = True
    drafts = True

    def takes(self, draft: Draft) -> bool:
        return True

    async def look(self, line: Line) -> Seen:
        return Unseen()

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        return [_listed("enter", line.draft) for line in lines]

    async def change(self, line: Line, draft: Draft) -> Receipt:
        withdrawn = draft.content["status"] == WITHDRAWN[draft.resource_type]
        return _listed("take back" if withdrawn else "correct", draft)


def _listed(task: str, draft: Draft) -> Receipt:
    """What is to be done is the version of the line as it stands on the list."""
    unless = "" if draft.resource_type == "ChargeItem" else ", unless billing makes the claim from its charges"
    return Receipt("sent", version=task, reason=f"On the work list: {task} it by hand{unless}.")


@dataclass(frozen=True, slots=True)
class Row:
    """One code on one day, as a biller enters it. `since`: the day on which the line last changed.

    `diagnoses`: ICD-10-CM codes with a space between them. `do`: enter, correct or take back.
    """

    do: str
    what: str
    patient: str
    month: str
    code: str
    date_of_service: str
    units: str
    performer: str
    diagnoses: str
    because: str
    since: str
    identifier: str


def rows(lines: Iterable[Line], zone: tzinfo) -> list[Row]:
    """By patient, month and code. `zone`: the practice's."""
    found = (row for line in lines for row in _rows(line, zone))
    return sorted(found, key=lambda row: (row.patient, row.month, row.what, row.code, row.date_of_service))


def as_csv(listed: Iterable[Row]) -> str:
    header = [field.name for field in fields(Row)]
    return sheet([header, *(astuple(row) for row in listed)])


def _rows(line: Line, zone: tzinfo) -> Iterator[Row]:
    is_charge = line.draft.resource_type == "ChargeItem"
    patient, performer, diagnoses, entries = _charge(line.draft) if is_charge else _claim(line)
    for code, day, number in entries:
        yield Row(
            do=(line.version if line.sink == WorkList.name else "") or "enter",
            what=line.draft.resource_type,
            patient=patient,
            month=line.month,
            code=code,
            date_of_service=day,
            units=str(number),
            performer=performer,
            diagnoses=" ".join(diagnoses),
            because=line.reason,
            since=f"{line.changed_at.astimezone(zone):%Y-%m-%d}" if line.changed_at else "",
            identifier=line.identifier,
        )


Entries = list[tuple[str, str, int]]
"""Code, ISO date and units of each."""


def _charge(draft: Draft) -> tuple[str, str, Sequence[str], Entries]:
    charge = charged(draft)
    entries = [(charge.code, day, number) for day, number in charge.served]
    return charge.patient, charge.performer, charge.diagnoses, entries


def _claim(line: Line) -> tuple[str, str, Sequence[str], Entries]:
    entries = [
        (item["productOrService"]["coding"][0]["code"], item["servicedDate"], units(item))
        for item in line.content["item"]
    ]
    diagnoses = [each["diagnosisCodeableConcept"]["coding"][0]["code"] for each in line.content.get("diagnosis", ())]
    return line.content["patient"]["reference"], line.draft.code, diagnoses, entries
