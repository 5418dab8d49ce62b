"""A month against a real FHIR server: the same decisions as from files, and nothing written twice."""

import asyncio
import io
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from make_examples import EXPECTED, FOLDER, MONTH
from rich.console import Console

from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.demo import demo, load_examples
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.evaluate import evaluate
from bhi_fhir.jobs.local_server import local_fhir_server
from bhi_fhir.jobs.roster import Roster
from bhi_fhir.jobs.sync import Report, sync

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
Lines = dict[str, dict[str, dict[str, int]]]


def site(folder: Path, base_url: str, extra: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    text = f'name = "Test"\ntime_zone = "America/Chicago"\n{extra}\n[fhir]\nbase_url = "{base_url}"\n'
    (folder / "site.toml").write_text(text)
    return folder


def run(folder: Path, *, write: bool, now: datetime = NOW, month: str = MONTH) -> tuple[Report, list[Roster]]:
    seen: list[Roster] = []
    desk = Desk.open(folder, month)
    report = asyncio.run(sync(desk, write=write, now=now, progress=lambda now: None, started=seen.append))
    return report, seen


def lines(decisions: object) -> Lines:
    found: Lines = {}
    for decision in decisions:  # type: ignore[attr-defined]
        mine = found.setdefault(decision.patient, {"billable": {}, "needs-review": {}})
        for line in decision.lines:
            mine[line.status][line.code] = line.units
    return found


@pytest.fixture(scope="module")
def loaded() -> object:
    with local_fhir_server() as base_url:
        asyncio.run(load_examples(base_url))
        yield base_url


@pytest.mark.server
def test_a_server_and_files_give_the_same_decisions(loaded: str, tmp_path: Path) -> None:
    report, rosters = run(site(tmp_path / "site", loaded), write=False)
    files = evaluate(Desk.open(tmp_path / "site", MONTH), [str(f) for f in FOLDER.glob("*.json")])
    assert len(rosters[0].patients) == len(EXPECTED)
    assert not report.failed
    assert lines(report.decisions) == lines([r.decision for r in files.results])
    assert [d.withheld for d in report.decisions if d.withheld] == []


def test_the_examples_are_decided_as_their_table_says() -> None:
    desk = Desk.open(Path(__file__).parents[1] / "mappings/sites/example", MONTH)
    done = evaluate(desk, [str(f) for f in FOLDER.glob("*.json")])
    found = {Path(r.file).stem: lines([r.decision])[r.decision.patient] for r in done.results}
    assert found == {k: {"billable": v["billable"], "needs-review": v["review"]} for k, v in EXPECTED.items()}


@pytest.mark.server
def test_writing_twice_writes_once_and_shows_what_it_would_write_first(loaded: str, tmp_path: Path) -> None:
    folder = site(tmp_path / "site", loaded)
    shown = run(folder, write=False)[0].counts()
    first = run(folder, write=True)[0].counts()
    again = run(folder, write=True)[0].counts()
    assert shown == first  # what it says would happen is what happens
    assert first["drafts"] == first["created"] == again["unchanged"] > 0
    assert again["created"] == again["left-alone"] == 0


@pytest.mark.server
def test_a_month_that_has_not_ended_is_shown_but_not_delivered(loaded: str, tmp_path: Path) -> None:
    folder = site(tmp_path / "site", loaded)
    early = datetime(2026, 9, 30, 12, tzinfo=UTC)
    with pytest.raises(UsageError, match="has not ended"):
        run(folder, write=True, now=early)
    assert run(folder, write=False, now=early)[0].decisions


@pytest.mark.server
def test_a_roster_file_names_whose_records_are_read(loaded: str, tmp_path: Path) -> None:
    names = tmp_path / "roster.txt"
    names.write_text("Patient/maria\nrosa\n")
    folder = site(tmp_path / "site", loaded, f'[roster]\nfrom = "file:{names}"')
    report, _ = run(folder, write=False)
    assert [d.patient for d in report.decisions] == ["Patient/maria", "Patient/rosa"]


@pytest.mark.server
def test_a_patient_who_is_not_on_the_server_fails_alone(loaded: str, tmp_path: Path) -> None:
    names = tmp_path / "roster.txt"
    names.write_text("maria\nnobody\n")
    report, _ = run(site(tmp_path / "site", loaded, f'[roster]\nfrom = "file:{names}"'), write=False)
    assert [m.patient for m in report.failed] == ["Patient/nobody"]
    assert [d.patient for d in report.decisions] == ["Patient/maria"]


@pytest.mark.server
def test_the_demo_shows_every_patient_what_was_written_and_that_nothing_is_written_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = "/somewhere/.venv/bin/bhi-fhir"
    monkeypatch.setattr("sys.argv", [program, "demo"])
    console = Console(width=200, record=True, file=io.StringIO())
    report = demo(console, keep=False, now=NOW)
    text = console.export_text()
    assert report.tally["failed"] == 0
    for patient in ("Patient/maria", "Patient/rosa", "Patient/samuel"):
        assert patient in text
    assert "ChargeItem/" in text
    assert "0 created" in text
    assert "nothing is written twice" in text
    assert f"{program} explain --site" in text


def test_the_demo_s_server_has_the_port_that_is_asked_for_or_says_who_has_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"--port {port}: Address already in use"), local_fhir_server(port):
            pass
    with local_fhir_server(port) as base_url:
        assert base_url == f"http://127.0.0.1:{port}/fhir"
