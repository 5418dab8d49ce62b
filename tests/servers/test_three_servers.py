"""The same against three servers that share no code: what they do differently, and that our answer does not differ."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from make_examples import EXPECTED, FOLDER, MONTH

from servers import table
from servers.probes import PROBES, Probe, Server

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
REMEDY = "if the server is right, write the page anew: python -m tests.servers.table"
Lines = dict[str, list[tuple[str, str, int]]]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.question)
def test_a_server_does_what_the_page_says(any_fhir_server: str, probe: Probe) -> None:
    with Server(any_fhir_server) as server:
        column = table.read().get(server.version(), {})
        assert probe.run(server) == column.get(probe.question), REMEDY


def test_the_page_has_each_probe_once_and_is_as_it_is_written() -> None:
    assert table.PAGE.read_text(encoding="utf-8") == table.render(table.read()), REMEDY


@pytest.fixture(scope="session")
def loaded(any_fhir_server: str) -> str:
    from bhi_fhir.jobs.demo import load_examples

    asyncio.run(load_examples(any_fhir_server))
    return any_fhir_server


@pytest.fixture
def site(loaded: str, tmp_path: Path) -> Path:
    # Drafts belong to a site by its name: other tests may have written theirs on the same server.
    names = tmp_path / "roster.txt"
    names.write_text("\n".join(patients()))
    (tmp_path / "site.toml").write_text(
        f'name = "Test {uuid4()}"\ntime_zone = "America/Chicago"\n'
        f'[roster]\nfrom = "file:{names}"\n[fhir]\nbase_url = "{loaded}"\n'
    )
    return tmp_path


def test_the_decisions_are_those_from_files(site: Path) -> None:
    report = synced(site, write=False)
    assert [(month.patient, month.failed) for month in report.failed] == []
    assert [d.withheld for d in report.decisions if d.withheld] == []
    assert lines(report.decisions) == lines(from_files(site))


def test_a_month_is_written_once(site: Path, loaded: str) -> None:
    first = synced(site, write=True)
    assert first.counts()["created"] == first.counts()["drafts"] > 0
    again = synced(site, write=True)
    assert (again.counts()["unchanged"], again.counts()["created"]) == (first.counts()["drafts"], 0)
    with Server(loaded) as server:
        for draft in [draft for month in first.months() for draft in month.delivered]:
            system = "urn:bhi-fhir:draft"
            assert len(server.found(draft.resource_type, f"identifier={system}|{draft.identifier}")) == 1


def patients() -> list[str]:
    bundles = [json.loads(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*.json")]
    found = [e["resource"]["id"] for b in bundles for e in b["entry"] if e["resource"]["resourceType"] == "Patient"]
    assert len(found) == len(EXPECTED)
    return sorted(found)


def from_files(site: Path) -> list[Any]:
    from bhi_fhir.jobs.desk import Desk
    from bhi_fhir.jobs.evaluate import evaluate

    return [r.decision for r in evaluate(Desk.open(site, MONTH), [str(f) for f in FOLDER.glob("*.json")]).results]


def synced(site: Path, *, write: bool) -> Any:
    from bhi_fhir.jobs.desk import Desk
    from bhi_fhir.jobs.sync import sync

    desk = Desk.open(site, MONTH)
    return asyncio.run(sync(desk, write=write, now=NOW, progress=lambda now: None, started=lambda roster: None))


def lines(decisions: list[Any]) -> Lines:
    return {d.patient: sorted((line.status, line.code, line.units) for line in d.lines) for d in decisions}
