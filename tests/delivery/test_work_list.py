"""What a person enters by hand, as rows and as a sheet."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from delivery.charges import APPROVED, CLAIM, PLANNED, TWO_DAYS, TWO_UNITS, WITHDRAWN, with_content, with_draft

from bhi_fhir.delivery.line import Line, Unseen
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.delivery.work_list import WorkList, as_csv, rows

LISTED = replace(PLANNED, sink="worklist", version="enter", reason="On the work list: enter it by hand.")


async def test_it_takes_everything_and_sees_nothing() -> None:
    door: Sink = WorkList()
    assert (door.name, door.keyed, door.drafts) == ("worklist", True, True)
    assert door.takes(CLAIM.draft)
    assert await door.look(PLANNED) == Unseen()


async def test_what_is_to_be_done_is_said() -> None:
    door = WorkList()
    (receipt,) = await door.create([PLANNED])
    assert (receipt.outcome, receipt.reason) == ("sent", "On the work list: enter it by hand.")
    assert (await door.change(APPROVED, TWO_UNITS)).version == "correct"
    assert (await door.change(APPROVED, WITHDRAWN)).version == "take back"


def test_a_row_is_what_a_biller_enters() -> None:
    line = with_draft(replace(LISTED, changed_at=datetime(2026, 4, 2, 9, tzinfo=UTC)), diagnoses=("F32.1", "F41.1"))
    (row,) = rows([line], UTC)
    assert (row.do, row.what, row.patient, row.month) == ("enter", "ChargeItem", "Patient/maria", "2026-03")
    assert (row.code, row.date_of_service, row.units) == ("99492", "2026-03-31", "1")
    assert (row.performer, row.because, row.since) == ("Practitioner/pcp", LISTED.reason, "2026-04-02")
    assert row.diagnoses == "F32.1 F41.1"


def test_the_day_of_a_change_is_the_practices() -> None:
    (row,) = rows([replace(LISTED, changed_at=datetime(2026, 4, 1, 2, tzinfo=UTC))], ZoneInfo("America/Chicago"))
    assert row.since == "2026-03-31"


def test_each_day_has_a_row_and_so_has_each_item_of_a_claim() -> None:
    found = rows([CLAIM, TWO_DAYS], UTC)
    assert [(row.what, row.date_of_service, row.units) for row in found] == [
        ("ChargeItem", "2026-03-03", "1"),
        ("ChargeItem", "2026-03-17", "2"),
        ("Claim", "2026-03-31", "1"),
    ]
    assert (found[2].performer, found[2].diagnoses) == ("Practitioner/pcp", "F32.1 F41.1")


def test_what_waits_at_another_door_is_to_be_entered() -> None:
    def does(line: Line) -> str:
        return rows([line], UTC)[0].do

    assert does(replace(PLANNED, sink="dft", version="7")) == "enter"
    assert does(replace(PLANNED, sink="worklist")) == "enter"
    assert does(replace(LISTED, version="take back")) == "take back"


def test_the_sheet_holds_no_formula() -> None:
    evil = with_content(LISTED, subject={"reference": "=1+1"})
    (header, row) = csv.reader(io.StringIO(as_csv(rows([evil], UTC))))
    assert header[:3] == ["do", "what", "patient"]
    assert row[2] == "'=1+1"
