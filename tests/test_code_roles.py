"""Rules speak of a code's role: codes and what they are to each other stand in the policy's TOML alone."""

from __future__ import annotations

import ast
import re
import shutil
from functools import cache
from pathlib import Path

import msgspec
import pytest
from record import NUCC, Record, cocm_record, concept, g0323_record, general_record
from test_code_pairs import MONTHLY, SITE, supports
from test_scenarios import decide as decide_scenario
from test_scenarios import scenarios

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.value import replace
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.source import Source
from bhi_fhir.policy import Policy, policy
from bhi_fhir.policy.loader import HOME, in_force, load
from bhi_fhir.rules.decide import decide

ROOT = Path(__file__).parents[1]
CODE = re.compile(r"\b(9\d{4}|G\d{4})\b")
MODELLED = re.compile(rf"\b({'|'.join(code.code for code, _ in policy().codes)})\b")


def test_no_billing_code_stands_in_python() -> None:
    found = []
    for file in sorted((ROOT / "bhi_fhir").rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in docstrings and CODE.search(str(node.value)):
                found.append(f"{file.relative_to(ROOT)}:{node.lineno} {node.value}")
    assert found == []


# -- other names ------------------------------------------------------------------------------------


def renamed(text: str) -> str:
    """99492 is X9492, G0568 is X0568."""
    return MODELLED.sub(lambda code: f"X{code[0][1:]}", text)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The policy with other names for all of its codes."""
    home = tmp_path_factory.mktemp("policy")
    for file in HOME.rglob("*.toml"):
        other = home / renamed(str(file.relative_to(HOME)))
        other.parent.mkdir(exist_ok=True)
        other.write_text(renamed(file.read_text(encoding="utf-8")), encoding="utf-8")
    return load(home)


def test_codes_that_have_other_names_in_the_policy_are_decided_the_same(elsewhere: Policy) -> None:
    rules = cache(lambda month: in_force(month, elsewhere))
    for row in (param.values[0] for param in scenarios()):
        desk, found = decide_scenario(row)
        [(decision, chart)] = found.decisions
        if desk.rules.unverified:
            continue  # it names the file
        charges = tuple(replace(charge, code=renamed(charge.code)) for charge in chart.charges)
        again = decide(replace(chart, charges=charges), desk.month, rules(desk.month.index), desk.site.switches)
        assert said(again) == renamed(said(decision)), row["title"]


def said(decision: Decision) -> str:
    return msgspec.json.encode(decision).decode()


# -- a code more ------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Path:
    shutil.copytree(HOME, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit(home: Path, code: str, *changes: tuple[str, str]) -> None:
    file = home / "codes" / f"{code}.toml"
    text = file.read_text(encoding="utf-8")
    for found, instead in changes:
        assert found in text
        text = text.replace(found, instead)
    file.write_text(text, encoding="utf-8")


def add(home: Path, like: str, code: str, *changes: tuple[str, str]) -> None:
    """A code like another but for some changes."""
    shutil.copy(home / "codes" / f"{like}.toml", home / "codes" / f"{code}.toml")
    edit(home, code, (f'code = "{like}"', f'code = "{code}"'), *changes)


def under(home: Path, record: Record, **switches: str) -> Decision:
    desk = Desk.open(SITE, record.month, [f"policy.{key}={value}" for key, value in switches.items()])
    return decide(chart_of(desk, record), desk.month, in_force(desk.month.index, load(home)), desk.site.switches)


def chart_of(desk: Desk, record: Record) -> Chart:
    entries = record.bundle()["entry"]
    sources = [Source("record", "", msgspec.json.encode(entry["resource"]), entry["fullUrl"]) for entry in entries]
    [(_, chart)] = desk.decide(sources).decisions
    return chart


def drafted(decision: Decision) -> dict[str, int]:
    return {line.code: line.units for line in decision.lines if line.status == "billable"}


OTHERS = '"clinical-psychologist", "clinical-social-worker", '
THERAPIST = '"marriage-and-family-therapist", '


def test_a_profession_gets_a_code_of_its_own_by_a_file(home: Path) -> None:
    add(home, "G0323", "G0999", ("by-professional", "by-therapist"), (OTHERS, ""), (', "mental-health-counselor"', ""))
    edit(home, "G0323", (THERAPIST, ""))
    therapist = g0323_record().change("cp-role", specialty=[concept(NUCC, "106H00000X")]).work(20)
    assert drafted(under(home, therapist)) == {"G0999": 1}
    assert drafted(under(home, g0323_record().work(20))) == {"G0323": 1}


@pytest.mark.parametrize("code", MONTHLY)
def test_a_code_more_takes_no_other_codes_month(code: str, home: Path) -> None:
    add(home, "G0323", "G0999", ("by-professional", "by-nobody"), (OTHERS + THERAPIST, ""))
    assert code in drafted(under(home, supports(code)))


def test_a_second_add_on_stands_beside_the_same_base_by_a_file(home: Path) -> None:
    add(home, "99494", "99999", ("full = 30", "full = 100"))
    assert drafted(under(home, cocm_record().work(120))) == {"99492": 1, "99494": 2}
    assert drafted(under(home, cocm_record().work(121))) == {"99492": 1, "99494": 2, "99999": 1}


def test_time_that_cannot_be_read_may_be_of_the_lowest_band_that_there_is(home: Path) -> None:
    add(home, "G0546", "G0999", ("full = 5", "full = 2"), ("through = 10", "through = 4"))
    record = general_record().person("cp").work(5, day=16, kind="interprofessional-consultation", by="cp", id="talk")
    record.change("talk", period={"start": "2026-03-16T10:00:00-05:00"})
    assert {line.code: line.status for line in under(home, record).lines} == {"G0999": "needs-review"}


GATE = {"addon_minute_gate": "true"}


def test_the_minutes_that_a_site_may_ask_of_an_add_on_stand_in_its_file(home: Path) -> None:
    edit(home, "G0568", ("full = 36", "full = 40"))
    for minutes, switches, code in ((1, {}, "G0568"), (39, GATE, "99492"), (40, GATE, "G0568")):
        record = cocm_record().work(minutes).charge("G0557")
        assert drafted(under(home, record, **switches)) == {code: 1}


def test_the_evaluation_that_opens_a_code_stands_in_its_file(home: Path) -> None:
    edit(home, "G0323", ('["90791"]', '["90792"]'))
    assert drafted(under(home, g0323_record().work(20))) == {}
    other = g0323_record().work(20).without("90791").visit("90792", "2026-02-20", by="cp")
    assert drafted(under(home, other)) == {"G0323": 1}
