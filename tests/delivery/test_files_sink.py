"""A folder that a receiver polls: whole or not there, the same name and bytes for the same revision."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from delivery.charges import APPROVED, CLAIM, PLANNED, TWO_DAYS, TWO_UNITS, WITHDRAWN, with_content, with_draft

from bhi_fhir.delivery.files_sink import FilesSink
from bhi_fhir.delivery.line import Line, Receipt, Standing, Unseen
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.errors import ServerError

NAME = f"{PLANNED.identifier}.1"
SENT = Receipt("sent", f"2026-03/{NAME}", "1")


async def created(folder: Path, line: Line = PLANNED) -> Receipt:
    (receipt,) = await FilesSink(folder).create([line])
    return receipt


def table(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


def manifest(folder: Path, name: str = NAME) -> Any:
    return json.loads((folder / "2026-03" / f"{name}.manifest.json").read_bytes())


def everything(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "2026-03").iterdir()}


def test_it_is_a_sink(tmp_path: Path) -> None:
    door: Sink = FilesSink(tmp_path)
    assert (door.name, door.keyed, door.drafts) == ("files", True, True)
    assert door.takes(PLANNED.draft)
    assert door.takes(CLAIM.draft)


async def test_a_charge_is_a_resource_a_table_and_a_manifest(tmp_path: Path) -> None:
    assert await created(tmp_path, with_draft(PLANNED, diagnoses=("F32.1", "F41.1"))) == SENT
    month = tmp_path / "2026-03"
    assert sorted(everything(tmp_path)) == [f"{NAME}.csv", f"{NAME}.manifest.json", f"{NAME}.ndjson"]
    assert json.loads((month / f"{NAME}.ndjson").read_bytes()) == PLANNED.content
    assert table(month / f"{NAME}.csv") == [
        {
            "action": "charge",
            "identifier": PLANNED.identifier,
            "revision": "1",
            "patient": "Patient/maria",
            "code": "99492",
            "units": "1",
            "date_of_service": "2026-03-31",
            "performer": "Practitioner/pcp",
            "status": "planned",
            "diagnoses": "F32.1 F41.1",
        }
    ]


async def test_the_manifest_says_what_belongs_to_it(tmp_path: Path) -> None:
    await created(tmp_path, TWO_DAYS)
    said = manifest(tmp_path)
    files = {file["name"]: file for file in said.pop("files")}
    assert said == {
        "action": "charge",
        "identifier": PLANNED.identifier,
        "revision": 1,
        "month": "2026-03",
        "resourceType": "ChargeItem",
        "rules": "2026.1",
    }
    assert {name: file["count"] for name, file in files.items()} == {f"{NAME}.ndjson": 1, f"{NAME}.csv": 2}
    for name, file in files.items():
        assert file["sha256"] == hashlib.sha256((tmp_path / "2026-03" / name).read_bytes()).hexdigest()


async def test_a_claim_has_no_table(tmp_path: Path) -> None:
    await created(tmp_path, CLAIM)
    assert sorted(everything(tmp_path)) == [f"{CLAIM.identifier}.1.manifest.json", f"{CLAIM.identifier}.1.ndjson"]


async def test_only_the_owner_reads_them(tmp_path: Path) -> None:
    await created(tmp_path)
    month = tmp_path / "2026-03"
    assert month.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in month.iterdir()} == {0o600}


async def test_the_same_revision_is_handed_over_once(tmp_path: Path) -> None:
    await created(tmp_path)
    before = everything(tmp_path)
    assert await created(tmp_path) == replace(SENT, existed=True)
    assert everything(tmp_path) == before


async def test_another_content_under_the_same_revision_is_a_conflict(tmp_path: Path) -> None:
    await created(tmp_path)
    before = everything(tmp_path)
    assert (await created(tmp_path, APPROVED)).outcome == "conflict"
    assert everything(tmp_path) == before


@pytest.mark.parametrize("lost", [".manifest.json", ".csv", ".ndjson"])
async def test_what_a_crash_left_behind_is_written_again(tmp_path: Path, lost: str) -> None:
    await created(tmp_path)
    before = everything(tmp_path)
    month = tmp_path / "2026-03"
    (month / f"{NAME}.manifest.json").unlink()
    (month / f"{NAME}{lost}").unlink(missing_ok=True)
    (month / f".{NAME}.csv.part").write_text("half a fi")
    (month / f"{NAME}.csv").write_text("of an older run")
    assert await created(tmp_path) == SENT
    assert everything(tmp_path) == before


async def test_a_correction_is_the_next_revision(tmp_path: Path) -> None:
    await created(tmp_path, APPROVED)
    receipt = await FilesSink(tmp_path).change(replace(APPROVED, revision=2), TWO_UNITS)
    name = f"{PLANNED.identifier}.2"
    assert receipt == Receipt("sent", f"2026-03/{name}", "2")
    (row,) = table(tmp_path / "2026-03" / f"{name}.csv")
    assert (row["action"], row["revision"], row["units"]) == ("update", "2", "2")


async def test_a_withdrawal_says_what_it_takes_back(tmp_path: Path) -> None:
    await FilesSink(tmp_path).change(replace(TWO_DAYS, revision=2), WITHDRAWN)
    name = f"{PLANNED.identifier}.2"
    rows = table(tmp_path / "2026-03" / f"{name}.csv")
    assert [(row["action"], row["date_of_service"], row["units"], row["status"]) for row in rows] == [
        ("credit", "2026-03-03", "1", "aborted"),
        ("credit", "2026-03-17", "2", "aborted"),
    ]
    assert manifest(tmp_path, name)["action"] == "credit"
    assert json.loads((tmp_path / "2026-03" / f"{name}.ndjson").read_bytes())["status"] == "aborted"


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
async def test_no_cell_is_a_formula(tmp_path: Path, begins: str) -> None:
    evil = with_content(PLANNED, subject={"reference": f"{begins}cmd|' /C calc'!A0"})
    await created(tmp_path, evil)
    (row,) = table(tmp_path / "2026-03" / f"{NAME}.csv")
    assert row["patient"] == f"'{begins}cmd|' /C calc'!A0"


async def test_a_folder_that_cannot_be_written_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "2026-03").write_text("no folder")
    receipt = await created(tmp_path)
    assert receipt.outcome == "unsent"
    assert "maria" not in receipt.reason


# -- looking --------------------------------------------------------------------------------------------


async def test_what_was_handed_over_is_unseen_until_it_is_acknowledged(tmp_path: Path) -> None:
    door = FilesSink(tmp_path)
    sent = replace(PLANNED, state="sent", version="1")
    assert await door.look(sent) == Unseen()
    await created(tmp_path)
    assert await door.look(sent) == Unseen()
    (tmp_path / "2026-03" / f"{NAME}.ack").touch()
    assert await door.look(sent) == Standing(f"2026-03/{NAME}", "1", PLANNED.content)


async def test_an_acknowledged_line_may_have_been_moved_away(tmp_path: Path) -> None:
    await created(tmp_path)
    for file in (tmp_path / "2026-03").iterdir():
        file.unlink()
    (tmp_path / "2026-03" / f"{NAME}.ack").touch()
    sent = replace(PLANNED, state="sent", version="1")
    assert await FilesSink(tmp_path).look(sent) == Standing(f"2026-03/{NAME}", "1", PLANNED.content)
    assert await FilesSink(tmp_path).look(replace(sent, version="")) == Unseen()


async def test_after_a_crash_what_stands_is_the_last_whole_revision(tmp_path: Path) -> None:
    door = FilesSink(tmp_path)
    await created(tmp_path, APPROVED)
    cut_off = replace(APPROVED, draft=TWO_UNITS, state="sending", revision=2, version="1")
    assert await door.look(cut_off) == Standing(f"2026-03/{NAME}", "1", APPROVED.content)
    (tmp_path / "2026-03" / f"{PLANNED.identifier}.2.ndjson").touch()
    assert await door.look(cut_off) == Standing(f"2026-03/{NAME}", "1", APPROVED.content)
    await door.change(replace(APPROVED, revision=2), TWO_UNITS)
    assert await door.look(cut_off) == Standing(f"2026-03/{PLANNED.identifier}.2", "2", TWO_UNITS.content)


async def test_the_tenth_revision_comes_after_the_ninth(tmp_path: Path) -> None:
    door = FilesSink(tmp_path)
    for revision in (9, 10):
        await door.create([replace(PLANNED, revision=revision)])
    seen = await door.look(PLANNED)
    assert isinstance(seen, Standing)
    assert seen.version == "10"


async def test_a_line_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    await created(tmp_path)
    (tmp_path / "2026-03" / f"{NAME}.ndjson").write_text("{half")
    with pytest.raises(ServerError, match="cannot be read"):
        await FilesSink(tmp_path).look(PLANNED)
