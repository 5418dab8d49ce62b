"""No orphans: every sentence of the booklet has a requirement or a reason, every requirement a sentence and a test.

After a change of the booklet, of a code or of a scenario:
python -m bhi_fhir.policy.trace tests/scenarios > bhi_fhir/policy/trace.md
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bhi_fhir.errors import PolicyError
from bhi_fhir.policy import policy
from bhi_fhir.policy.trace import PAGE, asked, codes_of, examples, load, scenarios_in, sentences, trace_page
from bhi_fhir.rules.requirements import MONTHLY, RELATED

SCENARIOS = scenarios_in(Path(__file__).parents[1] / "scenarios")
TITLES = {row["title"] for row in SCENARIOS}
DRAFTED = {code.code: code for code, _ in policy().codes if code.drafted}
PAIRS = [(code, name) for code in DRAFTED.values() for name in (*code.block, *code.review)]

GOOD = """
[[sentence]]
id = "consent-before-start"
section = "Advanced Patient Consent"
rule = "The patient consents first."
requirement = ["consent"]
"""
BROKEN = {
    "a key nobody knows": ("rule =", 'note = "?"\nrule =', "consent-before-start: note is not a known key"),
    "no rule": ("rule =", "# rule =", "consent-before-start: rule is missing"),
    "no section": ("section =", "# section =", "consent-before-start: section is missing"),
    "no id": ("id =", "# id =", "sentence: id is missing"),
    "an empty rule": ('"The patient consents first."', '" "', "rule is empty"),
    "a requirement that is text": ('["consent"]', '"consent"', "requirement has the wrong type"),
    "an empty requirement": ('["consent"]', "[]", "requirement is empty"),
    "a requirement nobody knows": ('["consent"]', '["consents"]', "requirement consents is not in requirements.toml"),
    "a requirement twice": ('["consent"]', '["consent", "consent"]', "requirement names something twice"),
    "neither requirement nor reason": ("requirement =", "# x", "give either requirement or not_modelled"),
    "both requirement and reason": ("rule =", 'not_modelled = "no"\nrule =', "give either requirement or not_modelled"),
    "codes of what is not modelled": (
        'requirement = ["consent"]',
        'not_modelled = "no"\ncodes = ["99492"]',
        "neither codes nor scenario",
    ),
    "a code nobody knows": ("rule =", 'codes = ["99999"]\nrule =', "codes names 99999, which no file describes"),
    "a code that asks for none of it": (
        "rule =",
        'codes = ["G0560"]\nrule =',
        "codes names G0560, which asks for none",
    ),
    "a requirement that none of the codes asks": (
        'requirement = ["consent"]',
        'requirement = ["consent", "payer"]\ncodes = ["G0546"]',
        "no code asks for requirement payer",
    ),
    "the same id twice": ("", GOOD, "consent-before-start: id is given twice"),
    "no TOML": ("rule =", "rule", "line"),
    "no sentences": ("[[sentence]]", "[sentence]", "sentence has the wrong type"),
    "something else": ("[[sentence]]", "[[sentences]]", "sentence is missing"),
}


# -- orphans ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("requirement", policy().requirements)
def test_a_sentence_asks_for_every_requirement(requirement: str) -> None:
    assert any(requirement in s.requirements for s in sentences())


@pytest.mark.parametrize("requirement", policy().requirements)
def test_a_code_uses_every_requirement(requirement: str) -> None:
    assert any(name == requirement for _, name in PAIRS)


@pytest.mark.parametrize(("code", "requirement"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.code)
def test_a_sentence_asks_each_requirement_of_each_code(code: object, requirement: str) -> None:
    assert asked(code, requirement, sentences())  # type: ignore[arg-type]


@pytest.mark.parametrize(("code", "requirement"), PAIRS, ids=lambda v: v if isinstance(v, str) else v.code)
def test_a_function_checks_each_requirement_of_each_code(code: object, requirement: str) -> None:
    table = MONTHLY if code.program else RELATED  # type: ignore[attr-defined]
    assert requirement in table or (requirement == "exclusivity" and table is MONTHLY)  # decided with the lines


def test_no_function_checks_what_nobody_asks_for() -> None:
    assert {*MONTHLY, *RELATED} <= set(policy().requirements)


def test_every_sentence_that_is_checked_binds_a_code_by_each_of_its_requirements() -> None:
    for sentence in sentences():
        assert bool(sentence.requirements) != bool(sentence.not_modelled)
        assert all(codes_of(sentence, policy()).values()), sentence.id


@pytest.mark.parametrize("requirement", policy().requirements)
def test_a_scenario_tests_every_requirement(requirement: str) -> None:
    assert examples(SCENARIOS).get(requirement), "name it in the findings or in covers of a scenario"


def test_every_scenario_that_a_sentence_names_is_there() -> None:
    assert {title for s in sentences() for title in s.scenarios} <= TITLES


def test_what_a_scenario_covers_is_a_requirement() -> None:
    assert set(examples(SCENARIOS)) <= set(policy().requirements)


# -- the page ---------------------------------------------------------------------------------------


def test_the_page_in_the_package_is_current() -> None:
    made = trace_page(sentences(), policy(), examples(SCENARIOS))
    assert PAGE.read_text(encoding="utf-8") == made, __doc__


def test_an_auditor_walks_from_a_line_to_the_sentence_and_back() -> None:
    page = PAGE.read_text(encoding="utf-8")
    line = page[page.index("### 99492: ") : page.index("### 99493: ")]
    [row] = [row for row in line.splitlines() if row.startswith("| psychiatric-review |")]
    assert "99492-consultant-review" in row
    [sentence] = [row for row in page.splitlines() if row.startswith("| 99492-consultant-review |")]
    assert "psychiatric-review (99492, G0568)" in sentence


def test_a_scenario_that_says_what_it_covers_is_shown_before_one_that_only_finds_it() -> None:
    rows = [
        {"title": "finds", "findings": {"99492": {"consent": "met", "minutes": "not-met", "status": "not-billable"}}},
        {"title": "covers", "covers": ["consent:met"]},
    ]
    assert examples(rows) == {"consent": {"met": "covers"}, "minutes": {"not-met": "finds"}}


# -- the loader -------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_booklet_is_refused_by_file_and_key(tmp_path: Path, what: str) -> None:
    found, instead, said = BROKEN[what]
    file = tmp_path / "booklet.toml"
    file.write_text(GOOD.replace(found, instead) if found else GOOD + instead, encoding="utf-8")
    with pytest.raises(PolicyError, match=re.escape(said)) as error:
        load(file, policy())
    assert "booklet.toml" in str(error.value)


def test_a_booklet_in_order_is_read(tmp_path: Path) -> None:
    file = tmp_path / "booklet.toml"
    file.write_text(GOOD, encoding="utf-8")
    [sentence] = load(file, policy())
    assert (sentence.id, sentence.requirements) == ("consent-before-start", ("consent",))
    assert asked(DRAFTED["99492"], "consent", [sentence]) == (sentence,)
    assert asked(DRAFTED["99492"], "minutes", [sentence]) == ()
