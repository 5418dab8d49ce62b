"""What a named person does to a month: sees its lines, approves them, attests, says what became of a send."""

from __future__ import annotations

import getpass
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.console import Console
from rich.table import Table

from bhi_fhir.audit import Person
from bhi_fhir.delivery import work_list
from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.line import Line
from bhi_fhir.delivery.settle import release, resolve
from bhi_fhir.domain.record import Attestation
from bhi_fhir.errors import Refused, UsageError
from bhi_fhir.jobs.attesting import basis
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import Office, ledger_of, opened
from bhi_fhir.jobs.patient_record import ServerRecord


@dataclass(frozen=True)
class Standing:
    """One line of a month as a biller sees it; `todo` is what is left for a person."""

    patient: str
    month: str
    code: str
    units: int
    served: tuple[str, ...]
    practitioner: str
    state: str
    sink: str
    reference: str
    approved_by: str
    todo: str
    since: datetime | None


def standing(desk: Desk, patient: str = "", code: str = "") -> list[Standing]:
    """The charges of the month that were prepared or handed over, by patient and code.

    UsageError if a patient or code is named and has none.
    """
    found = _chosen(desk, patient, code) if patient or code else _charges(desk, lambda who, line: True)
    return [_standing(who, line) for who, line in found if line.state != "withdrawn"]


def _standing(patient: str, line: Line) -> Standing:
    performer = (line.content.get("performer") or [{}])[0].get("actor", {}).get("reference", "")
    return Standing(
        patient=patient,
        month=line.month,
        code=line.draft.code,
        units=sum(units for _, units in line.draft.served),
        served=tuple(day for day, _ in line.draft.served),
        practitioner=performer,
        state=_state(line),
        sink=line.sink,
        reference=line.reference,
        approved_by=line.approved_by,
        todo=_todo(line),
        since=line.changed_at,
    )


def _state(line: Line) -> str:
    return "approved" if line.approved_by and line.state in ("confirmed", "sent") else line.state


def _todo(line: Line) -> str:
    if line.unanswered:
        return "find out whether it arrived: bhi-fhir resolve"
    if line.reason:
        return line.reason
    if line.sink == "worklist":
        return "enter it by hand"
    return "" if line.approved_by else "approve"


def _lines(desk: Desk) -> list[tuple[str, Line]]:
    kept = desk.site.delivery
    if not kept.key_env and not (desk.folder / kept.key_file).exists():
        return []  # nothing was ever kept without its key: to look makes none, nor a ledger
    ledger = ledger_of(desk)
    try:
        return ledger.month_lines(str(desk.month))
    finally:
        ledger.close()


def _charges(desk: Desk, wanted: Callable[[str, Line], bool]) -> list[tuple[str, Line]]:
    return [(p, n) for p, n in _lines(desk) if n.draft.resource_type == "ChargeItem" and wanted(p, n)]


def _chosen(desk: Desk, patient: str, code: str) -> list[tuple[str, Line]]:
    """The charges that a person names; UsageError if there is none."""
    found = _charges(desk, lambda who, line: who == (patient or who) and line.draft.code == (code or line.draft.code))
    if not found:
        raise UsageError(f"The ledger has no such line in {desk.month}: see bhi-fhir approve without --by.")
    return found


async def approve(desk: Desk, by: str, now: datetime, *, patient: str = "", code: str = "") -> list[Delivered]:
    """Release the month's charges, or those of one patient or code. UsageError if there is none."""
    chosen: dict[str, list[str]] = defaultdict(list)
    for who, line in _chosen(desk, patient, code):
        if line.state != "withdrawn":
            chosen[who].append(line.identifier)
    done: list[Delivered] = []
    async with opened(desk, now) as office:
        for who, identifiers in chosen.items():
            with office.heard_for(who, person(by)) as audit:
                done += await release(office.delivery, who, str(desk.month), identifiers, person(by), audit)
                audit.commit()
    return done


async def attest(
    desk: Desk, by: str, now: datetime, *, patient: str, requirement: str, because: str, reference: str
) -> str:
    """Vouch for a review requirement of a patient's month; one sentence on what follows.

    UsageError if it is not one, or if the reference cannot be read.
    """
    async with opened(desk, now) as office:
        with office.heard_for(patient, person(by)) as audit:
            record = await _record(office, patient)
            decided = desk.decide(record.sources, record.withheld)
            decision = next((d for d, _ in decided.decisions if d.patient == patient), None)
            if decision is None:
                raise UsageError("The patient's record is merged or not readable.")
            rests_on = await basis(office.client, decision, requirement, reference)
            day = now.astimezone(desk.site.zone).date()
            audit.attested(person(by), requirement, because)
            office.ledger.attest(
                patient, str(desk.month), Attestation(requirement, by, day, because, reference), rests_on
            )
            audit.commit()
    return f"{requirement} is attested for {desk.month} by {by}; the next sync decides with it."


async def _record(office: Office, patient: str) -> ServerRecord:
    try:
        return await office.reader.read(patient)
    except Refused as refused:
        if refused.status in (404, 410):
            raise UsageError("--patient: the FHIR server has no such patient; name one as it is printed.") from None
        raise


async def say_what_became(
    desk: Desk, by: str, now: datetime, *, patient: str, code: str, arrived: bool
) -> list[tuple[str, Line]]:
    """A person has found out whether unanswered sends arrived. UsageError if no such line is unanswered."""
    found = [(who, line) for who, line in _chosen(desk, patient, code) if line.unanswered]
    if not found:
        raise UsageError("No such line waits for an answer.")
    async with opened(desk, now) as office:
        for who, line in found:
            with office.heard_for(who, person(by)) as audit:
                audit.viewed(person(by), f"resolve {'arrived' if arrived else 'never arrived'}")
                await resolve(office.delivery, who, line, arrived=arrived)
    return found


def person(name: str) -> Person:
    """Who sits at the command line: the name that was given, and the account of this machine."""
    if not name.strip():
        raise UsageError("--by: give the name of the person who does this.")
    return Person(name.strip(), getpass.getuser())


def table(console: Console, rows: Sequence[Standing]) -> None:
    shown = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("patient", "code", "units", "days", "practitioner", "state", "where", "approved by", "to do"):
        shown.add_column(name)
    for row in rows:
        days = row.served[0] if len(row.served) == 1 else f"{len(row.served)} days"
        where = row.reference or row.sink
        shown.add_row(
            row.patient, row.code, str(row.units), days, row.practitioner, row.state, where, row.approved_by, row.todo
        )
    console.print(shown)


def by_hand(desk: Desk) -> str:
    """CSV of the work list: people enter it, correct it or take it back.

    Not of what is only not sent yet: the next run sends it, and it would stand there twice.
    """
    listed = [n for _, n in _lines(desk) if n.sink == "worklist"]
    return work_list.as_csv(work_list.rows(listed))
