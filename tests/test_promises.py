"""The two promises of delivery, against each of three servers: written once, and never touched once a person has."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hospital import NOW, Hospital
from make_examples import MONTH

from bhi_fhir.audit import verify
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.approving import approve, attest, standing
from bhi_fhir.jobs.desk import Desk

LONG = "cocm-long-month-with-add-ons"
FIRST = "cocm-first-month-in-order"


@pytest.fixture
def hospital(any_fhir_server: str, tmp_path: Path) -> Hospital:
    return Hospital(any_fhir_server, tmp_path / "site")


def desk(hospital: Hospital, month: str = MONTH) -> Desk:
    return Desk.open(hospital.folder, month)


def test_running_again_changes_nothing(hospital: Hospital) -> None:
    hospital.admit(LONG)
    assert hospital.outcomes(hospital.sync()) == {"99493": "created", "99494": "created"}
    before = hospital.drafts(), hospital.drafts("Claim")
    assert hospital.outcomes(hospital.sync()) == {"99493": "unchanged", "99494": "unchanged"}
    assert (hospital.drafts(), hospital.drafts("Claim")) == before


def test_what_changed_in_the_record_changes_the_draft(hospital: Hospital) -> None:
    hospital.admit(LONG)
    hospital.sync()
    units = hospital.drafts()["99494"]["quantity"]["value"]
    hospital.lasts("Encounter/james-work-1", 200)
    assert hospital.outcomes(hospital.sync()) == {"99493": "unchanged", "99494": "updated"}
    assert hospital.drafts()["99494"]["quantity"]["value"] > units
    assert hospital.outcomes(hospital.sync()) == {"99493": "unchanged", "99494": "unchanged"}


def test_what_the_record_no_longer_supports_is_withdrawn_and_comes_back(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    hospital.change(hospital.own("Encounter/maria-work-1"), status="cancelled")
    hospital.change(hospital.own("Encounter/maria-work-2"), status="cancelled")
    assert hospital.outcomes(hospital.sync())["99492"] == "withdrawn"
    assert hospital.drafts()["99492"]["status"] == "aborted"
    assert {claim["status"] for claim in hospital.drafts("Claim").values()} == {"cancelled"}
    assert "99492" not in hospital.outcomes(hospital.sync())
    hospital.change(hospital.own("Encounter/maria-work-1"), status="finished")
    hospital.change(hospital.own("Encounter/maria-work-2"), status="finished")
    assert hospital.outcomes(hospital.sync())["99492"] == "updated"
    assert hospital.drafts()["99492"]["status"] == "planned"


@pytest.mark.parametrize(
    ("touch", "said"),
    [
        ({"quantity": {"value": 7}}, "quantity 1 → 7"),
        ({"status": "billable"}, "status planned → billable"),
        ({"status": "billed"}, "status planned → billed"),
        ({"note": [{"text": "ask the family"}]}, "note"),
    ],
)
def test_what_a_person_touched_is_never_touched(hospital: Hospital, touch: dict[str, Any], said: str) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    draft = hospital.drafts()["99492"]
    hospital.change(f"ChargeItem/{draft['id']}", **touch)
    touched = hospital.drafts()["99492"]
    hospital.lasts("Encounter/maria-work-1", 1)
    for _ in range(2):
        (month,) = hospital.sync().months()
        left = next(d for d in month.delivered if d.resource_type == "ChargeItem")
        assert left.outcome == "left-alone"
        assert said in left.reason
        assert "the record does not support it" in left.reason
        assert hospital.drafts()["99492"] == touched


def test_what_a_person_deleted_is_not_made_again(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    hospital.delete(f"ChargeItem/{hospital.drafts()['99492']['id']}")
    for _ in range(2):
        (month,) = hospital.sync().months()
        (left,) = (d for d in month.delivered if d.resource_type == "ChargeItem")
        assert (left.outcome, left.reason) == ("left-alone", "somebody has deleted it")
        assert "99492" not in hospital.drafts()


def test_a_lost_ledger_writes_nothing_twice(hospital: Hospital) -> None:
    hospital.admit(LONG)
    hospital.sync()
    for file in hospital.folder.glob("bhi-fhir.db*"):
        if file.is_file():
            file.unlink()
    assert set(hospital.outcomes(hospital.sync()).values()) == {"unchanged"}


def test_a_draft_that_somebody_changed_is_left_alone_also_without_a_memory_of_it(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    hospital.change(f"ChargeItem/{hospital.drafts()['99492']['id']}", quantity={"value": 3})
    hospital.configure('[delivery]\nledger = "sqlite:///another.db"\n')
    assert hospital.outcomes(hospital.sync()) == {"99492": "left-alone"}


def test_a_named_person_approves_and_then_it_is_theirs(hospital: Hospital) -> None:
    patient = hospital.admit(FIRST)
    hospital.sync()
    (done,) = asyncio.run(approve(desk(hospital), "Ann Biller", NOW))
    assert (done.outcome, done.code) == ("approved", "99492")
    charge = hospital.drafts()["99492"]
    assert charge["status"] == "billable"
    assert {claim["status"] for claim in hospital.drafts("Claim").values()} == {"draft"}
    (row,) = standing(desk(hospital))
    assert (row.patient, row.code, row.units, row.state, row.approved_by) == (
        patient, "99492", 1, "approved", "Ann Biller"
    )  # fmt: skip
    assert hospital.outcomes(hospital.sync()) == {"99492": "approved"}
    hospital.lasts("Encounter/maria-work-1", 1)
    (month,) = hospital.sync().months()
    left = next(d for d in month.delivered if d.resource_type == "ChargeItem")
    assert left.outcome == "left-alone"
    assert "it was approved, and the record no longer supports it" in left.reason
    assert hospital.drafts()["99492"] == charge


def test_nobody_can_approve_what_somebody_else_changed(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    hospital.change(f"ChargeItem/{hospital.drafts()['99492']['id']}", quantity={"value": 3})
    (done,) = asyncio.run(approve(desk(hospital), "Ann Biller", NOW))
    assert done.outcome == "left-alone"
    assert hospital.drafts()["99492"]["status"] == "planned"


def test_an_attested_requirement_makes_the_line_billable_until_the_record_changes(hospital: Hospital) -> None:
    patient = hospital.admit("brief-intervention-not-documented")
    assert hospital.outcomes(hospital.sync()) == {}
    vouch = {
        "patient": patient,
        "requirement": "brief-intervention",
        "because": "behavioural activation, 12 September, noted on paper",
        "reference": hospital.own("Encounter/betty-work-1"),
    }
    said = asyncio.run(attest(desk(hospital), "Dr Kim", NOW, **vouch))
    assert "brief-intervention is attested" in said
    report = hospital.sync()
    assert hospital.outcomes(report) == {"99492": "created"}
    (month,) = report.months()
    assert month.decision is not None
    finding = next(
        f
        for c in month.decision.candidates
        if c.code == "99492"
        for f in c.findings
        if f.requirement == "brief-intervention"
    )
    assert finding.outcome == "met"
    assert "attested by Dr Kim on 2026-11-02" in finding.because
    hospital.lasts("Encounter/betty-work-1", 75)
    report = hospital.sync()
    assert hospital.outcomes(report) == {"99492": "withdrawn"}
    (month,) = report.months()
    assert month.decision is not None
    assert any("lapsed" in warning for warning in month.decision.warnings)


def test_what_blocks_cannot_be_attested(hospital: Hospital) -> None:
    patient = hospital.admit("brief-intervention-not-documented")
    with pytest.raises(UsageError, match="no review requirement"):
        asyncio.run(
            attest(desk(hospital), "Dr Kim", NOW, patient=patient, requirement="consent", because="x", reference="y")
        )


def test_a_late_entry_in_a_delivered_month_is_found_by_the_next_months_run(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    for work in ("1", "2"):
        hospital.change(hospital.own(f"Encounter/maria-work-{work}"), status="entered-in-error")
    report = hospital.sync(month="2026-10")
    assert report.reread == ("2026-09",)
    (late,) = report.late
    assert {d.outcome for d in late.delivered} == {"withdrawn"}
    assert hospital.drafts()["99492"]["status"] == "aborted"


def test_a_patient_who_left_the_roster_is_still_looked_after(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.sync()
    (hospital.folder / "roster.txt").write_text("")
    hospital.change(hospital.own("Encounter/maria-work-1"), status="entered-in-error")
    assert hospital.outcomes(hospital.sync())["99492"] == "withdrawn"


def merged(hospital: Hospital, gone: str, stays: str) -> None:
    """As a hospital merges two records of one person."""
    hospital.change(gone, active=False, link=[{"other": {"reference": stays}, "type": "replaced-by"}])
    hospital.change(stays, link=[{"other": {"reference": gone}, "type": "replaces"}])


def another_record(hospital: Hospital) -> str:
    """The same person, registered a second time; nothing hangs on it yet."""
    twin = {"resourceType": "Patient", "id": f"twin-{hospital.mark}", "gender": "female", "birthDate": "1951-07-14"}
    hospital.put(twin)
    hospital.patients.append(f"Patient/{twin['id']}")
    return hospital.patients[-1]


def test_after_a_merge_the_month_is_charged_once_for_the_record_that_stands(hospital: Hospital) -> None:
    old = hospital.admit(FIRST)
    hospital.sync()
    new = another_record(hospital)
    merged(hospital, old, new)
    for _ in range(2):
        assert {m.patient for m in hospital.sync().months()} == {new}
        charges = [c for c in hospital.all("ChargeItem") if c["subject"].get("reference") in (old, new)]
        assert sorted((c["subject"].get("reference") == new, c["status"]) for c in charges) == [
            (False, "aborted"),
            (True, "planned"),
        ]


def test_after_a_merge_nothing_is_created_beside_a_charge_that_a_person_released(hospital: Hospital) -> None:
    old = hospital.admit(FIRST)
    hospital.sync()
    asyncio.run(approve(desk(hospital), "Ann Biller", NOW))
    new = another_record(hospital)
    merged(hospital, old, new)
    hospital.sync()
    charges = [c for c in hospital.all("ChargeItem") if c["subject"].get("reference") in (old, new)]
    assert [(c["subject"].get("reference"), c["status"]) for c in charges] == [(old, "billable")]


def test_what_would_happen_is_what_happens(hospital: Hospital) -> None:
    hospital.admit(LONG)
    assert hospital.sync(write=False).counts() == hospital.sync().counts()
    hospital.lasts("Encounter/james-work-1", 200)
    before = hospital.drafts()
    seen = hospital.sync(write=False)
    assert hospital.drafts() == before
    assert seen.counts() == hospital.sync().counts()
    assert seen.counts()["updated"] == 2


def test_the_audit_holds_every_patient_and_its_chain(hospital: Hospital) -> None:
    patient = hospital.admit(FIRST)
    hospital.sync()
    asyncio.run(approve(desk(hospital), "Ann Biller", NOW))
    files = list(hospital.folder.glob("bhi-fhir-audit*.ndjson"))
    checked = verify(hospital.folder / "bhi-fhir-audit.ndjson")
    assert checked.breaks == ()
    assert checked.lines > 20
    text = "".join(f.read_text() for f in files)
    for part in (patient, "Ann Biller", "ChargeItem"):
        assert part in text


def test_a_claim_keeps_the_line_that_a_person_released(hospital: Hospital) -> None:
    hospital.admit(LONG)
    hospital.sync()
    before = {item["productOrService"]["coding"][0]["code"] for item in claim_of(hospital)["item"]}
    asyncio.run(approve(desk(hospital), "Ann Biller", NOW, code="99493"))
    hospital.sync()
    assert {item["productOrService"]["coding"][0]["code"] for item in claim_of(hospital)["item"]} == before
    assert before == {"99493", "99494"}


def claim_of(hospital: Hospital) -> dict[str, Any]:
    (claim,) = hospital.drafts("Claim").values()
    return claim
