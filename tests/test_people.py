"""What people do on the command line: approve, attest, resolve, look after audit and keys."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hospital import Hospital
from make_examples import MONTH

from bhi_fhir.cli import cli, main
from bhi_fhir.delivery.line import Line
from bhi_fhir.domain.decision import Candidate, Decision, Finding, Minutes
from bhi_fhir.jobs.approving import _what_is_open
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import ledger_of

pytestmark = pytest.mark.server
FIRST = "cocm-first-month-in-order"


@pytest.fixture
def hospital(fhir_server: str, tmp_path: Path) -> Hospital:
    return Hospital(fhir_server, tmp_path / "site")


def run(hospital: Hospital, command: str, *more: str, status: int = 0) -> Result:
    result = CliRunner().invoke(cli, [*command.split(), "--site", str(hospital.folder), *more])
    found = result.exit_code if isinstance(result.exception, SystemExit | None) else result.exception
    assert found == status, result.output
    return result


def month(hospital: Hospital, command: str, *more: str, status: int = 0) -> Result:
    return run(hospital, command, "--month", MONTH, *more, status=status)


def test_a_biller_sees_the_lines_and_releases_them(hospital: Hospital) -> None:
    patient = hospital.admit(FIRST)
    month(hospital, "sync", "--write")
    (row,) = json.loads(month(hospital, "approve", "--format", "json").stdout)
    assert (row["patient"], row["code"], row["state"], row["todo"]) == (patient, "99492", "confirmed", "approve")
    assert hospital.drafts()["99492"]["status"] == "planned"
    said = month(hospital, "approve", "--by", "Ann Biller").stdout
    assert said.startswith("approved 99492 ChargeItem/")
    assert "Ann Biller" in said
    assert hospital.drafts()["99492"]["status"] == "billable"
    again = month(hospital, "approve", "--by", "Another Biller").stdout
    assert "Ann Biller" in again
    assert "Another" not in again


def test_a_line_that_waits_for_a_person_is_shown_and_cannot_be_approved(hospital: Hospital) -> None:
    patient = hospital.admit("brief-intervention-not-documented")
    month(hospital, "sync", "--write")
    for more in ([], ["--patient", patient], ["--code", "99492"]):
        (row,) = json.loads(month(hospital, "approve", "--format", "json", *more).stdout)
        assert (row["patient"], row["code"], row["state"], row["reference"]) == (patient, "99492", "needs-review", "")
        assert row["todo"] == "not to be approved yet; document or attest: brief-intervention, then sync"
    whose = ["--site", str(hospital.folder), "--month", MONTH, "--patient", patient]
    refused = CliRunner().invoke(cli, ["approve", *whose, "--by", "Ann Biller"])
    assert "not to be approved yet; document or attest: brief-intervention" in str(refused.exception)
    assert hospital.drafts() == {}


def test_a_site_may_draft_what_needs_review_and_it_is_released_only_by_name(hospital: Hospital) -> None:
    patient = hospital.admit("brief-intervention-not-documented")
    hospital.admit(FIRST)
    hospital.configure("[delivery]\ndraft_review = true\n")
    month(hospital, "sync", "--write")
    rows = {row["patient"]: row for row in json.loads(month(hospital, "approve", "--format", "json").stdout)}
    assert len(rows) == 2
    assert rows[patient]["state"] == "confirmed"
    assert rows[patient]["todo"].endswith(
        "attest: brief-intervention, then sync; or approve it with --patient and --code"
    )
    for more, approved in (([], False), (["--patient", patient, "--code", "99492"], True)):
        month(hospital, "approve", "--by", "Ann Biller", *more)
        rows = {row["patient"]: row for row in json.loads(month(hospital, "approve", "--format", "json").stdout)}
        assert (rows.pop(patient)["state"] == "approved") is approved
        assert [row["state"] for row in rows.values()] == ["approved"]


def test_what_waits_is_said_of_a_block_and_of_an_add_on() -> None:
    unread = Finding("consent", "unknown", "b", "c")
    asked = Finding("registry-tracking", "not-met", "b", "c", level="review")
    met = Finding("minutes", "met", "b", "c")
    base, add_on = (
        Candidate("99493", "needs-review", 1, (unread, asked, met)),
        Candidate("99494", "needs-review", 1, (met,)),
    )
    decision = Decision("Patient/1", "cocm", None, Minutes(), (), (base, add_on))
    assert _what_is_open(decision, "99493") == (
        "not to be approved yet; make clear in the record: consent and document or attest: registry-tracking, then sync"
    )
    assert _what_is_open(decision, "99494") == "not to be approved yet; it waits with its base, then sync"


def test_nothing_to_approve_is_said(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    result = CliRunner().invoke(cli, ["approve", "--site", str(hospital.folder), "--month", MONTH, "--by", "Ann"])
    assert "no such line" in str(result.exception)


def test_to_look_for_lines_makes_nothing(hospital: Hospital) -> None:
    before = sorted(file.name for file in hospital.folder.iterdir())
    assert json.loads(month(hospital, "approve", "--format", "json").stdout) == []
    assert sorted(file.name for file in hospital.folder.iterdir()) == before


def test_an_attestation_needs_a_name_a_reason_and_a_reference(hospital: Hospital) -> None:
    patient = hospital.admit("brief-intervention-not-documented")
    words = ["--patient", patient, "--requirement", "brief-intervention", "--because", "on paper"]
    assert month(hospital, "attest", *words, "--by", "Dr Kim", status=2)
    said = month(hospital, "attest", *words, "--by", "Dr Kim", "--reference", "binder 7, page 3").stdout
    assert "attested for 2026-09 by Dr Kim" in said
    month(hospital, "sync", "--write")
    assert hospital.drafts()["99492"]["status"] == "planned"


def lines(hospital: Hospital) -> list[tuple[str, Line]]:
    ledger = ledger_of(Desk.open(hospital.folder, MONTH))
    try:
        return ledger.month_lines(MONTH)
    finally:
        ledger.close()


def unanswered(hospital: Hospital, patient: str) -> None:
    """As a run leaves a DFT whose answer was lost."""
    from dataclasses import replace

    ledger = ledger_of(Desk.open(hospital.folder, MONTH))
    try:
        charge = next(n for n in ledger.lines(patient, MONTH) if n.draft.resource_type == "ChargeItem")
        ledger.put(patient, [replace(charge, state="unknown", sink="dft")])
    finally:
        ledger.close()


@pytest.mark.parametrize(("answer", "state"), [("--arrived", "confirmed"), ("--never-arrived", "prepared")])
def test_a_person_says_what_became_of_a_send(hospital: Hospital, answer: str, state: str) -> None:
    patient = hospital.admit(FIRST)
    month(hospital, "sync", "--write")
    unanswered(hospital, patient)
    assert "bhi-fhir resolve" in month(hospital, "approve", "--format", "json").stdout
    month(hospital, "resolve", "--patient", patient, "--code", "99492", "--by", "Ann Biller", answer)
    found = {n.draft.code: n.state for _, n in lines(hospital)}
    assert found["99492"] == state


def test_the_audit_is_checked_and_its_head_is_printed(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    month(hospital, "sync", "--write")
    said = run(hospital, "audit verify").stdout.strip()
    head = said.rpartition("head ")[2]
    month(hospital, "sync")
    run(hospital, "audit verify", "--head", head)
    (file,) = hospital.folder.glob("bhi-fhir-audit-*.ndjson")
    whole = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(whole[:3] + whole[4:]))
    broken = run(hospital, "audit verify", status=1)
    assert "line 4" in broken.stderr


def test_the_public_keys_are_printed_and_nothing_private(hospital: Hospital) -> None:
    from joserfc.jwk import ECKey

    key = ECKey.generate_key("P-384", {"kid": "2026"}, private=True)
    (hospital.folder / "key.json").write_text(json.dumps(key.as_dict(private=True)))
    file = hospital.folder / "key.json"
    overrides = ["fhir.auth.kind=private_key_jwt", "fhir.auth.client_id=bhi", f"fhir.auth.secret_file={file}"]
    said = run(hospital, "jwks", *(part for each in overrides for part in ("--set", each))).stdout
    (public,) = json.loads(said)["keys"]
    assert public["kid"] == "2026"
    assert "d" not in public


def test_a_patient_is_named_as_printed_or_by_the_id_alone(hospital: Hospital) -> None:
    patient = hospital.admit(FIRST)
    alone = patient.removeprefix("Patient/")
    month(hospital, "sync", "--write")
    for name in (patient, alone):
        (row,) = json.loads(month(hospital, "approve", "--patient", name, "--format", "json").stdout)
        assert row["patient"] == patient
    unanswered(hospital, patient)
    month(hospital, "resolve", "--patient", alone, "--code", "99492", "--by", "Ann Biller", "--arrived")
    other = hospital.admit("brief-intervention-not-documented").removeprefix("Patient/")
    words = ["--requirement", "brief-intervention", "--because", "on paper", "--by", "Dr Kim", "--reference", "page 3"]
    assert "attested" in month(hospital, "attest", "--patient", other, *words).stdout


@pytest.mark.parametrize("name", ["Encounter/x", "Patient/a b", "nobody-of-this-name", "Patient/../x", "Patient/"])
def test_a_patient_who_is_none_is_wrong_usage(
    hospital: Hospital, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hospital.admit(FIRST)
    site = ["--site", str(hospital.folder), "--month", MONTH, "--patient", name, "--by", "Dr Kim"]
    attest = ["attest", *site, "--requirement", "x", "--because", "y", "--reference", "z"]
    for command in (["approve", *site], attest, ["resolve", *site, "--code", "99492", "--arrived"]):
        monkeypatch.setattr("sys.argv", ["bhi-fhir", *command])
        with pytest.raises(SystemExit) as stop:
            main()
        assert stop.value.code == 2, command
        assert capsys.readouterr().err.strip()
