"""The operation on the site's own server: the decision of a sync, audited, and nothing shown that is not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hospital import NOW, Hospital
from make_examples import MONTH
from served import running

from bhi_fhir.jobs.approving import attest
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.web.app import create_app

pytestmark = pytest.mark.server
JSON = {"accept": "application/json"}


@pytest.fixture
def hospital(fhir_server: str, tmp_path: Path) -> Hospital:
    return Hospital(fhir_server, tmp_path / "site")


@pytest.fixture
def client(hospital: Hospital) -> Iterator[httpx.Client]:
    with running(create_app(hospital.folder, is_open=True)) as found:
        yield found


def evaluate(client: httpx.Client, patient: str, **headers: str) -> httpx.Response:
    return client.post(f"/fhir/{patient}/$evaluate-bhi", params={"month": MONTH}, headers=headers)


def audited(hospital: Hospital) -> list[dict[str, object]]:
    files = sorted(hospital.folder.glob("*-audit-*.ndjson"))
    return [json.loads(line)["event"] for file in files for line in file.read_text().splitlines()]


def test_a_patient_of_the_server_is_decided_as_by_a_sync(hospital: Hospital, client: httpx.Client) -> None:
    patient = hospital.admit("cocm-first-month-in-order")
    (synced,) = hospital.sync(write=False).decisions
    (decided,) = evaluate(client, patient, **JSON).json()["results"]
    assert decided["patient"] == patient
    assert [line["code"] for line in decided["lines"]] == [line.code for line in synced.lines] == ["99492"]
    kinds = {entry["resource"]["resourceType"] for entry in evaluate(client, patient).json()["entry"]}
    assert kinds == {"ChargeItem", "Claim", "OperationOutcome"}


def test_the_month_may_stand_in_parameters(hospital: Hospital, client: httpx.Client) -> None:
    patient = hospital.admit("general-bhi-in-order")
    sent = {"resourceType": "Parameters", "parameter": [{"name": "month", "valueDate": MONTH}]}
    answer = client.post(f"/fhir/{patient}/$evaluate-bhi", json=sent, headers=JSON)
    assert answer.json()["month"] == MONTH
    unknown = {"resourceType": "Parameters", "parameter": [{"name": "record", "resource": {"resourceType": "Bundle"}}]}
    assert client.post(f"/fhir/{patient}/$evaluate-bhi", json=unknown).status_code == 400


def test_every_read_is_audited_with_who_asked(hospital: Hospital, client: httpx.Client) -> None:
    patient = hospital.admit("general-bhi-in-order")
    assert evaluate(client, patient).status_code == 200
    events = audited(hospital)
    assert any(patient in json.dumps(event) for event in events)
    assert all("anybody on this machine" in json.dumps(event) for event in events)


def test_nothing_is_shown_that_cannot_be_audited(hospital: Hospital, client: httpx.Client) -> None:
    patient = hospital.admit("general-bhi-in-order")
    assert evaluate(client, patient).status_code == 200
    for file in hospital.folder.glob("*-audit-*.ndjson"):
        file.unlink()
        file.mkdir()  # also root cannot write to it
    answer = evaluate(client, patient, **JSON)
    assert answer.status_code == 500
    assert "results" not in answer.text


def test_a_patient_that_the_server_does_not_have_is_not_found(hospital: Hospital, client: httpx.Client) -> None:
    answer = evaluate(client, "Patient/nobody")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (404, "not-found")
    assert evaluate(client, "Patient/no%20id").status_code == 400
    assert evaluate(client, "Patient/..%2FEncounter").status_code in (400, 404)


def test_what_a_person_vouches_for_counts_here_too(hospital: Hospital, client: httpx.Client) -> None:
    patient = hospital.admit("brief-intervention-not-documented")
    before = evaluate(client, patient, **JSON).json()["results"][0]["lines"]
    assert [line["status"] for line in before] == ["needs-review"]
    hospital.sync(write=False)
    desk = Desk.open(hospital.folder, MONTH)
    said = {"because": "done on the 12th", "reference": "paper chart, 12 September"}
    asyncio.run(attest(desk, "Dana", NOW, patient=patient, requirement="brief-intervention", **said))
    after = evaluate(client, patient, **JSON).json()["results"][0]["lines"]
    assert [line["status"] for line in after] == ["billable"]


def test_the_service_is_ready_when_the_server_answers_and_the_ledger_opens(
    hospital: Hospital, client: httpx.Client, tmp_path: Path
) -> None:
    assert client.get("/readyz").json() == {"server": "ok", "ledger": "ok"}
    away = Hospital("http://127.0.0.1:9/fhir", tmp_path / "away", '[delivery]\nledger = "sqlite:////nowhere/at/all.db"')
    with running(create_app(away.folder, is_open=True)) as other:
        answer = other.get("/readyz")
        assert (answer.status_code, answer.json()) == (
            503,
            {"server": "does not answer", "ledger": "cannot be opened"},
        )
        assert other.get("/healthz").json() == {"status": "ok"}
        gone = evaluate(other, "Patient/x")
        assert gone.status_code in (500, 503)
