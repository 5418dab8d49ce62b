"""The FHIR sink against a real server, which runs as its own process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from drafts.samples import COCM_FIRST, COCM_LATER, MARIA, RUN, SITE, monthly

from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.fhir_sink import deliver
from bhi_fhir.drafts import PatientDrafts, draft
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.reading import find_by_identifier, read, search

pytestmark = pytest.mark.server

NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)


@pytest.fixture
async def client(fhir_server: str) -> AsyncIterator[BhiClient]:
    async with BhiClient(Connection(fhir_server)) as opened:
        yield opened


@pytest.fixture
def patient() -> str:
    """A patient whom no other test has: the server lives longer than a test."""
    return f"Patient/{uuid4()}"


def drafts_of(patient: str, decision: Any = COCM_FIRST, run: Any = RUN) -> PatientDrafts:
    return draft(replace(decision, patient=patient), replace(MARIA, patient=patient), run)


async def on_the_server(client: BhiClient, kind: str, delivered: Delivered) -> list[Any]:
    found = await find_by_identifier(client, kind, "urn:bhi-fhir:draft", delivered.identifier)
    return [json.loads(body) for body in found]


async def changed_by_a_person(client: BhiClient, reference: str, **elements: Any) -> None:
    resource = json.loads(await read(client, reference)) | elements
    await client.ask("PUT", reference, data=resource)


async def test_drafts_are_created_with_one_provenance_that_names_their_versions(
    client: BhiClient, patient: str
) -> None:
    charge, claim = await deliver(client, drafts_of(patient), SITE, NOW)
    assert (charge.outcome, claim.outcome, charge.reason, claim.reason) == ("created", "created", "", "")
    found = await search(client, "Provenance", {"target": charge.reference or ""})
    (provenance,) = [json.loads(entry) for entry in found.entries]
    targets = {target["reference"] for target in provenance["target"]}
    assert targets == {f"{charge.reference}/_history/1", f"{claim.reference}/_history/1"}


async def test_delivering_twice_writes_once(client: BhiClient, patient: str) -> None:
    first = await deliver(client, drafts_of(patient), SITE, NOW)
    second = await deliver(client, drafts_of(patient), SITE, NOW)
    assert [one.outcome for one in second] == ["unchanged", "unchanged"]
    assert [one.reference for one in second] == [one.reference for one in first]
    for one in second:
        assert len(await on_the_server(client, one.resource_type, one)) == 1


async def test_the_day_of_the_run_changes_nothing(client: BhiClient, patient: str) -> None:
    await deliver(client, drafts_of(patient), SITE, NOW)
    later = drafts_of(patient, run=replace(RUN, created=date(2026, 5, 1)))
    assert [one.outcome for one in await deliver(client, later, SITE, NOW)] == ["unchanged", "unchanged"]


async def test_labels_and_evidence_arrive(client: BhiClient, patient: str) -> None:
    charge, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    (stored,) = await on_the_server(client, "ChargeItem", charge)
    assert {label["code"] for label in stored["meta"]["security"]} == {"R", "42CFRPart2"}
    assert len(stored["supportingInformation"]) == 5


async def test_a_charge_that_a_person_has_moved_on_is_left_alone(client: BhiClient, patient: str) -> None:
    charge, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    await changed_by_a_person(client, charge.reference or "", status="billable")
    again, claim = await deliver(client, drafts_of(patient), SITE, NOW)
    assert (again.outcome, again.reason) == (
        "left-alone",
        "Left alone: somebody has moved it on to billable.",
    )
    assert claim.outcome == "unchanged"
    (stored,) = await on_the_server(client, "ChargeItem", charge)
    assert stored["status"] == "billable"


async def test_a_draft_that_differs_is_left_alone_and_the_elements_are_named(client: BhiClient, patient: str) -> None:
    await deliver(client, drafts_of(patient), SITE, NOW)
    more = drafts_of(patient, replace(COCM_FIRST, lines=(monthly("99492", units=2),)))
    charge, claim = await deliver(client, more, SITE, NOW)
    assert charge.reason == "Left alone: the server's differs in quantity."
    assert claim.reason == "Left alone: the server's differs in item."


async def test_a_note_by_a_person_is_seen(client: BhiClient, patient: str) -> None:
    charge, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    await changed_by_a_person(client, charge.reference or "", note=[{"text": "ask the payer"}])
    again, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    assert again.reason == "Left alone: the server's differs in note."


async def test_a_security_label_that_the_server_has_lost_is_seen(client: BhiClient, patient: str) -> None:
    charge, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    (stored,) = await on_the_server(client, "ChargeItem", charge)
    await changed_by_a_person(client, charge.reference or "", meta={**stored["meta"], "security": []})
    again, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    assert again.outcome == "left-alone"
    assert "meta.security" in again.reason


async def test_only_what_is_missing_is_created(client: BhiClient, patient: str) -> None:
    bare = draft(replace(COCM_LATER, patient=patient), replace(MARIA, patient=patient, covers=()), RUN)
    await deliver(client, bare, SITE, NOW)
    outcomes = [one.outcome for one in await deliver(client, drafts_of(patient, COCM_LATER), SITE, NOW)]
    assert outcomes == ["unchanged", "unchanged", "created"]


async def test_two_resources_with_one_identifier_are_left_alone(client: BhiClient, patient: str) -> None:
    charge, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    (stored,) = await on_the_server(client, "ChargeItem", charge)
    await client.ask("POST", "ChargeItem", data={name: stored[name] for name in stored if name != "id"})
    again, _ = await deliver(client, drafts_of(patient), SITE, NOW)
    assert again.reason == "Left alone: 2 resources on the server carry its identifier."


async def test_nothing_to_deliver_asks_the_server_for_nothing(client: BhiClient) -> None:
    assert await deliver(client, PatientDrafts("Patient/nobody"), SITE, NOW) == []
