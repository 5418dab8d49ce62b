"""The loader refuses whatever is not exactly right, and names file and key; every month has one value of all."""

from __future__ import annotations

import re
import shutil
from datetime import date
from pathlib import Path

import pytest
from click.testing import CliRunner
from record import cocm_record

from bhi_fhir.cli import cli
from bhi_fhir.domain.value import replace
from bhi_fhir.errors import PolicyError
from bhi_fhir.policy import policy, rules_of
from bhi_fhir.policy.loader import HOME, in_force, load
from bhi_fhir.policy.model import FOREVER, Policy

SITE = Path(__file__).parents[2] / "mappings" / "sites" / "example"
YEAR = '\n[[value]]\nfrom = {day}\nvalue = 2\ncite = "a later rule"\n'
TIER = '\n[[minutes]]\nfrom = {day}\nfull = 40\nrule = "full"\ncite = "a later rule"\n'

# (file, text to find "" to append, what stands there instead, what the error must name)
BROKEN: dict[str, tuple[str, str, str, str]] = {
    "a key given twice": ("codes/99492.toml", 'code = "99492"', 'code = "99492"\ncode = "99492"', "line 2"),
    "no TOML at all": ("codes/99492.toml", 'code = "99492"', "code = ", "line 1"),
    "a code named like another file": ("codes/99492.toml", 'code = "99492"', 'code = "99493"', "code must be 99492"),
    "an unknown key of a code": ("codes/99492.toml", "block =", "blocks =", "block is missing"),
    "one key too many": ("codes/99492.toml", "valid_from", 'price = "1"\nvalid_from', "price is not a known key"),
    "an unknown key of minutes": (
        "codes/99492.toml",
        "full = 70",
        "full = 70\nhalf = 36",
        "minutes.half is not a known",
    ),
    "an unknown key of a value": (
        "parameters/remission_below.toml",
        "value = 5",
        "value = 5\nto = 6",
        "value.to is not",
    ),
    "an unknown key of a switch": ("switches.toml", 'letter = "A1"', 'letter = "A1"\nwhy = "?"', "cocm_threshold.why"),
    "an unknown key of a requirement": (
        "requirements.toml",
        "[consent]\n",
        '[consent]\nlevel = "block"\n',
        "consent.level",
    ),
    "a code without title": ("codes/99492.toml", "title =", "# title =", "title is missing"),
    "a code without end of verification": (
        "codes/99492.toml",
        "verified_through",
        "# x",
        "verified_through is missing",
    ),
    "minutes without rule": ("codes/99492.toml", 'rule = "midpoint"', "", "minutes.rule is missing"),
    "a parameter without unit": ("parameters/remission_below.toml", "unit =", "# unit =", "unit is missing"),
    "a switch without letter": ("switches.toml", 'letter = "A1"', "", "cocm_threshold.letter is missing"),
    "a switch without one": ("switches.toml", "[cocm_threshold", "[cocm_limit", "cocm_limit, cocm_threshold"),
    "a code without citation": ("codes/99492.toml", 'cite = "MLN909432, CPT', '# cite = "', "cite is missing"),
    "an empty citation": ("codes/G0512.toml", "42 CFR 405.2464; ended by CMS-1832-F", " ", "cite is empty"),
    "minutes without citation": ("codes/99494.toml", 'cite = "MLN909432, BHI', '# "', "minutes.cite is missing"),
    "a value without citation": ("parameters/remission_below.toml", "cite =", "# cite =", "value.cite is missing"),
    "a requirement without citation": (
        "requirements.toml",
        'cite = "MLN909432, BHI Providers"',
        "",
        "billing-practitioner.cite",
    ),
    "a reading without source": (
        "switches.toml",
        "MLN909432: the add-ons are not time-based.",
        " ",
        "addon_minute_gate.readings",
    ),
    "only one reading": (
        "switches.toml",
        'day = "A consent covers the work of its whole day."',
        "",
        "consent_cutoff.readings",
    ),
    "a title that is a number": (
        "codes/99492.toml",
        'title = "CoCM, first calendar month"',
        "title = 1",
        "title has the wrong type",
    ),
    "a day that is text": (
        "codes/99492.toml",
        "valid_from = 2018-01-01",
        'valid_from = "2018"',
        "valid_from has the wrong",
    ),
    "a list that is text": ("codes/G0512.toml", "excludes = []", 'excludes = "99492"', "excludes has the wrong type"),
    "a list of numbers": ("codes/G0512.toml", "excludes = []", "excludes = [99492]", "excludes has the wrong type"),
    "minutes that are text": ("codes/99492.toml", "full = 70", 'full = "70"', "minutes.full has the wrong type"),
    "minutes that are true": ("codes/99492.toml", "full = 70", "full = true", "minutes.full has the wrong type"),
    "minutes that are no tables": (
        "codes/G0512.toml",
        "excludes = []",
        "excludes = []\nminutes = [70]",
        "minutes has the wrong",
    ),
    "no minutes": ("codes/99492.toml", "full = 70", "full = 0", "minutes.full must be 1 or more"),
    "a value that is text": (
        "parameters/remission_below.toml",
        "value = 5",
        'value = "5"',
        "value.value has the wrong",
    ),
    "a requirement that is text": (
        "requirements.toml",
        "[eligible-condition]",
        'x = "y"\n[eligible-condition]',
        "x must be a table",
    ),
    "a switch that is text": ("switches.toml", "[cocm_threshold]", 'x = "y"\n[cocm_threshold]', "x must be a table"),
    "a default that is no choice": (
        "switches.toml",
        "default = 16",
        "default = 20",
        "g2214_min.default must be one of",
    ),
    "a choice without reading": ("switches.toml", "choices = [16, 30]", "choices = [16, 25, 30]", "g2214_min.readings"),
    "a word nobody knows": ("codes/99492.toml", 'program = "cocm"', 'program = "coco"', "program is not one of"),
    "time of nobody": ("codes/99492.toml", '"care-manager"', '"manager"', "time_of is not one of"),
    "a month of no kind": ("codes/99492.toml", '"initial"', '"first"', "episode_month is not one of"),
    "a role nobody knows": ("codes/99492.toml", 'role = "base"', 'role = "basis"', "role is not one of"),
    "a monthly code without role": ("codes/99492.toml", 'role = "base"', "", "role must stand in a monthly code"),
    "a monthly code without siblings": (
        "codes/99492.toml",
        'siblings = "cocm"',
        "",
        "siblings must stand in a monthly code",
    ),
    "a role of what is never drafted": (
        "codes/G0512.toml",
        "drafted = false",
        'drafted = false\nrole = "base"',
        "role must stand in a monthly code",
    ),
    "siblings without a base": ("codes/G0570.toml", '"general-bhi"\nrole', '"general"\nrole', "no code is the base"),
    "siblings of two programs": (
        "codes/G0570.toml",
        'siblings = "general-bhi"',
        'siblings = "cocm"',
        "siblings have program and time_of in common",
    ),
    "siblings of whose time different people's counts": (
        "codes/G0569.toml",
        '"care-manager"',
        '"clinical-staff"',
        "siblings have program and time_of in common",
    ),
    "an add-on to nothing": ("codes/99494.toml", "adds_to =", "activity =", "adds_to must stand where the role is"),
    "a base that adds to another": ("codes/99494.toml", '"add-on"', '"base"', "adds_to must stand where the role is"),
    "an add-on of other siblings": (
        "codes/99494.toml",
        'adds_to = ["99492", "99493"]',
        'adds_to = ["99484"]',
        "siblings must be those of 99484",
    ),
    "what stands for APCM without its bases": (
        "codes/G0570.toml",
        "apcm_bases =",
        "activity =",
        "apcm_bases must stand where the role is apcm",
    ),
    "a fallback for nobody": (
        "codes/99484.toml",
        'fallback_for = "cocm"',
        'fallback_for = "ccm"',
        "fallback_for is not",
    ),
    "work that no switch asks minutes of": (
        "codes/G0570.toml",
        'switch = "addon_minute_gate"',
        "",
        "minutes.switch must name a switch",
    ),
    "minutes that are asked by no yes or no": (
        "codes/G0570.toml",
        'switch = "addon_minute_gate"',
        'switch = "gen_bhi_min"',
        "minutes.full is no reading of gen_bhi_min",
    ),
    "a rule nobody knows": ("codes/99492.toml", '"midpoint"', '"half"', "minutes.rule 'half'"),
    "a number that its switch does not know": ("codes/G2214.toml", "full = 30", "full = 31", "minutes.full"),
    "an add-on with billers of its own": ("codes/99494.toml", '"physician", ', "", "billers must be those of 99492"),
    "a rule by no switch": ("codes/G2214.toml", 'switch = "g2214_min"', 'switch = "g2214"', "minutes.switch"),
    "a switch without its rule": ("codes/99492.toml", "full = 70", 'full = 70\nswitch = "g2214_min"', "minutes.switch"),
    "a band that ends before it begins": ("codes/G0547.toml", "through = 20", "through = 10", "minutes.through"),
    "an end of what is no band": ("codes/99492.toml", "full = 70", "full = 70\nthrough = 80", "minutes.through"),
    "a requirement nobody knows": ("codes/99492.toml", '"outreach"', '"out-reach"', "review names out-reach"),
    "a requirement twice": ("codes/99492.toml", '"outreach"', '"outreach", "outreach"', "review names something twice"),
    "a requirement on both levels": (
        "codes/99492.toml",
        '"outreach"',
        '"consent"',
        "block cannot also stand in review",
    ),
    "an exclusion nobody knows": ("codes/99492.toml", '"G0511"]', '"G0510"]', "excludes names G0510"),
    "a base nobody knows": ("codes/99494.toml", '"99492", "99493"]\ncite', '"99491"]\ncite', "adds_to names 99491"),
    "timed without minutes": ("codes/99492.toml", "[[minutes]]", "[other]", "other is not a known key"),
    "minutes asked for and not said": (
        "codes/G0512.toml",
        "block = []",
        'block = ["minutes"]',
        "no [[minutes]] says how many",
    ),
    "a gap before the first minutes": (
        "codes/99492.toml",
        "\nfrom = 2018-01-01",
        "\nfrom = 2018-02-01",
        "minutes begin after valid_from",
    ),
    "a gap before the first value": (
        "parameters/initiating_visit_years.toml",
        "\nfrom = 2017-01-01",
        "\nfrom = 2026-02-01",
        "value leaves a gap",
    ),
    "no value at all": ("parameters/emergency_months.toml", "[[value]]", "[value]", "value has the wrong type"),
    "values out of order": (
        "parameters/remission_below.toml",
        "",
        YEAR.format(day="2016-01-01"),
        "value must stand in order",
    ),
    "two values of one month": (
        "parameters/remission_below.toml",
        "",
        YEAR.format(day="2017-01-01"),
        "value must stand in order",
    ),
    "minutes out of order": ("codes/99492.toml", "", TIER.format(day="2017-01-01"), "minutes must stand in order"),
    "two minutes of one month": ("codes/99492.toml", "", TIER.format(day="2018-01-01"), "minutes must stand in order"),
    "an end before the beginning": (
        "codes/G0512.toml",
        "valid_to = 2025-12-31",
        "valid_to = 2017-12-31",
        "valid_to lies before valid_from",
    ),
    "verified backwards": (
        "codes/G0512.toml",
        "verified_through = 2026-12-31",
        "verified_through = 2024-12-31",
        "verified_through lies before",
    ),
    "a beginning within a month": (
        "codes/99492.toml",
        "valid_from = 2018-01-01",
        "valid_from = 2018-01-02",
        "valid_from must be the first",
    ),
    "an end within a month": (
        "codes/G0512.toml",
        "valid_to = 2025-12-31",
        "valid_to = 2025-12-30",
        "valid_to must be the last",
    ),
    "a value from within a month": (
        "parameters/remission_below.toml",
        "",
        YEAR.format(day="2026-01-15"),
        "value.from must be the first",
    ),
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A copy of the policy that may be broken."""
    for part in ("codes", "parameters"):
        shutil.copytree(HOME / part, tmp_path / part)
    for name in ("requirements.toml", "switches.toml"):
        shutil.copy(HOME / name, tmp_path / name)
    return tmp_path


def edit(home: Path, name: str, found: str, instead: str) -> None:
    """Replace every occurrence of a text, or append where there is none to find."""
    file = home / name
    text = file.read_text(encoding="utf-8")
    assert found in text, f"{name} does not hold {found}"
    file.write_text(text.replace(found, instead) if found else text + instead, encoding="utf-8")


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_file_is_refused_by_its_name_and_key(home: Path, what: str) -> None:
    name, found, instead, said = BROKEN[what]
    edit(home, name, found, instead)
    with pytest.raises(PolicyError, match=re.escape(said)) as error:
        load(home)
    assert Path(name).name in str(error.value)


def test_a_copy_that_nobody_broke_is_the_policy_that_ships(home: Path) -> None:
    def plain(whole: Policy) -> Policy:
        codes = tuple((replace(code, file=""), tiers) for code, tiers in whole.codes)
        return replace(whole, codes=codes, parameters=tuple(replace(p, file="") for p in whole.parameters))

    assert plain(load(home)) == plain(policy())


def test_a_file_that_is_missing_is_refused_by_its_name(home: Path) -> None:
    (home / "switches.toml").unlink()
    with pytest.raises(PolicyError, match=r"switches\.toml"):
        load(home)


def test_an_error_in_the_package_names_the_file_as_the_package_has_it() -> None:
    assert policy().codes[0][0].file == "bhi_fhir/policy/codes/99484.toml"


# -- time -------------------------------------------------------------------------------------------


def index(text: str) -> int:
    day = date.fromisoformat(f"{text}-01")
    return day.year * 12 + day.month - 1


FIRST = index("2025-01")
LAST = min([c.verified[1] for c, _ in policy().codes] + [p.verified[1] for p in policy().parameters])
CODES = {code.code: (code, tiers) for code, tiers in policy().codes}
# Without parameters a month before the first verified one can be looked at too.
CODES_ONLY = replace(policy(), parameters=())


@pytest.mark.parametrize("month", range(FIRST, LAST + 1), ids=lambda m: f"{m // 12}-{m % 12 + 1:02}")
def test_every_verified_month_has_one_value_of_everything_or_is_not_in_force(month: int) -> None:
    rules = rules_of(month)
    assert rules.unverified == ()
    assert set(rules.values) == {p.name for p in policy().parameters}
    for name, (code, tiers) in CODES.items():
        running = [tier for start, tier in tiers if start <= month][-1:]
        if not code.valid[0] <= month <= code.valid[1]:
            assert name not in rules.codes
        else:
            assert rules.codes[name].minutes == (running[0] if running else None)
            assert ("minutes" in code.block) == bool(running)


@pytest.mark.parametrize("name", CODES)
def test_a_code_begins_with_its_first_month(name: str) -> None:
    begins = CODES[name][0].valid[0]
    assert name not in in_force(begins - 1, CODES_ONLY).codes
    assert name in in_force(begins, CODES_ONLY).codes


@pytest.mark.parametrize("name", [n for n, (code, _) in CODES.items() if code.valid[1] != FOREVER])
def test_a_code_ends_with_its_last_month(name: str) -> None:
    ends = CODES[name][0].valid[1]
    assert name in in_force(ends, CODES_ONLY).codes
    assert name not in in_force(ends + 1, CODES_ONLY).codes


@pytest.mark.parametrize(
    ("name", "begins", "ends"),
    [
        ("G2214", "2021-01", None),
        ("G0323", "2023-01", None),
        *((code, "2025-01", None) for code in ("G0544", "G0546", "G0547", "G0548", "G0549", "G0550", "G0551")),
        *((code, "2025-01", None) for code in ("G0552", "G0553", "G0554", "G0560")),
        *((code, "2026-01", None) for code in ("G0568", "G0569", "G0570")),
        *((code, "2018-01", None) for code in ("99484", "99492", "99493", "99494")),
        ("G0511", "2018-01", "2025-09"),
        ("G0512", "2018-01", "2025-12"),
    ],
)
def test_a_code_is_in_force_as_cms_says(name: str, begins: str, ends: str | None) -> None:
    assert CODES[name][0].valid == (index(begins), index(ends) if ends else FOREVER)


def test_a_month_before_the_first_value_is_refused_by_the_name_of_the_file() -> None:
    latest = max(policy().parameters, key=lambda p: p.values[0].start)
    with pytest.raises(PolicyError, match=rf"{latest.name}\.toml: no value is in force yet"):
        in_force(latest.values[0].start - 1, replace(policy(), parameters=(latest,)))


def test_a_new_value_counts_from_its_month_on(home: Path) -> None:
    edit(home, "parameters/remission_below.toml", "", YEAR.format(day="2026-06-01"))
    whole = load(home)
    values = [in_force(index(month), whole).values["remission_below"] for month in ("2026-05", "2026-06", "2026-07")]
    assert values == [5, 2, 2]


def test_new_minutes_count_from_their_month_on(home: Path) -> None:
    edit(home, "codes/99492.toml", "", TIER.format(day="2026-06-01"))
    whole = load(home)
    tiers = [in_force(index(month), whole).codes["99492"].minutes for month in ("2026-05", "2026-06", "2026-07")]
    assert [(t.full, t.rule) for t in tiers if t] == [(70, "midpoint"), (40, "full"), (40, "full")]


# -- verification -----------------------------------------------------------------------------------


def test_the_month_after_the_last_verified_one_names_every_file() -> None:
    files = {code.file for code, _ in policy().codes} | {p.file for p in policy().parameters}
    assert set(rules_of(LAST + 1).unverified) == files
    assert rules_of(LAST).unverified == ()


def test_a_file_that_nobody_read_again_is_the_only_one_named(home: Path) -> None:
    edit(home, "codes/G0560.toml", "verified_through = 2026-12-31", "verified_through = 2026-03-31")
    whole = load(home)
    assert in_force(index("2026-03"), whole).unverified == ()
    assert [Path(f).name for f in in_force(index("2026-04"), whole).unverified] == ["G0560.toml"]


@pytest.mark.parametrize("command", ["evaluate", "explain"])
def test_a_month_that_nobody_verified_is_refused_by_the_name_of_a_file(tmp_path: Path, command: str) -> None:
    file = tmp_path / "maria.ndjson"
    file.write_text(cocm_record("2027-01").work(40).ndjson(), encoding="utf-8")
    done = CliRunner().invoke(cli, [command, "--site", str(SITE), "--month", "2027-01", str(file)])
    assert done.exit_code == 2
    assert "Re-read the source of bhi_fhir/policy/codes/99484.toml" in done.stderr
    assert "drafted" not in done.stdout
