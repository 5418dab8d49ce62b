"""`mappings check` and `mappings report` as an integration engineer meets them."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from record import cocm_record

from bhi_fhir.cli import cli

ACTIVITY = "urn:bhi-fhir:activity"
LOCAL = "urn:oid:1.2.3.4"


def a_site(folder: Path, **maps: Any) -> Path:
    folder = folder / "site"
    folder.mkdir()
    (folder / "site.toml").write_text('name = "x"\ntime_zone = "America/Chicago"')
    for name, resource in maps.items():
        (folder / f"{name}.json").write_text(json.dumps(resource))
    return folder


def concept_map(code: str, means: str, target: str = ACTIVITY, equivalence: str = "equal") -> dict[str, Any]:
    element = {"code": code, "target": [{"code": means, "equivalence": equivalence}]}
    return {"resourceType": "ConceptMap", "group": [{"source": LOCAL, "target": target, "element": [element]}]}


def value_set(name: str, system: str, code: str) -> dict[str, Any]:
    return {
        "resourceType": "ValueSet",
        "id": name,
        "compose": {"include": [{"system": system, "concept": [{"code": code}]}]},
    }


def run(*arguments: str) -> tuple[int, dict[str, Any], Result]:
    done = CliRunner().invoke(cli, ["mappings", *arguments, "--format", "json"])
    return done.exit_code, json.loads(done.stdout), done


def test_a_folder_in_order_is_shown_code_by_code(tmp_path: Path) -> None:
    site = a_site(tmp_path, calls=concept_map("17", "follow-up"), visits=value_set("initiating-visit", LOCAL, "OV"))
    status, shown, _ = run("check", "--site", str(site))
    assert (status, shown["problems"]) == (0, [])
    assert [(e["code"], e["means"], e["note"]) for e in shown["entries"]] == [
        ("17", "activity follow-up", "adds-to-base"),
        ("OV", "initiating-visit", "adds-to-base"),
    ]
    assert shown["files"] == ["calls.json", "site.toml", "visits.json"]


@pytest.mark.parametrize(
    ("resource", "problem"),
    [
        (concept_map("17", "folow-up"), "which urn:bhi-fhir:activity does not have"),
        (concept_map("17", "x", "urn:bhi-fhir:nothing"), "none that a requirement asks for"),
        (value_set("initiating-vist", LOCAL, "OV"), "none that a requirement asks for"),
    ],
)
def test_a_map_to_something_that_does_not_exist_is_a_problem(
    tmp_path: Path, resource: dict[str, Any], problem: str
) -> None:
    status, shown, _ = run("check", "--site", str(a_site(tmp_path, one=resource)))
    assert status == 2
    assert [problem in said for said in shown["problems"]] == [True]


def test_overlaps_and_contradictions_are_shown(tmp_path: Path) -> None:
    site = a_site(
        tmp_path,
        one=concept_map("17", "follow-up"),
        two=concept_map("17", "assessment"),
        three=value_set("initiating-visit", "http://www.ama-assn.org/go/cpt", "99214"),
        four=concept_map("18", "follow-up", equivalence="wider"),
    )
    status, shown, _ = run("check", "--site", str(site))
    assert status == 2
    assert {(e["file"], e["note"]) for e in shown["entries"]} == {
        ("four.json", "hint"),
        ("one.json", "adds-to-base"),
        ("three.json", "repeats-base"),
        ("two.json", "twice"),
    }
    assert "17 means activity assessment here and activity follow-up elsewhere" in shown["problems"][0]


def test_the_report_counts_codes_that_no_map_knows_and_the_minutes_that_hang_on_them(tmp_path: Path) -> None:
    record = cocm_record().work(30, type=[{"coding": [{"system": LOCAL, "code": "17"}]}])
    record = record.work(12, day=4, type=[{"text": "Call with Mrs. Synthetic"}]).work(20, day=5)
    (tmp_path / "a.json").write_text(json.dumps(record.bundle()))
    status, shown, done = run("report", "--site", str(a_site(tmp_path)), str(tmp_path / "a.json"))
    assert status == 0
    assert [(u["element"], u["system"], u["code"], u["count"], u["minutes"]) for u in shown["unplaced"]] == [
        ("Encounter.type", "", "", 1, 12),
        ("Encounter.type", LOCAL, "17", 1, 30),
    ]
    assert (shown["minutes"] - 30, shown["unplaced_minutes"]) == (62, 42)  # the office visit has 30
    assert "Synthetic" not in done.output


def test_the_report_counts_charges_of_the_site_s_own_codes(tmp_path: Path) -> None:
    own = {"coding": [{"system": LOCAL, "code": "LAB-1"}]}
    record = cocm_record().charge("99213").charge("99213", code=own)
    record = record.claim("99213", item=[{"sequence": 1, "productOrService": own}])
    (tmp_path / "a.json").write_text(json.dumps(record.bundle()))
    _, shown, _ = run("report", "--site", str(a_site(tmp_path)), str(tmp_path / "a.json"))
    assert [(u["element"], u["code"], u["count"]) for u in shown["unplaced"]] == [
        ("ChargeItem.code", "LAB-1", 1),
        ("Claim.item.productOrService", "LAB-1", 1),
    ]


def test_a_map_makes_the_report_shorter_and_the_month_longer(tmp_path: Path) -> None:
    record = cocm_record().work(40, type=[{"coding": [{"system": LOCAL, "code": "17"}]}])
    file = tmp_path / "a.json"
    file.write_text(json.dumps(record.bundle()))
    site = a_site(tmp_path, calls=concept_map("17", "follow-up"))
    assert run("report", "--site", str(site), str(file))[1]["unplaced"] == []
    done = CliRunner().invoke(
        cli, ["evaluate", "--site", str(site), "--month", "2026-03", "--format", "json", str(file)]
    )
    [result] = json.loads(done.stdout)["results"]
    assert {line["code"]: line["status"] for line in result["lines"]} == {"99492": "billable"}


@pytest.mark.parametrize(
    ("tables", "problem"),
    [
        ('[fhir]\nbase_url = "ftp://ehr.example/fhir"', "base_url"),
        ('[fhir]\nbase_url = "http://ehr.example/fhir"', "http is for this machine only"),
        ('[fhir]\nbase_url = "https://ehr.example/fhir"\naliases = ["ehr"]', "aliases"),
        ('[delivery]\nledger = "mysql://x/y"', "[delivery] ledger"),
        ('[serve.callers.a]\nkey_env = "KEY"\nscope = "blah"', "serve.callers.a.scope: blah is no scope"),
        ('[serve.callers.a]\nscope = "system/*.rs"', "serve.callers.a: give key_env"),
        ('[fhir]\nbase_url = "https://to-be-set.example/fhir"', "still to be set: fhir.base_url"),
    ],
)
def test_what_sync_approve_and_serve_would_refuse_is_a_problem(tmp_path: Path, tables: str, problem: str) -> None:
    site = a_site(tmp_path)
    (site / "site.toml").write_text(f'name = "x"\ntime_zone = "UTC"\n{tables}\n')
    status, shown, _ = run("check", "--site", str(site))
    assert status == 2
    assert [problem in said for said in shown["problems"]] == [True]


def test_the_report_says_how_much_time_the_site_s_reading_does_not_take(tmp_path: Path) -> None:
    site = a_site(tmp_path)
    record = cocm_record().work(30).work(20, day=5)
    (tmp_path / "a.json").write_text(json.dumps(record.bundle()))
    command = ["report", "--site", str(site), str(tmp_path / "a.json")]
    assert run(*command)[1]["untimed"] == 0
    (site / "reading.toml").write_text('[minutes]\norder = ["time-log"]\n')
    shown = run(*command)[1]
    assert (shown["minutes"], shown["untimed"]) == (0, 3)  # the office visit has a period too
    told = CliRunner().invoke(cli, ["mappings", *command]).stdout
    assert "whose time could not be taken: 3. [minutes] in reading.toml" in told
