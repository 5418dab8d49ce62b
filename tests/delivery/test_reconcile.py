"""What is done about one line, as a table: what we remember, what is wanted, what stands there."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bhi_fhir.delivery.line import Draft, Line, Nothing, Seen, Several, Standing, State, Unseen
from bhi_fhir.delivery.reconcile import reconcile


def charge(units: int = 1, status: str = "planned", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "ChargeItem",
        "identifier": [{"system": "urn:bhi-fhir:draft", "value": "1"}],
        "status": status,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "99492"}]},
        "subject": {"reference": "Patient/maria"},
        "quantity": {"value": units},
        **more,
    }


def wanted(units: int = 1) -> Draft:
    return Draft("1", "ChargeItem", "99492", charge(units))


def remembered(state: State = "confirmed", units: int = 1, status: str = "planned", **more: Any) -> Line:
    stood = {} if state == "prepared" else {"reference": "ChargeItem/9", "version": "1", "sink": "fhir"}
    draft = Draft("1", "ChargeItem", "99492", charge(units, status))
    return replace(Line(draft, "2026-09", state, **stood), **more)


def there(units: int = 1, version: str = "1", status: str = "planned", **more: Any) -> Standing:
    return Standing("ChargeItem/9", version, {**charge(units, status, **more), "id": "9"})


NEVER, GONE, BLIND = Nothing(), Nothing(deleted=True), Unseen()
UNANSWERED = remembered("unknown", reference="", version="")
APPROVED = remembered(status="billable", approved_by="Ann Biller")

CASES: list[tuple[str, Line, Draft | None, Seen, str, str]] = [
    ("new", remembered("prepared"), wanted(), NEVER, "create", "prepared"),
    ("prepared before a crash", remembered("prepared"), wanted(2), NEVER, "create", "prepared"),
    ("prepared and no longer wanted", remembered("prepared"), None, NEVER, "rest", "withdrawn"),
    ("there as wanted", remembered(), wanted(), there(), "keep", "confirmed"),
    ("touched by the server only", remembered(), wanted(), there(version="2"), "keep", "confirmed"),
    ("ours and changed", remembered(), wanted(2), there(), "update", "confirmed"),
    ("no longer supported", remembered(), None, there(), "withdraw", "confirmed"),
    ("withdrawn and still not wanted", remembered("withdrawn", status="aborted"), None, there(status="aborted"),
     "rest", "withdrawn"),
    ("withdrawn and supported again", remembered("withdrawn", status="aborted"), wanted(), there(status="aborted"),
     "update", "confirmed"),
    ("withdrawn, then deleted, wanted again", remembered("withdrawn", status="aborted"), wanted(), GONE,
     "create", "withdrawn"),
    ("units changed by a person", remembered(), wanted(), there(2, "2"), "leave", "left"),
    ("moved on by a person", remembered(), wanted(), there(status="billable", version="2"), "leave", "left"),
    ("billed, and no longer supported", remembered(), None, there(status="billed", version="2"), "leave", "left"),
    ("a note added by a person", remembered(), wanted(), there(version="2", note=[{"text": "call me"}]),
     "leave", "left"),
    ("deleted by a person", remembered(), wanted(), GONE, "leave", "left"),
    ("deleted where 404 is all that is said", remembered(), wanted(), NEVER, "leave", "left"),
    ("left, and put back as it was", remembered("left"), wanted(), there(version="7"), "keep", "confirmed"),
    ("twice on the server", remembered(), wanted(), Several(2), "leave", "conflict"),
    ("unanswered, arrived", UNANSWERED, wanted(), there(), "keep", "confirmed"),
    ("unanswered, arrived, wanted otherwise since", UNANSWERED, wanted(2), there(), "update", "confirmed"),
    ("unanswered, not arrived", UNANSWERED, wanted(), NEVER, "create", "unknown"),
    ("unanswered, no longer wanted, may still arrive", UNANSWERED, None, NEVER, "hold", "unknown"),
    ("a change unanswered, not arrived", remembered("unknown", units=2), wanted(2), there(1), "update", "confirmed"),
    ("a change unanswered, arrived", remembered("unknown", units=2), wanted(2), there(2, "2"), "keep", "confirmed"),
    ("a change unanswered, a person's instead", remembered("unknown", units=2), wanted(2), there(3, "2"),
     "leave", "left"),
    ("ours from before this ledger", remembered("prepared"), wanted(), there(), "keep", "confirmed"),
    ("something else from before this ledger", remembered("prepared"), wanted(), there(3), "leave", "left"),
    ("approved", APPROVED, wanted(), there(status="billable"), "keep", "confirmed"),
    ("approved, and the record changed", APPROVED, wanted(2), there(status="billable"), "leave", "confirmed"),
    ("approved, and no longer supported", APPROVED, None, there(status="billable"), "leave", "confirmed"),
    ("approved, then billed", APPROVED, wanted(), there(status="billed", version="3"), "leave", "left"),
    ("handed over blindly", remembered("sent"), wanted(), BLIND, "keep", "sent"),
    ("handed over blindly, changed", remembered("sent"), wanted(2), BLIND, "update", "sent"),
    ("handed over blindly, no longer supported", remembered("sent"), None, BLIND, "withdraw", "sent"),
    ("unanswered and blind", UNANSWERED, wanted(), BLIND, "redo", "unknown"),
    ("left and blind", remembered("left", reason="why"), wanted(), BLIND, "leave", "left"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "draft", "seen", "action", "state"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_is_done(line: Line, draft: Draft | None, seen: Seen, action: str, state: str) -> None:
    step = reconcile(line, draft, seen, whole=True, keyed=True, age_s=10.0, zone=UTC)
    assert (step.action, step.line.state) == (action, state)
    assert bool(step.because) == (action in ("leave", "hold") or bool(line.approved_by))


@pytest.mark.parametrize(("line", "seen"), [(remembered(), there()), (remembered("sent"), BLIND)])
def test_half_a_record_takes_nothing_back(line: Line, seen: Seen) -> None:
    assert reconcile(line, None, seen, whole=False, keyed=True, age_s=10.0, zone=UTC).action == "hold"


@pytest.mark.parametrize("seen", [NEVER, BLIND])
def test_an_unanswered_send_is_a_persons_where_a_second_could_be_a_second_charge(seen: Seen) -> None:
    step = reconcile(UNANSWERED, wanted(), seen, whole=True, keyed=False, age_s=10.0, zone=UTC)
    assert step.action == "leave"
    assert "bhi-fhir resolve" in step.because


def test_an_unanswered_send_that_is_not_wanted_is_dropped_once_it_can_no_longer_arrive() -> None:
    assert reconcile(UNANSWERED, None, NEVER, whole=True, keyed=True, age_s=7200.0, zone=UTC).action == "rest"


def test_the_day_of_an_approval_is_the_practices() -> None:
    """It was still October in Chicago when it was November in Greenwich."""
    approved = replace(APPROVED, approved_at=datetime(2026, 11, 1, 2, tzinfo=UTC))
    chicago = ZoneInfo("America/Chicago")
    for draft in (None, wanted(2)):
        seen = there(status="billable")
        step = reconcile(approved, draft, seen, whole=True, keyed=True, age_s=10.0, zone=chicago)
        assert step.because.endswith("(approved 2026-10-31)")


def test_a_difference_can_be_read_by_a_biller() -> None:
    seen = there(2, "2", "billable")
    because = reconcile(remembered(), wanted(3), seen, whole=True, keyed=True, age_s=10.0, zone=UTC).because
    assert because == (
        "somebody has changed it: quantity 1 → 2; status planned → billable; "
        "the record says: quantity 2 → 3; status billable → planned"
    )


def test_a_difference_names_elements_and_never_what_a_person_wrote() -> None:
    seen = there(version="2", note=[{"text": "Maria Canary called"}], subject={"reference": "Patient/other"})
    because = reconcile(remembered(), wanted(), seen, whole=True, keyed=True, age_s=10.0, zone=UTC).because
    assert "note; subject" in because
    assert "Canary" not in because
    assert "other" not in because


def test_where_the_definitions_are_served_is_no_word_of_the_record_about_an_approved_line() -> None:
    moved = wanted()
    served = ["https://bhi.example.org/fhir/ChargeItemDefinition/99492|2026.1"]
    moved = replace(moved, content={**moved.content, "definitionCanonical": served})
    step = reconcile(APPROVED, moved, there(status="billable"), whole=True, keyed=True, age_s=10.0, zone=UTC)
    assert (step.action, step.because) == ("keep", "approved")
