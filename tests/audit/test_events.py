"""Every shape of event, through two validators and against BALP's tables."""

import base64
import json
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import fhirkit
import pytest
from fhir.resources.R4B.auditevent import AuditEvent

from bhi_fhir.audit import AuditLog, Item, PatientAudit, Person

NOW = datetime(2026, 10, 4, 9, 30, 0, 123456, tzinfo=ZoneInfo("America/Chicago"))
BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit."
OAUTH = f"{BALP}OAUTHaccessTokenUse.Comprehensive"
NURSE = Person("Robin Ngata", id="user-7", issuer="https://ehr.example.org", token="jti-1")
CHARGE = Item("ChargeItem", identifier="urn:bhi-fhir:line|0f1e", reference="ChargeItem/9")

# BALP 1.1.4: profile, action, and the roles of client, server and user.
PROFILES = {
    "Query": ("E", "110153", "110152", "IRCP"),
    "Read": ("R", "110152", "110153", "IRCP"),
    "Create": ("C", "110153", "110152", "AUT"),
    "Update": ("U", "110153", "110152", "AUT"),
    "Delete": ("D", "110150", "custodian", "AUT"),
}


def audit(
    folder: Path, patient: str | None = "Patient/1", user: Person | None = None, client: str = ""
) -> PatientAudit:
    server = "https://fhir.example.org/r4"
    path = folder / "audit.ndjson"
    log = AuditLog.open(path, source="Clinic", version="1.0", server=server, clock=lambda: NOW, client_id=client)
    return log.patient(patient, user)


def everything(told: PatientAudit) -> None:
    told.heard("GET", "Observation?patient=Patient/1&_count=200", 200)
    told.heard("GET", "?_getpages=1&_offset=200", None)
    told.heard("POST", "Condition/_search?patient=1", 403)
    told.heard("GET", "Patient/1", 200)
    told.heard("GET", "Patient/1/_history/3", 502)
    told.announce("create", [Item("ChargeItem", identifier="urn:bhi-fhir:line|0f1e"), CHARGE])
    told.written("create", CHARGE, 201)
    told.written("update", CHARGE, 412)
    told.written("update", CHARGE, 200)
    told.written("delete", CHARGE, 204)
    told.written("delete", CHARGE, None)
    told.viewed(NURSE, "work list")
    told.approved(NURSE, [CHARGE])
    told.attested(NURSE, "general-supervision", "")
    told.attested(NURSE, "consent-recorded", 'Consent on paper,\n"scanned" 3 Oct. \u2028 é 😀 \ud800')
    told.commit()


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line)["event"] for line in (folder / "audit-2026-10.ndjson").read_bytes().splitlines()]


def codes(event: dict[str, Any]) -> list[str]:
    return [agent["type"]["coding"][0]["code"] for agent in event["agent"]]


@pytest.mark.parametrize("client", ["", "bhi"])
@pytest.mark.parametrize("user", [None, NURSE, Person("Robin Ngata")])
@pytest.mark.parametrize("patient", ["Patient/1", None])
def test_every_event_is_valid_and_keeps_the_profile_that_it_names(
    tmp_path: Path, patient: str | None, user: Person | None, client: str
) -> None:
    everything(audit(tmp_path, patient, user, client))
    for event in lines(tmp_path):
        assert fhirkit.validate(json.dumps(event)) == []
        AuditEvent.model_validate(event)
        assert event["recorded"] == "2026-10-04T09:30:00.123-05:00"
        patients = [e for e in event["entity"] if e["type"]["code"] == "1"]
        assert [e["what"]["reference"] for e in patients] == ([patient] if patient else [])
        for profile in event.get("meta", {}).get("profile", []):
            if profile == OAUTH:
                keeps_oauth(event)
            else:
                keeps(event, profile.removeprefix(f"{BALP}Patient" if patient else BALP))


def keeps(event: dict[str, Any], profile: str) -> None:
    action, client, server, user = PROFILES[profile]
    assert (event["action"], event["outcome"], event["type"]["code"]) == (action, "0", "rest")
    assert codes(event)[:2] == [client, server]
    assert all("network" in agent and "who" in agent for agent in event["agent"][:2])
    people = [agent for agent in event["agent"] if agent["requestor"]]
    assert all(agent["type"]["coding"][0]["code"] == user and "network" not in agent for agent in people)
    (data,) = [e for e in event["entity"] if e["type"]["code"] == "2"]
    if profile == "Query":
        assert data["role"]["code"] == "24"
        assert not {"what", "lifecycle", "detail"} & set(data)
    else:
        assert data["role"]["code"] == "4"
        assert data["what"]


def keeps_oauth(event: dict[str, Any]) -> None:
    (application,) = [a for a, code in zip(event["agent"], codes(event), strict=True) if code == "110150"]
    assert application["who"]["identifier"]["value"] == "bhi"
    for user in (a for a, code in zip(event["agent"], codes(event), strict=True) if code == "IRCP"):
        assert user["who"]["identifier"] == {"system": "https://ehr.example.org", "value": "user-7"}
        assert user["policy"] == ["urn:ietf:params:oauth:jti:jti-1"]


@pytest.mark.parametrize(
    ("user", "client", "named"),
    [(None, "", 0), (None, "bhi", 6), (NURSE, "bhi", 6), (NURSE, "", 0), (Person("Robin Ngata"), "bhi", 3)],
    ids=["no OAuth", "backend", "launch", "no client", "a user without token"],
)
def test_the_profile_of_oauth_is_named_where_the_token_is_known(
    tmp_path: Path, user: Person | None, client: str, named: int
) -> None:
    told = audit(tmp_path, user=user, client=client)
    told.heard("GET", "Observation?patient=1", 200)
    told.heard("GET", "Patient/1", 200)
    told.heard("GET", "Patient/1/_history/3", 200)
    for kind in ("create", "update", "delete"):
        told.written(kind, CHARGE, 200)
    told.commit()
    assert sum(OAUTH in event["meta"]["profile"] for event in lines(tmp_path)) == named


def test_outcomes_are_success_refused_and_unknown_and_only_success_names_a_profile(tmp_path: Path) -> None:
    everything(audit(tmp_path))
    got = [(e["subtype"][0]["code"], e.get("outcome"), "meta" in e) for e in lines(tmp_path)]
    assert got == [
        ("search", "0", True), ("search", "8", False), ("search", "4", False),
        ("read", "0", True), ("vread", "8", False),
        ("create", None, False), ("create", None, False), ("create", "0", True),
        ("update", "4", False), ("update", "0", True), ("delete", "0", True), ("delete", "8", False),
        ("access", "0", False), ("verify", "0", False),
        ("attest", "0", False), ("attest", "0", False),
    ]  # fmt: skip


def test_a_search_is_kept_as_it_was_asked_in_base64(tmp_path: Path) -> None:
    told = audit(tmp_path)
    told.heard("GET", "Observation?patient=Patient/1&_count=200", 200)
    told.commit()
    (event,) = lines(tmp_path)
    assert base64.b64decode(event["entity"][1]["query"]) == b"GET Observation?patient=Patient/1&_count=200"


def test_an_announcement_and_its_outcome_carry_the_same_identifier(tmp_path: Path) -> None:
    told = audit(tmp_path)
    told.announce("create", [Item("ChargeItem", identifier="urn:bhi-fhir:line|0f1e")])
    told.written("create", CHARGE, 201)
    told.commit()
    announced, written = (event["entity"][1]["what"] for event in lines(tmp_path))
    assert announced["identifier"] == written["identifier"] == {"system": "urn:bhi-fhir:line", "value": "0f1e"}
    assert "reference" not in announced
    assert written["reference"] == "ChargeItem/9"


@pytest.mark.parametrize(
    ("method", "target"),
    [("GET", "metadata"), ("GET", ".well-known/smart-configuration"), ("POST", ""), ("PUT", "Claim/1")],
)
def test_requests_without_patient_data_and_writes_are_not_heard_as_reads(
    tmp_path: Path, method: str, target: str
) -> None:
    told = audit(tmp_path)
    told.heard(method, target, 200)
    told.commit()
    assert lines(tmp_path) == []


def test_announcements_and_what_people_do_are_on_disk_at_once_and_reads_with_commit(tmp_path: Path) -> None:
    told = audit(tmp_path)
    told.heard("GET", "Patient/1", 200)
    assert lines(tmp_path) == []
    told.announce("create", [CHARGE])
    assert [e["subtype"][0]["code"] for e in lines(tmp_path)] == ["read", "create"]
    told.viewed(NURSE, "work list")
    assert lines(tmp_path)[2]["agent"][0]["name"] == "Robin Ngata"
    told.commit()
    assert len(lines(tmp_path)) == 3
