"""The catalogue: every code of a month with what it takes, who bills it, and where CMS says so."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bhi_fhir import cli
from bhi_fhir.policy import policy
from bhi_fhir.policy.trace import PAGE, sentences


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.cli, ["codes", *arguments])


def codes(month: str) -> dict[str, dict[str, Any]]:
    done = run("--month", month, "--format", "json")
    assert done.exit_code == 0, done.stderr
    return {entry["code"]: entry for entry in json.loads(done.stdout)["codes"]}


def test_every_code_is_listed_in_every_month() -> None:
    assert list(codes("2025-01")) == list(codes("2026-12")) == [code.code for code, _ in policy().codes]


@pytest.mark.parametrize(
    ("code", "minutes"),
    [
        ("99492", "36 minutes"),
        ("99493", "31 minutes"),
        ("99494", "86 minutes beside 99492 and 76 minutes beside 99493, then a unit at each further 30"),
        ("G2214", "16 minutes"),
        ("99484", "20 minutes"),
        ("G0323", "20 minutes"),
        ("G0568", "any counted work, no threshold"),
        ("G0546", "5 to 10 minutes"),
        ("G0549", "31 minutes or more"),
        ("G0551", "30 minutes"),
        ("G0553", "20 minutes"),
        ("G0554", "40 minutes beside G0553, then a unit at each further 20"),
        ("G0560", "20 minutes, then a unit at each further 20"),
        ("G0544", ""),
    ],
)
def test_a_code_says_what_it_takes_under_default_switches(code: str, minutes: str) -> None:
    assert codes("2026-03")[code]["minutes"] == minutes


@pytest.mark.parametrize(
    ("code", "switches"),
    [
        ("99492", {"cocm_threshold = full": "70 minutes"}),
        ("G2214", {"g2214_min = 30": "30 minutes"}),
        ("99484", {"gen_bhi_min = 11": "11 minutes"}),
        ("G0569", {"addon_minute_gate = true": "31 minutes"}),
        ("G0551", {"strict_time_related = false": "16 minutes"}),
        ("G0546", {}),
    ],
)
def test_a_code_says_what_a_switch_makes_of_it(code: str, switches: dict[str, str]) -> None:
    assert codes("2026-03")[code]["switches"] == switches


@pytest.mark.parametrize(
    ("code", "month", "in_force"),
    [
        ("G0568", "2025-12", False),
        ("G0568", "2026-01", True),
        ("G0512", "2025-12", True),
        ("G0512", "2026-01", False),
        ("G0511", "2025-09", True),
        ("G0511", "2025-10", False),
    ],
)
def test_a_code_that_is_not_in_force_is_marked(code: str, month: str, in_force: bool) -> None:
    entry = codes(month)[code]
    assert entry["in_force"] is in_force
    text = run("--month", month).stdout
    [heading] = [row for row in text.splitlines() if row.startswith(f"{code}  {entry['title']}")][1:]
    assert heading.endswith("[not in force]") is not in_force


def test_the_table_says_who_bills_what_excludes_and_where_cms_says_so() -> None:
    text = run("--month", "2026-03").stdout
    entry = text[text.index("\n99484  General BHI month\n") : text.index("\n99492  CoCM, first calendar month\n")]
    for part in (
        "in force    since 2018-01",
        "time of     clinical staff, care manager or consultant (or the billing practitioner in person)",
        "nurse-practitioner",
        "never with  99492",
        "citation    MLN909432, CPT Code 99484",
        "verified 2025-01 to 2026-12",
    ):
        assert part in entry


def test_this_month_is_shown_where_no_month_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.saying, "now", lambda: datetime(2025, 12, 31, 23, 0, tzinfo=UTC))
    assert run().stdout.startswith("Codes in 2025-12")


def test_a_month_that_nobody_verified_is_shown_and_refused_by_the_name_of_a_file() -> None:
    done = run("--month", "2027-01")
    assert done.exit_code == 2
    assert done.stdout.startswith("Codes in 2027-01")
    assert "Re-read the source of bhi_fhir/policy/codes/99484.toml" in done.stderr


def test_a_month_before_the_policy_says_which_months_are_verified() -> None:
    text = run("--month", "2024-12").stdout
    assert text.splitlines()[1] == "This month is not verified: verified 2025-01 to 2026-12"
    assert "verified_through" not in text


def test_no_title_runs_into_the_minutes() -> None:
    rows = run("--month", "2026-03").stdout.splitlines()
    for entry in codes("2026-03").values():
        if entry["minutes"]:
            row = next(row for row in rows if row.startswith(entry["code"]))
            assert f"{entry['title']}  " in row and row.endswith(entry["minutes"])


def test_what_is_no_month_is_wrong_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["bhi-fhir", "codes", "--month", "2026-13"])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == "--month: '2026-13' is not a month like 2026-03\n"


def test_the_trace_is_the_page_of_the_package() -> None:
    made, shown = PAGE.read_text(encoding="utf-8").splitlines(), run("--trace").stdout.splitlines()
    assert [line for line in made if line not in shown] == [made[2]]  # by which command it is made
    assert shown == [*made[:2], *made[3:]]


def test_the_trace_as_json_leads_from_each_sentence_to_its_codes() -> None:
    found = {s["id"]: s for s in json.loads(run("--trace", "--format", "json").stdout)["sentences"]}
    assert set(found) == {s.id for s in sentences()}
    assert found["99492-consultant-review"]["requirements"] == {"psychiatric-review": ["99492", "G0568"]}
    assert found["general-supervision"]["not_modelled"]
