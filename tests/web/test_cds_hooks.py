"""CDS Hooks `patient-view`: a card from the last sync, in half a second, for a known EHR only."""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from hospital import Hospital
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey
from served import free_port, published, running, served

from bhi_fhir.web.app import create_app
from bhi_fhir.web.service import Service

PUBLIC = "https://bhi.example.org"
ENDPOINT = f"{PUBLIC}/cds-services/bhi-month"
ISSUER = "https://ehr.example.org"
KEY = ECKey.generate_key("P-384", {"kid": "one", "use": "sig", "alg": "ES384"})


@pytest.fixture(scope="module")
def jwks() -> Iterator[str]:
    with published(KEY) as url:
        yield url


@dataclass
class Cdss:
    """The service of a site whose month was synced and is not over."""

    http: httpx.Client
    hospital: Hospital

    def ask(self, patient: str, token: str = "", **more: Any) -> httpx.Response:
        call = {
            "hook": "patient-view",
            "hookInstance": str(uuid.uuid4()),
            "context": {"userId": "Practitioner/pcp", "patientId": patient.removeprefix("Patient/")},
            **more,
        }
        headers = {"authorization": f"Bearer {token or signed()}"}
        return self.http.post("/cds-services/bhi-month", json=call, headers=headers)


def signed(key: Any = KEY, header: dict[str, Any] | None = None, **change: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": ENDPOINT, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4()), **change}
    claims = {name: value for name, value in claims.items() if value is not None}
    said = {"alg": "ES384", "kid": "one", "typ": "JWT", **(header or {})}
    return jwt.encode(said, claims, key, algorithms=[said["alg"]])


@pytest.fixture(scope="module")
def cdss(fhir_server: str, jwks: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cdss]:
    hospital = Hospital(fhir_server, tmp_path_factory.mktemp("cds") / "site")
    for stem in ("cocm-first-month-in-order", "brief-intervention-not-documented", "cocm-one-minute-short"):
        hospital.admit(stem)
    extra = (
        f'[serve]\npublic_url = "{PUBLIC}"\n[smart]\nclient_id = "bhi-fhir"\n'
        f'[[cds.clients]]\niss = "{ISSUER}"\njwks_url = "{jwks}"\n'
    )
    hospital.configure(extra)
    hospital.sync(write=False)
    with pytest.MonkeyPatch.context() as patch, running(create_app(hospital.folder, is_open=True)) as client:
        patch.setattr(Service, "now", lambda self: datetime(2026, 9, 24, 12, tzinfo=UTC))
        cdss = Cdss(client, hospital)
        answered(cdss)
        yield cdss


def answered(cdss: Cdss) -> None:
    """The first call may come before the EHR's keys, and opens the ledger: on a busy machine its card is too late."""
    for _ in range(5):
        if cdss.ask("Patient/somebody-else").status_code == 200:
            return
        time.sleep(1)
    raise AssertionError("no card within the time, again and again")


def test_what_it_offers_is_told_to_everybody(cdss: Cdss) -> None:
    (offered,) = cdss.http.get("/cds-services").json()["services"]
    assert (offered["hook"], offered["id"]) == ("patient-view", "bhi-month")
    assert offered["description"]


def test_the_card_says_how_far_the_month_is(cdss: Cdss) -> None:
    (card,) = cdss.ask(cdss.hospital.patients[0]).json()["cards"]
    assert card["summary"].startswith("BHI: ")
    assert "minutes" in card["summary"]
    assert len(card["summary"]) < 140
    assert card["indicator"] in ("info", "warning")
    assert card["source"]["label"].startswith("bhi-fhir")
    assert card["links"] == [{"label": "Open the month", "url": f"{PUBLIC}/launch", "type": "smart"}]
    assert "As the record was on" in card["detail"]


def test_it_names_what_is_not_documented(cdss: Cdss) -> None:
    (card,) = cdss.ask(cdss.hospital.patients[1]).json()["cards"]
    assert "brief intervention" in card["detail"]


def test_nobody_is_named_and_no_diagnosis_is_told(cdss: Cdss) -> None:
    for patient in cdss.hospital.patients:
        text = cdss.ask(patient).text
        assert "Synthetic" not in text
        assert "F32" not in text


def test_a_patient_of_no_program_has_no_card(cdss: Cdss) -> None:
    assert cdss.ask("Patient/somebody-else").json() == {"cards": []}


def test_the_chart_of_another_server_is_not_taken_for_ours(cdss: Cdss) -> None:
    answer = cdss.ask(cdss.hospital.patients[0], fhirServer="https://other.example/fhir")
    assert answer.status_code == 412
    assert cdss.ask(cdss.hospital.patients[0], fhirServer=cdss.hospital.base_url).status_code == 200


def test_it_answers_within_half_a_second(cdss: Cdss) -> None:
    cdss.ask(cdss.hospital.patients[0])
    times = []
    for _ in range(20):
        began = time.perf_counter()
        assert cdss.ask(cdss.hospital.patients[0]).json()["cards"]
        times.append(time.perf_counter() - began)
    assert sorted(times)[-3] < 0.5, times  # a busy machine may hold one up


def test_what_takes_too_long_is_not_waited_for(cdss: Cdss, monkeypatch: pytest.MonkeyPatch) -> None:
    from bhi_fhir.web.kept import LastSync

    monkeypatch.setattr(LastSync, "one", lambda *_: time.sleep(1.5))
    began = time.perf_counter()
    (card,) = cdss.ask(cdss.hospital.patients[0]).json()["cards"]
    assert time.perf_counter() - began < 1.2
    assert card["summary"].endswith("not known")
    assert "too late" in card["detail"]


def test_keys_that_come_slowly_are_not_waited_for_either(
    cdss: Cdss, monkeypatch: pytest.MonkeyPatch, fhir_server: str
) -> None:
    from bhi_fhir.web.tokens import PublicKeys

    real = PublicKeys._fetch

    async def slow(self: PublicKeys) -> Any:
        await asyncio.sleep(3)
        return await real(self)

    monkeypatch.setattr(PublicKeys, "_fetch", slow)
    with running(create_app(cdss.hospital.folder, is_open=True)) as client:
        late = Cdss(client, cdss.hospital)
        began = time.perf_counter()
        answer = late.ask(cdss.hospital.patients[0])
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert time.perf_counter() - began < 2
        time.sleep(3)
        answered(late)


def test_the_keys_are_fetched_before_the_first_call_and_nobody_waits_for_them_at_the_start(
    cdss: Cdss, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bhi_fhir.web.tokens import PublicKeys

    real, go_on, done = PublicKeys._fetch, threading.Event(), threading.Event()

    async def slow(self: PublicKeys) -> Any:
        await asyncio.to_thread(go_on.wait, 20)
        keys = await real(self)
        done.set()
        return keys

    monkeypatch.setattr(PublicKeys, "_fetch", slow)
    with running(create_app(cdss.hospital.folder, is_open=True)) as client:
        assert client.get("/healthz").status_code == 200
        go_on.set()
        assert done.wait(20)
        answered(Cdss(client, cdss.hospital))


def test_an_ehr_whose_keys_cannot_be_had_does_not_keep_it_from_starting(cdss: Cdss, tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/jwks.json"
    extra = f'[serve]\npublic_url = "{PUBLIC}"\n[[cds.clients]]\niss = "{ISSUER}"\njwks_url = "{nobody}"\n'
    with served(tmp_path / "site", extra) as client:
        assert client.get("/healthz").status_code == 200
        answer = Cdss(client, cdss.hospital).ask("Patient/somebody-else")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


def test_a_record_that_could_not_be_read_is_said_to_be_unknown(cdss: Cdss, monkeypatch: pytest.MonkeyPatch) -> None:
    from bhi_fhir.web.kept import Kept, LastSync, Month

    failed = Kept("k", datetime.now(UTC), Month(cdss.hospital.patients[0], failed="the server failed"))
    monkeypatch.setattr(LastSync, "one", lambda *_: failed)
    (card,) = cdss.ask(cdss.hospital.patients[0]).json()["cards"]
    assert card["summary"].endswith("not known")
    assert "0 minutes" not in json.dumps(card)


def test_a_month_without_any_sync_is_412(cdss: Cdss, monkeypatch: pytest.MonkeyPatch) -> None:
    from bhi_fhir.web.kept import LastSync

    monkeypatch.setattr(LastSync, "one", lambda *_: None)
    monkeypatch.setattr(LastSync, "has_run", lambda *_: False)
    assert cdss.ask("Patient/x").status_code == 412


REFUSED = {
    "no token": lambda: "none",
    "another issuer": lambda: signed(iss="https://evil.example"),
    "another endpoint": lambda: signed(aud=f"{PUBLIC}/cds-services/other"),
    "another service": lambda: signed(aud="https://other.example/cds-services/bhi-month"),
    "too old": lambda: signed(exp=int(time.time()) - 120),
    "lives for ever": lambda: signed(exp=int(time.time()) + 10**6),
    "without jti": lambda: signed(jti=None),
    "without iat": lambda: signed(iat=None),
    "other keys by jku": lambda: signed(header={"jku": "https://evil.example/jwks"}),
    "an unknown key": lambda: signed(ECKey.generate_key("P-384"), header={"kid": "two"}),
    "a key of the same name": lambda: signed(ECKey.generate_key("P-384")),
    "symmetric": lambda: signed(OctKey.import_key("SECRET-" + "x" * 64), header={"alg": "HS256"}),
    "unsigned": lambda: ".".join([*signed().split(".")[:2], ""]).replace(signed().split(".")[0], "eyJhbGciOiJub25lIn0"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_token_that_does_not_count_is_refused(cdss: Cdss, name: str) -> None:
    answer = cdss.ask(cdss.hospital.patients[0], REFUSED[name]())
    assert answer.status_code == 401
    assert "Synthetic" not in answer.text


def test_a_token_counts_once(cdss: Cdss) -> None:
    token = signed()
    assert cdss.ask(cdss.hospital.patients[0], token).status_code == 200
    answer = cdss.ask(cdss.hospital.patients[0], token)
    assert answer.status_code == 401
    assert "used before" in answer.text


def test_feedback_is_taken_and_counted(cdss: Cdss) -> None:
    token = signed(aud=f"{ENDPOINT}/feedback")
    said = {"feedback": [{"card": str(uuid.uuid4()), "outcome": "accepted", "outcomeTimestamp": "2026-11-02"}]}
    answer = cdss.http.post("/cds-services/bhi-month/feedback", json=said, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert cdss.http.post("/cds-services/bhi-month/feedback", json=said).status_code == 401


def test_every_card_is_in_the_audit_with_who_asked(cdss: Cdss) -> None:
    cdss.ask(cdss.hospital.patients[2])
    text = "".join(file.read_text() for file in cdss.hospital.folder.glob("bhi-fhir-audit-*.ndjson"))
    assert any("/cds-services" in line and cdss.hospital.patients[2] in line for line in text.splitlines())
    assert "Practitioner/pcp" in text


def test_a_site_without_clients_answers_nobody(tmp_path: Path) -> None:
    with served(tmp_path / "bare") as client:
        assert client.get("/cds-services").status_code == 404
        assert client.post("/cds-services/bhi-month", json={}).status_code == 404
