"""The profiles in mappings/sites: valid maps that match nothing until a customer fills them in, and work then."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fhirkit
import pytest
from record import Resource
from vendors.athenahealth import ATHENAHEALTH
from vendors.epic import EPIC
from vendors.meditech import MEDITECH
from vendors.medplum import MEDPLUM
from vendors.oracle_health import ORACLE_HEALTH
from vendors.shape import Vendor

from bhi_fhir.domain.decision import Decision
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.mappings import check_site
from bhi_fhir.mapping.source import Source

SITES = Path(__file__).parents[2] / "mappings" / "sites"
GOLDEN = Path(__file__).parents[1] / "golden"
VENDORS = (EPIC, ORACLE_HEALTH, ATHENAHEALTH, MEDITECH, MEDPLUM)
NOT_ASKED_IN_A_FIRST_MONTH = ('"to-be-set-care-coordination"', '"to-be-set-progress-review"')
every_vendor = pytest.mark.parametrize("vendor", VENDORS, ids=lambda v: v.name)


def filled(vendor: Vendor, folder: Path, without: tuple[str, ...] = ()) -> Path:
    """The vendor's profile as a customer would leave it: every setting in its place."""
    site = folder / vendor.name
    shutil.copytree(SITES / vendor.name, site)
    files = [f for f in site.iterdir() if f.suffix in (".toml", ".json")]
    for placeholder, value in vendor.settings.items():
        if placeholder in without:
            continue
        assert any(placeholder in f.read_text() for f in files), f"{placeholder} is nowhere in {vendor.name}"
        for file in files:
            file.write_text(file.read_text().replace(placeholder, value))
    return site


def decided(site: Path, *bundles: Resource) -> Decision:
    sources = [Source("record.json", "", json.dumps(b).encode()) for b in bundles]
    found = Desk.open(site, "2026-03").decide(sources)
    assert found.set_aside == ()
    [(decision, _)] = found.decisions
    return decision


def lines(decision: Decision) -> list[tuple[Any, ...]]:
    return [(line.code, line.system, line.units, line.status, line.date_of_service) for line in decision.lines]


@every_vendor
def test_a_filled_profile_decides_as_the_tidy_record(vendor: Vendor, tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "cases" / "cocm-initial-036.bundle.json").read_text())
    tidy = decided(GOLDEN / "site", golden)
    mine = decided(filled(vendor, tmp_path), vendor.bundle())
    assert lines(mine) == lines(tidy)
    assert mine.minutes.counted == tidy.minutes.counted == 36
    assert mine.episode == tidy.episode


@every_vendor
def test_an_unfilled_profile_bills_nothing_and_says_so(vendor: Vendor) -> None:
    decision = decided(SITES / vendor.name, vendor.bundle())
    assert not [line for line in decision.lines if line.status == "billable"]
    assert decision.minutes.counted == 0
    findings = [f for c in decision.candidates for f in c.findings]
    assert "unknown" in {f.outcome for f in findings}
    assert all(f.because for f in findings)


@every_vendor
def test_each_setting_that_a_profile_asks_for_is_needed(vendor: Vendor, tmp_path: Path) -> None:
    """What is left unset makes the month's line a matter for a person, or takes it away: never the same line."""
    tidy = lines(decided(filled(vendor, tmp_path / "whole"), vendor.bundle()))
    asked = [p for p in vendor.settings if p not in NOT_ASKED_IN_A_FIRST_MONTH]
    for number, placeholder in enumerate(asked):
        left_open = filled(vendor, tmp_path / str(number), without=(placeholder,))
        assert lines(decided(left_open, vendor.bundle())) != tidy, placeholder


@every_vendor
def test_a_profile_names_the_vendor_and_leaves_the_server_to_be_set(vendor: Vendor) -> None:
    desk = Desk.open(SITES / vendor.name, "2026-03")
    assert "TO BE SET" in desk.site.name
    assert desk.site.fhir.base_url.startswith("https://fhir.example.org/to-be-set")


@every_vendor
def test_the_check_of_a_profile_shows_what_is_to_be_set_and_no_other_problem(vendor: Vendor) -> None:
    checked = check_site(SITES / vendor.name)
    assert [p for p in checked.problems if "to be set" not in p] == []
    assert "site.toml: still to be set: name, fhir.base_url" in checked.problems[0]
    assert any(p.startswith("reading.toml: still to be set: minutes.") for p in checked.problems)
    assert {e.note for e in checked.entries} <= {"to-be-set", "hint"}


@pytest.mark.parametrize("file", sorted(SITES.glob("*/*.json")), ids=lambda file: f"{file.parent.name}/{file.name}")
def test_each_map_of_a_profile_is_valid_r4(file: Path) -> None:
    assert fhirkit.validate(file.read_bytes()) == []


@every_vendor
def test_a_profile_says_what_is_known_and_what_is_not(vendor: Vendor) -> None:
    readme = (SITES / vendor.name / "README.md").read_text()
    for heading in ("## Known", "## Gaps", "## Not known", "## To be set"):
        assert heading in readme
    assert "research" not in readme  # a source that is not in this repository
