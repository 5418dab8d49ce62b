"""The FHIR sink on a real server, which runs as its own process: through each of its doors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from delivery.destination import Audit
from drafts.samples import COCM_FIRST, MARIA, RUN, SITE, monthly

from bhi_fhir.delivery.delivered import Delivered
from bhi_fhir.delivery.fhir_sink import FhirSink
from bhi_fhir.delivery.hand import Delivery, Wanted
from bhi_fhir.delivery.ledger import Ledger, open_ledger
from bhi_fhir.delivery.line import Draft, Line, Nothing, Several, Standing
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.delivery.settle import settle
from bhi_fhir.domain.value import replace as varied
from bhi_fhir.drafts.models import draft
from bhi_fhir.fhir.capabilities import Capabilities, capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.reading import find_by_identifier, read, search

pytestmark = pytest.mark.server

MONTH = "2026-03"
NOW = datetime(2026, 4, 1, 6, tzinfo=UTC)
KINDS = ("ChargeItem", "Claim")


@dataclass
class Place:
    """One patient, whom no other test has (the server lives longer than a test), and a ledger."""

    client: BhiClient
    served: Capabilities
    ledger: Ledger
    patient: str
    reached: list[str]

    def sink(self) -> FhirSink:
        return FhirSink(self.client, self.served, SITE, lambda: NOW)

    def drafts(self, decision: Any = COCM_FIRST, chart: Any = MARIA, run: Any = RUN) -> list[Draft]:
        made = draft(varied(decision, patient=self.patient), varied(chart, patient=self.patient), run)
        return [_draft(resource) for resource in made.resources]

    async def deliver(self, drafts: Sequence[Draft] | None = None, sink: FhirSink | None = None) -> list[Delivered]:
        delivery = Delivery(self.ledger, [sink or self.sink()], UTC)
        wanted = self.drafts() if drafts is None else drafts
        audit: Any = Audit()
        return await settle(delivery, Wanted(self.patient, MONTH, wanted, evidence=["Encounter/e1"]), audit)

    async def all(self, delivered: Delivered) -> list[Any]:
        found = await find_by_identifier(
            self.client, delivered.resource_type, "urn:bhi-fhir:draft", delivered.identifier
        )
        return [json.loads(body) for body in found]

    async def changed(self, reference: str | None, **elements: Any) -> None:
        """By a person."""
        resource = json.loads(await read(self.client, str(reference))) | elements
        await self.client.ask("PUT", str(reference), data=resource)

    async def provenances(self, reference: str | None) -> list[Any]:
        found = await search(self.client, "Provenance", {"target": str(reference)})
        return [json.loads(entry) for entry in found.entries]

    def offering(self, *interactions: str, **door: Any) -> None:
        """What /metadata would say of ChargeItem and Claim; `interactions` of the whole system."""
        types = {kind: replace(self.served.types[kind], **door) for kind in KINDS}
        everything = MappingProxyType({**self.served.types, **types})
        self.served = replace(self.served, types=everything, interactions=frozenset(interactions))


def _draft(resource: Any) -> Draft:
    content = json.loads(resource.model_dump_json())
    code = content["code"]["coding"][0]["code"] if content["resourceType"] == "ChargeItem" else "claim"
    return Draft(content["identifier"][0]["value"], content["resourceType"], code, content)


@pytest.fixture
async def place(fhir_server: str, tmp_path: Path) -> AsyncIterator[Place]:
    reached: list[str] = []

    def heard(method: str, target: str, status: int | None) -> None:
        if method != "GET":
            reached.append(f"{method} {target.partition('/')[0] or 'Bundle'} {status}")

    ledger = open_ledger("sqlite:///l.db", tmp_path, uuid4(), Seal(Fernet.generate_key().decode()))
    async with BhiClient(Connection(fhir_server), heard=heard) as client:
        yield Place(client, await capabilities(client), ledger, f"Patient/{uuid4()}", reached)


async def test_drafts_are_created_with_one_provenance_that_names_their_versions(place: Place) -> None:
    charge, claim = await place.deliver()
    assert (charge.outcome, claim.outcome, charge.reason, claim.reason) == ("created", "created", "", "")
    (provenance,) = await place.provenances(charge.reference)
    targets = {target["reference"] for target in provenance["target"]}
    assert targets == {f"{charge.reference}/_history/1", f"{claim.reference}/_history/1"}
    assert place.reached == ["POST Bundle 200", "POST Provenance 201"]


async def test_the_next_run_writes_nothing_not_even_a_provenance(place: Place) -> None:
    first = await place.deliver()
    place.reached.clear()
    second = await place.deliver()
    assert [(one.outcome, one.reference) for one in second] == [("unchanged", one.reference) for one in first]
    assert place.reached == []


async def test_a_provenance_that_a_crash_prevented_is_written_by_the_next_run_and_never_twice(place: Place) -> None:
    charge, claim = await place.deliver()
    (provenance,) = await place.provenances(charge.reference)
    lines = place.ledger.lines(place.patient, MONTH)
    place.ledger.put(place.patient, [replace(line, witnessed=False) for line in lines])
    await place.deliver()
    assert await place.provenances(charge.reference) == [provenance]
    await place.client.ask("DELETE", f"Provenance/{provenance['id']}")
    place.ledger.put(place.patient, [replace(line, witnessed=False) for line in lines])
    for _ in range(2):
        await place.deliver()
    assert len(await place.provenances(claim.reference)) == 1


async def test_the_day_of_the_run_changes_nothing(place: Place) -> None:
    await place.deliver()
    later = place.drafts(run=replace(RUN, created=date(2026, 5, 1)))
    assert [one.outcome for one in await place.deliver(later)] == ["unchanged", "unchanged"]


async def test_labels_and_evidence_arrive(place: Place) -> None:
    charge, _ = await place.deliver()
    (stored,) = await place.all(charge)
    assert {label["code"] for label in stored["meta"]["security"]} == {"R", "42CFRPart2"}
    assert len(stored["supportingInformation"]) == 5


async def test_a_security_label_that_somebody_took_away_is_seen(place: Place) -> None:
    charge, _ = await place.deliver()
    (stored,) = await place.all(charge)
    await place.changed(charge.reference, meta={**stored["meta"], "security": []})
    again, _ = await place.deliver()
    assert (again.outcome, again.reason) == ("left-alone", "somebody has changed it: meta.security")


async def test_a_label_that_somebody_added_stays_on_what_we_write(place: Place) -> None:
    charge, _ = await place.deliver()
    (stored,) = await place.all(charge)
    label = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}
    meta = {**stored["meta"], "security": [*stored["meta"]["security"], label]}
    await place.changed(charge.reference, meta=meta)
    more = place.drafts(varied(COCM_FIRST, lines=(monthly("99492", units=2),)))
    assert {one.outcome for one in await place.deliver(more)} == {"updated"}
    (stored,) = await place.all(charge)
    assert {each["code"] for each in stored["meta"]["security"]} == {"R", "42CFRPart2", "PSY"}


async def test_only_what_is_missing_is_created(place: Place) -> None:
    bare = place.drafts(chart=varied(MARIA, covers=()))
    await place.deliver(bare)
    assert [one.outcome for one in await place.deliver()] == ["unchanged", "created"]
    assert place.reached.count("POST Bundle 200") == 2


async def test_two_resources_with_one_identifier_are_left_alone(place: Place, tmp_path: Path) -> None:
    charge, _ = await place.deliver()
    (stored,) = await place.all(charge)
    await place.client.ask("POST", "ChargeItem", data={name: stored[name] for name in stored if name != "id"})
    line = Line(place.drafts()[0], MONTH, "prepared")
    assert await place.sink().look(line) == Several(2)
    for file in tmp_path.glob("l.db*"):
        if file.is_file():
            file.unlink()
    place.ledger = open_ledger("sqlite:///l.db", tmp_path, uuid4(), Seal(Fernet.generate_key().decode()))
    again, _ = await place.deliver()
    assert (again.outcome, again.reason) == ("left-alone", "2 resources carry its identifier")


async def test_a_version_that_is_no_longer_the_one_we_read_is_not_written_over(place: Place) -> None:
    charge, _ = await place.deliver()
    line = place.ledger.lines(place.patient, MONTH)[0]
    await place.changed(charge.reference, note=[{"text": "ask the payer"}])
    receipt = await place.sink().change(line, line.draft)
    assert receipt.outcome == "conflict"
    (stored,) = await place.all(charge)
    assert stored["note"] == [{"text": "ask the payer"}]


async def test_nothing_to_deliver_asks_the_server_for_nothing(place: Place) -> None:
    assert await place.deliver([]) == []
    assert place.reached == []


# -- its doors ----------------------------------------------------------------------------------------

DOORS: dict[str, tuple[dict[str, Any], tuple[str, ...], list[str], bool]] = {
    "transaction": ({}, ("transaction",), ["POST Bundle 200"], True),
    "conditional": ({}, (), ["POST ChargeItem 201", "POST Claim 201"], True),
    "own id": (
        {"conditional_create": False, "update_create": True}, (), ["PUT ChargeItem 201", "PUT Claim 201"], True
    ),
    "plain": (
        {"conditional_create": False, "update_create": False}, (), ["POST ChargeItem 201", "POST Claim 201"], False
    ),
}  # fmt: skip


@pytest.mark.parametrize("door", DOORS)
async def test_each_door_creates_once_then_updates_then_withdraws(place: Place, door: str) -> None:
    offered, system, written, keyed = DOORS[door]
    place.offering(*system, **offered)
    assert place.sink().keyed == keyed
    first = await place.deliver()
    assert [one.outcome for one in first] == ["created", "created"]
    assert place.reached == [*written, "POST Provenance 201"]
    assert {one.outcome for one in await place.deliver()} == {"unchanged"}
    more = place.drafts(varied(COCM_FIRST, lines=(monthly("99492", units=2),)))
    assert {one.outcome for one in await place.deliver(more)} == {"updated"}
    assert {one.outcome for one in await place.deliver([])} == {"withdrawn"}
    for one in first:
        (stored,) = await place.all(one)
        assert stored["status"] in ("aborted", "cancelled")
        assert (stored["id"] == one.identifier) == (door == "own id")


@pytest.mark.parametrize("door", ["transaction", "conditional"])
async def test_sent_twice_with_a_condition_it_stands_once(place: Place, door: str) -> None:
    offered, system, *_ = DOORS[door]
    place.offering(*system, **offered)
    lines = [Line(each, MONTH, "sending", revision=1) for each in place.drafts()]
    first = await place.sink().create(lines)
    second = await place.sink().create(lines)
    assert [r.existed for r in first + second] == [False, False, True, True]
    assert [r.reference for r in first] == [r.reference for r in second]


async def test_what_was_deleted_is_told_from_what_never_stood_there(place: Place) -> None:
    charge, _ = await place.deliver()
    line = place.ledger.lines(place.patient, MONTH)[0]
    assert isinstance(await place.sink().look(line), Standing)
    await place.client.ask("DELETE", str(charge.reference))
    assert await place.sink().look(line) == Nothing(deleted=True)
    assert await place.sink().look(replace(line, reference="")) == Nothing()


async def test_it_takes_what_metadata_offers(place: Place) -> None:
    charge, claim = place.drafts()
    assert place.sink().takes(charge)
    place.offering(interactions=frozenset({"read", "search-type"}), update_create=False)
    assert not place.sink().takes(claim)
    place.served = replace(place.served, types=MappingProxyType({}))
    assert place.sink().takes(claim), "a server that lists nothing is asked"
