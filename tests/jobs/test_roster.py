"""Who is on the roster, and what is said of a roster that cannot be read or names nobody."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import respx
from click.testing import CliRunner

from bhi_fhir.cli import cli
from bhi_fhir.errors import Incomplete, SiteError, UsageError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.roster import Roster, roster

BASE = "https://ehr.example/fhir"


def site(folder: Path, source: str, base_url: str = BASE) -> Path:
    folder.mkdir(exist_ok=True)
    text = f'name = "x"\ntime_zone = "UTC"\n[roster]\nfrom = "{source}"\n[fhir]\nbase_url = "{base_url}"\n'
    (folder / "site.toml").write_text(text)
    return folder


async def read(respx_mock: respx.MockRouter, folder: Path, resource: dict[str, Any] | bytes) -> Roster:
    """The roster as the server gives it."""
    kind = "List" if isinstance(resource, dict) and resource["resourceType"] == "List" else "Group"
    body = resource if isinstance(resource, bytes) else json.dumps(resource).encode()
    respx_mock.get(f"{BASE}/{kind}/bhi").respond(200, content=body, content_type="application/fhir+json")
    async with BhiClient(Connection(BASE)) as client:
        return await roster(client, Desk.open(site(folder, f"{kind.lower()}:bhi"), "2026-03"))


def group(*members: Any) -> dict[str, Any]:
    return {"resourceType": "Group", "id": "bhi", "type": "person", "actual": True, "member": list(members)}


def a_list(*entries: Any) -> dict[str, Any]:
    return {"resourceType": "List", "id": "bhi", "status": "current", "mode": "working", "entry": list(entries)}


async def test_who_has_left_a_group_or_was_taken_off_a_list_is_not_on_the_roster(
    respx_mock: respx.MockRouter, tmp_path: Path
) -> None:
    of_group = await read(
        respx_mock,
        tmp_path / "one",
        group(
            {"entity": {"reference": "Patient/here"}},
            {"entity": {"reference": f"{BASE}/Patient/absolute"}, "inactive": False},
            {"entity": {"reference": "Patient/left"}, "inactive": True},
            {"entity": {"reference": "Practitioner/nurse"}},
            {"entity": {"identifier": {"value": "7"}}},
        ),
    )
    of_list = await read(
        respx_mock,
        tmp_path / "two",
        a_list({"item": {"reference": "Patient/here"}}, {"item": {"reference": "Patient/off"}, "deleted": True}),
    )
    assert of_group.patients == ("Patient/absolute", "Patient/here")
    assert of_list.patients == ("Patient/here",)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        pytest.param({**group(), "member": None}, "Group/bhi, the roster, is not R4's, at member", id="no members"),
        pytest.param(group("Patient/maria"), "Group/bhi, the roster, is not R4's, at member[0]", id="a text"),
        pytest.param(group({"entity": None}), "is not R4's, at member[0].entity", id="no entity"),
        pytest.param(a_list({"item": "Patient/maria"}), "List/bhi, the roster, is not R4's, at entry", id="an item"),
        pytest.param(
            b'{"resourceType": "Group", "member": [{"entity": {"reference": "\xff"}}]}',
            "no JSON that can be read",
            id="a byte of no text",
        ),
    ],
)
async def test_a_broken_group_or_list_is_named(
    respx_mock: respx.MockRouter, tmp_path: Path, resource: dict[str, Any] | bytes, said: str
) -> None:
    with pytest.raises(Incomplete) as broken:
        await read(respx_mock, tmp_path / "site", resource)
    assert said in str(broken.value)
    assert "maria" not in str(broken.value)


def test_a_group_that_could_be_on_no_server_is_wrong_in_site_toml(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"roster\.from"):
        Desk.open(site(tmp_path, "group:../Patient"), "2026-03")


@pytest.mark.server
def test_an_empty_roster_is_said_and_is_status_1(fhir_server: str, tmp_path: Path) -> None:
    (tmp_path / "roster.txt").write_text("\n")
    folder = site(tmp_path / "site", f"file:{tmp_path / 'roster.txt'}", fhir_server)
    done = CliRunner().invoke(cli, ["sync", "--site", str(folder), "--month", "2026-03"])
    assert done.exit_code == 1, done.output
    assert "Nobody is on the roster" in done.stderr


async def test_a_roster_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    desk = Desk.open(site(tmp_path / "site", f"file:{tmp_path / 'nowhere.txt'}"), "2026-03")
    async with BhiClient(Connection(BASE)) as client:
        with pytest.raises(UsageError, match=r"nowhere\.txt cannot be read"):
            await roster(client, desk)


def test_an_export_without_a_patient_is_said_and_is_status_1(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "Practitioner.ndjson").write_text('{"resourceType": "Practitioner", "id": "a"}\n')
    folder = site(tmp_path / "site", "care-team")
    command = ["bulk", "--site", str(folder), "--month", "2026-03", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*command, "--processes", "1", str(tmp_path / "in")])
    assert done.exit_code == 1, done.output
    assert f"set aside: {tmp_path / 'in'}: it holds no patient" in done.stderr
