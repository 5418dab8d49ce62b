"""The months of the last sync, as the caseload has them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from cryptography.fernet import Fernet

from bhi_fhir.delivery.ledger import Ledger, open_ledger
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.web.kept import Kept, LastSync

MONTH = "2026-09"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    found = open_ledger("sqlite:///l.db", tmp_path, uuid4(), Seal(Fernet.generate_key().decode()))
    yield found
    found.close()


def synced(ledger: Ledger, *patients: str) -> str:
    run, _ = ledger.begin(MONTH, "f", wrote=False, afresh=True)
    for patient in patients:
        ledger.decided(run, patient, MONTH, {"patient": patient})
    return run


def who(kept: Kept) -> str:
    return kept.month.patient


def test_months_that_are_remembered_are_not_read_again(ledger: Ledger) -> None:
    ledger.end(synced(ledger, "Patient/1", "Patient/2"))
    last = LastSync(ledger)
    assert sorted(last.months(MONTH, who)) == ["Patient/1", "Patient/2"]
    said: list[str] = []
    sa.event.listen(ledger.engine, "before_cursor_execute", lambda *given: said.append(given[2]))
    assert sorted(last.months(MONTH, who)) == ["Patient/1", "Patient/2"]
    assert said
    assert not [statement for statement in said if "patient_months.sealed" in statement.partition("FROM")[0]]


def test_a_month_that_was_decided_anew_is_read_anew(ledger: Ledger) -> None:
    run = synced(ledger, "Patient/1")
    ledger.end(run)
    last = LastSync(ledger)
    assert last.months(MONTH, lambda kept: kept.month.failed) == [""]
    ledger.decided(run, "Patient/1", MONTH, {"patient": "Patient/1", "failed": "the server failed"})
    assert last.months(MONTH, lambda kept: kept.month.failed) == ["the server failed"]


def test_whoever_left_the_roster_is_gone_once_a_sync_has_ended(ledger: Ledger) -> None:
    ledger.end(synced(ledger, "Patient/1", "Patient/2"))
    last = LastSync(ledger)
    run = synced(ledger, "Patient/2")
    assert sorted(last.months(MONTH, who)) == ["Patient/1", "Patient/2"]
    ledger.end(run)
    assert last.months(MONTH, who) == ["Patient/2"]
    assert last.one(ledger.key("Patient/1"), MONTH) is None
    stays = last.one(ledger.key("Patient/2"), MONTH)
    assert stays is not None
    assert stays.month.patient == "Patient/2"
