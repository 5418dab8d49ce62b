"""Which destinations a site has: by its /metadata, by its site.toml, in which order, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import pytest
from delivery.charges import CLAIM, PLANNED
from drafts.samples import SITE

from bhi_fhir.delivery.dft import DftSink
from bhi_fhir.delivery.doors import doors
from bhi_fhir.delivery.fhir_sink import FhirSink
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.errors import SiteError
from bhi_fhir.fhir.capabilities import Capabilities, TypeCapability
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.settings import Delivery

NOW = datetime(2026, 10, 1, tzinfo=UTC)
FACTS: dict[str, Any] = {"patient_identifier_system": "urn:mrn"}
HOST = {"host": "127.0.0.1", **FACTS}


def offers(*interactions: str, operations: Iterable[str] = (), **door: bool) -> Capabilities:
    """A /metadata that says this of ChargeItem."""
    charge = TypeCapability(
        interactions=frozenset(interactions),
        search_params=frozenset(),
        conditional_create=door.get("conditional", False),
        update_create=door.get("own_id", False),
        operations=frozenset(operations),
    )
    patient = TypeCapability(frozenset({"read"}), frozenset(), False, False)
    return Capabilities(MappingProxyType({"ChargeItem": charge, "Patient": patient}), frozenset())


SILENT = Capabilities(MappingProxyType({}), frozenset())
READS = offers("read", "search-type")
WRITES = offers("read", "create", conditional=True)
MILLENNIUM = offers("read", operations=("create", "credit"))


async def sinks(served: Capabilities, at: Path = Path(), **wanted: Any) -> list[Sink]:
    async with BhiClient(Connection("https://ehr.example.org/fhir")) as client:
        return doors(msgspec.convert(wanted, Delivery), at, client, served, SITE, lambda: NOW)


async def names(served: Capabilities, **wanted: Any) -> list[str]:
    return [sink.name for sink in await sinks(served, **wanted)]


@pytest.mark.parametrize(
    ("served", "wanted", "expected"),
    [
        (READS, {}, ["worklist"]),
        (WRITES, {}, ["fhir", "worklist"]),
        (SILENT, {}, ["fhir", "worklist"]),
        (MILLENNIUM, {}, ["oracle", "worklist"]),
        (READS, {"dft": HOST}, ["dft", "worklist"]),
        (READS, {"dft": {"folder": "out", **FACTS}}, ["dft", "worklist"]),
        (READS, {"folder": "out"}, ["files", "worklist"]),
        (WRITES, {"folder": "out", "dft": HOST}, ["fhir", "dft", "files", "worklist"]),
        (MILLENNIUM, {"folder": "out"}, ["oracle", "files", "worklist"]),
    ],
)
async def test_auto_takes_the_server_first_and_people_last(
    served: Capabilities, wanted: dict[str, Any], expected: list[str]
) -> None:
    assert await names(served, **wanted) == expected


@pytest.mark.parametrize("sink", ["fhir", "oracle", "dft", "files", "worklist"])
async def test_a_sink_that_is_named_is_the_only_one_before_the_work_list(sink: str) -> None:
    found = await names(WRITES, sink=sink, folder="out", dft=HOST)
    assert found == list(dict.fromkeys([sink, "worklist"]))


async def test_a_named_sink_that_the_server_does_not_offer_takes_nothing() -> None:
    fhir, work_list = await sinks(READS, sink="fhir")
    assert [fhir.takes(line.draft) for line in (PLANNED, CLAIM)] == [False, False]
    assert work_list.takes(PLANNED.draft)


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"sink": "files"}, "folder is missing"),
        ({"sink": "dft"}, "give host"),
        ({"sink": "dft", "dft": {"host": "h", "folder": "f"}}, "give host"),
        ({"dft": {"host": "h", "folder": "f"}}, "give host"),
        ({"sink": "dft", "dft": {**HOST, "ca_file": "nowhere.pem"}}, "ca_file cannot be used"),
        ({"sink": "dft", "dft": {**HOST, "ca_file": "empty.pem"}}, "ca_file cannot be used"),
    ],
)
async def test_what_a_sink_lacks_is_one_sentence(tmp_path: Path, wanted: dict[str, Any], said: str) -> None:
    (tmp_path / "empty.pem").touch()
    with pytest.raises(SiteError, match=said):
        await sinks(WRITES, tmp_path, **wanted)


@pytest.mark.parametrize(("queue", "replays"), [("", False), ("", True), ("BHI review", False), ("BHI review", True)])
async def test_only_a_named_queue_makes_a_dft_interface_take_drafts(queue: str, replays: bool) -> None:
    found, _ = await sinks(READS, dft={**HOST, "review_queue": queue, "replays": replays})
    assert isinstance(found, DftSink)
    assert (found.drafts, found.keyed) == (bool(queue), replays)


@pytest.mark.parametrize(("door", "keyed"), [({"conditional": True}, True), ({"own_id": True}, True), ({}, False)])
async def test_the_server_is_keyed_where_its_metadata_offers_a_key(door: dict[str, bool], keyed: bool) -> None:
    found, _ = await sinks(offers("create", **door))
    assert isinstance(found, FhirSink)
    assert found.keyed == keyed
