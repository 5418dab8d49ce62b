"""What a named person does to a month: sees its lines, approves them, attests, says what became of a send."""

from __future__ import annotations

import getpass
from collections import defaultdict
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
from rich.console import Console
from rich.table import Table

from bhi_fhir.audit import Person
from bhi_fhir.delivery import work_list
from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.line import Line
from bhi_fhir.delivery.settle import release, resolve
from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.decision import Line as Decided
from bhi_fhir.errors import Refused, UsageError
from bhi_fhir.jobs import attesting
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import Office, ledger_of, opened
from bhi_fhir.jobs.patient_record import ServerRecord

_NONE = "The ledger has no such line in {}: see bhi-fhir approve without --by, --patient and --code."


@dataclass(frozen=True)
class Standing:
    """One line of a month as a biller sees it; `todo` is what is left for a person.

    `state` is the ledger's, "approved", or "needs-review" for a line that is no draft and cannot be approved.
    """

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
    """The month's charges, and the lines that the last sync has left to a person to look at, by patient and code.

    UsageError if a patient or code is named and has none.
    """
    charges, waiting = _charges(desk, patient, code), _waiting(desk, patient, code)
    if (patient or code) and not charges and not waiting:
        raise UsageError(_NONE.format(desk.month))
    shown = [_standing(who, line) for who, line in charges if line.state != "withdrawn"]
    open_of = {(row.patient, row.code): row.todo for row in waiting}
    drafted = {(row.patient, row.code) for row in shown}
    shown = [_with_review(row, open_of.get((row.patient, row.code), "")) for row in shown]
    shown += [row for row in waiting if (row.patient, row.code) not in drafted]
    return sorted(shown, key=lambda row: (row.patient, row.code))


def _with_review(row: Standing, is_open: str) -> Standing:
    """A draft of a line that needs review (`[delivery] draft_review`) is not released with the others."""
    if row.todo != "approve" or not is_open:
        return row
    return replace(row, todo=f"{is_open}; or approve it with --patient and --code")


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


class _Kept(msgspec.Struct, frozen=True):
    """What a sync kept of a patient's month, as far as it is shown here."""

    patient: str
    decision: Decision | None = None


def _waiting(desk: Desk, patient: str, code: str) -> list[Standing]:
    """What the last sync of the month found needs-review."""
    month = str(desk.month)
    if not _is_kept(desk):
        return []
    with closing(ledger_of(desk)) as ledger:
        keys = [ledger.key(patient)] if patient else list(ledger.roster(month))
        kept = list(ledger.kept_of(month, keys, _Kept))
    return [
        _to_look_at(month, each.decision, line, at)
        for _, at, each in kept
        if each.decision is not None
        for line in each.decision.lines
        if line.status == "needs-review" and line.code == (code or line.code)
    ]


def _to_look_at(month: str, decision: Decision, line: Decided, at: datetime) -> Standing:
    return Standing(
        patient=decision.patient,
        month=month,
        code=line.code,
        units=line.units,
        served=tuple(str(day) for day, _ in line.days) or (str(line.date_of_service),),
        practitioner=line.practitioner or "",
        state="needs-review",
        sink="",
        reference="",
        approved_by="",
        todo=_what_is_open(decision, line.code),
        since=at,
    )


def _what_is_open(decision: Decision, code: str) -> str:
    found = [f for c in decision.candidates if c.code == code for f in c.findings if f.open]
    named = {
        level: ", ".join(dict.fromkeys(f.requirement for f in found if f.level == level))
        for level in ("block", "review")
    }
    tasks = [
        f"make clear in the record: {named['block']}" if named["block"] else "",
        f"document or attest: {named['review']}" if named["review"] else "",
    ]
    return f"not to be approved yet; {' and '.join(filter(None, tasks)) or 'it waits with its base'}, then sync"


def _is_kept(desk: Desk) -> bool:
    """Nothing was ever kept without its key: to look makes none, nor a ledger."""
    kept = desk.site.delivery
    return bool(kept.key_env) or (desk.folder / kept.key_file).exists()


def _lines(desk: Desk) -> list[tuple[str, Line]]:
    if not _is_kept(desk):
        return []
    with closing(ledger_of(desk)) as ledger:
        return ledger.month_lines(str(desk.month))


def _charges(desk: Desk, patient: str, code: str) -> list[tuple[str, Line]]:
    return [
        (who, line)
        for who, line in _lines(desk)
        if line.draft.resource_type == "ChargeItem"
        and who == (patient or who)
        and line.draft.code == (code or line.draft.code)
    ]


def _chosen(desk: Desk, patient: str, code: str) -> list[tuple[str, Line]]:
    """The charges that a person names; UsageError if there is none."""
    found = _charges(desk, patient, code)
    if not found and (waiting := _waiting(desk, patient, code)):
        raise UsageError(f"{waiting[0].code} is {waiting[0].todo}.")
    if not found:
        raise UsageError(_NONE.format(desk.month))
    return found


async def approve(desk: Desk, by: str, now: datetime, *, patient: str = "", code: str = "") -> list[Delivered]:
    """Release the month's charges, or those of one patient or code. UsageError if there is none.

    The draft of a line that needs review is released only where patient and code are named.
    """
    left = set() if patient and code else {(row.patient, row.code) for row in _waiting(desk, patient, code)}
    chosen: dict[str, list[str]] = defaultdict(list)
    for who, line in _chosen(desk, patient, code):
        if line.state != "withdrawn" and (line.approved_by or (who, line.draft.code) not in left):
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
            await attesting.attest(office, audit, person(by), decision, requirement, because, reference)
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
    return work_list.as_csv(work_list.rows(listed, desk.site.zone))
