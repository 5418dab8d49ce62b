"""From a claim line to the sentence of the booklet that asks for it, and back.

`booklet.toml` holds the sentences; `trace.md` is made from it, from the codes and from the scenarios:

    python -m bhi_fhir.policy.trace tests/scenarios > bhi_fhir/policy/trace.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bhi_fhir.errors import PolicyError
from bhi_fhir.policy.loader import HOME, Keys, check, policy, read, shown, tables, text, texts
from bhi_fhir.policy.model import Code, Policy

PAGE = HOME / "trace.md"
OUTCOMES = ("met", "not-met", "unknown")
_MADE = "Made by `python -m bhi_fhir.policy.trace tests/scenarios`; do not edit."
"""For whoever changes this repository, not for a biller."""
Examples = Mapping[str, Mapping[str, str]]
"""requirement -> outcome -> the title of a scenario that shows it"""

_KEYS: Keys = {"id": text, "section": text, "rule": text}
_OPTIONAL: Keys = {"requirement": texts, "codes": texts, "scenario": texts, "not_modelled": text}


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of the booklet in our words: checked by requirements, or not modelled for a reason."""

    id: str
    section: str
    rule: str
    requirements: tuple[str, ...]
    codes: tuple[str, ...]
    """Only these codes; empty: every code that asks for one of the requirements."""
    scenarios: tuple[str, ...]
    not_modelled: str

    def binds(self, code: Code, requirement: str) -> bool:
        """Does it ask this requirement of this code?"""
        return requirement in self.requirements and (not self.codes or code.code in self.codes)


@cache
def sentences() -> tuple[Sentence, ...]:
    """The booklet that ships with this version, in its own order."""
    return load(HOME / "booklet.toml", policy())


def load(file: Path, whole: Policy) -> tuple[Sentence, ...]:
    """Read a booklet against a policy; PolicyError for anything that is not exactly right."""
    table = read(file)
    check(file, table, {"sentence": tables})
    found: dict[str, Sentence] = {}
    for entry in table["sentence"]:
        sentence = _sentence(file, entry, whole)
        if sentence.id in found:
            raise PolicyError(f"{shown(file)}: {sentence.id}: id is given twice")
        found[sentence.id] = sentence
    return tuple(found.values())


def _sentence(file: Path, entry: dict[str, Any], whole: Policy) -> Sentence:
    name = entry.get("id", "sentence")
    check(file, entry, _KEYS, _OPTIONAL, inside=f"{name}: ")
    if ("requirement" in entry) == ("not_modelled" in entry):
        raise PolicyError(f"{shown(file)}: {name}: give either requirement or not_modelled")
    if "not_modelled" in entry and ("codes" in entry or "scenario" in entry):
        raise PolicyError(f"{shown(file)}: {name}: what is not modelled has neither codes nor scenario")
    if entry.get("requirement") == []:
        raise PolicyError(f"{shown(file)}: {name}: requirement is empty")
    for requirement in entry.get("requirement", ()):
        if requirement not in whole.requirements:
            raise PolicyError(f"{shown(file)}: {name}: requirement {requirement} is not in requirements.toml")
    sentence = Sentence(
        id=entry["id"],
        section=entry["section"],
        rule=entry["rule"],
        requirements=tuple(entry.get("requirement", ())),
        codes=tuple(entry.get("codes", ())),
        scenarios=tuple(entry.get("scenario", ())),
        not_modelled=entry.get("not_modelled", ""),
    )
    _fits(file, sentence, whole)
    return sentence


def _fits(file: Path, sentence: Sentence, whole: Policy) -> None:
    """Each code asks for one of the requirements, and each requirement is asked by one of the codes."""
    asks = {code.code: {*code.block, *code.review} for code, _ in whole.codes}
    for code in sentence.codes:
        if code not in asks:
            raise PolicyError(f"{shown(file)}: {sentence.id}: codes names {code}, which no file describes")
        if not asks[code] & set(sentence.requirements):
            raise PolicyError(f"{shown(file)}: {sentence.id}: codes names {code}, which asks for none of it")
    for requirement in sentence.requirements:
        if not any(requirement in asks[code] for code in sentence.codes or asks):
            raise PolicyError(f"{shown(file)}: {sentence.id}: no code asks for requirement {requirement}")


def asked(code: Code, requirement: str, booklet: Iterable[Sentence]) -> tuple[Sentence, ...]:
    """The sentences that ask a requirement of a code."""
    return tuple(s for s in booklet if s.binds(code, requirement))


def codes_of(sentence: Sentence, whole: Policy) -> dict[str, tuple[str, ...]]:
    """requirement -> the codes of which the sentence asks it"""
    return {
        requirement: tuple(
            code.code
            for code, _ in whole.codes
            if requirement in (*code.block, *code.review) and sentence.binds(code, requirement)
        )
        for requirement in sentence.requirements
    }


def examples(scenarios: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """One scenario for each requirement and outcome: the first that says so in `covers`, else in `findings`."""
    rows = list(scenarios)
    found: dict[str, dict[str, str]] = {}
    for shows in (_covers, _findings):
        for row in rows:
            for requirement, outcome in shows(row):
                found.setdefault(requirement, {}).setdefault(outcome, row["title"])
    return found


def _covers(scenario: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`covers = ["consent:not-met"]`"""
    parts = [word.partition(":") for word in scenario.get("covers", ())]
    return [(requirement, outcome) for requirement, _, outcome in parts if outcome in OUTCOMES]


def _findings(scenario: Mapping[str, Any]) -> list[tuple[str, str]]:
    """`findings = { "99492" = { consent = "not-met", status = "not-billable" } }`: status is no requirement."""
    answers = [pair for found in scenario.get("findings", {}).values() for pair in found.items()]
    return [(requirement, outcome) for requirement, outcome in answers if outcome in OUTCOMES]


def scenarios_in(folder: Path) -> list[dict[str, Any]]:
    """The scenarios of every table of a folder."""
    return [row for file in sorted(folder.glob("*.toml")) for row in read(file)["scenario"]]


# -- the page ---------------------------------------------------------------------------------------


def page() -> str:
    """The page as a biller reads it."""
    return PAGE.read_text(encoding="utf-8").replace(f"{_MADE}\n", "").rstrip()


def trace_page(booklet: Sequence[Sentence], whole: Policy, shown_by: Examples) -> str:
    """The trace as Markdown: codes to sentences, sentences to codes, requirements to scenarios."""
    parts = [
        *_head(booklet),
        *_by_code(booklet, whole),
        *_by_section(booklet, whole),
        *_by_requirement(whole, shown_by),
    ]
    return "\n".join(parts) + "\n"


def _head(booklet: Sequence[Sentence]) -> list[str]:
    left = sum(bool(s.not_modelled) for s in booklet)
    return [
        "# Trace: from a claim line to the booklet, and back",
        "",
        _MADE,
        f"The booklet is MLN909432 (CY 2026), in our words: {len(booklet)} sentences bind somebody; "
        f"{len(booklet) - left} are checked, {left} are not modelled, each for a written reason.",
        "A code's requirement blocks the line if it is not met, or asks a person to look (review).",
    ]


def _by_code(booklet: Sequence[Sentence], whole: Policy) -> list[str]:
    lines = ["", "## From a code to the booklet"]
    for code, _ in whole.codes:
        lines += ["", f"### {code.code}: {code.title}", "", f"{code.cite}. Source: {code.source}."]
        if not code.drafted:
            lines += ["", "It stands only in the history and is never drafted."]
            continue
        if code.adds_to:
            lines += ["", f"It stands on the findings of its base too: see {' and '.join(code.adds_to)}."]
        lines += ["", "| requirement | level | sentences |", "| --- | --- | --- |"]
        for level, names in (("block", code.block), ("review", code.review)):
            for name in names:
                ids = ", ".join(s.id for s in asked(code, name, booklet))
                lines.append(_row(name, level, ids))
    return lines


def _by_section(booklet: Sequence[Sentence], whole: Policy) -> list[str]:
    lines = ["", "## From the booklet to the codes"]
    section = ""
    for sentence in booklet:
        if sentence.section != section:
            section = sentence.section
            lines += ["", f"### {section}", "", "| sentence | it says | checked by |", "| --- | --- | --- |"]
        lines.append(_row(sentence.id, sentence.rule, _checked(sentence, whole)))
    return lines


def _checked(sentence: Sentence, whole: Policy) -> str:
    if sentence.not_modelled:
        return f"not modelled: {sentence.not_modelled}"
    parts = [f"{name} ({', '.join(codes)})" for name, codes in codes_of(sentence, whole).items()]
    parts += [f'scenario "{title}"' for title in sentence.scenarios]
    return "; ".join(parts)


def _by_requirement(whole: Policy, shown_by: Examples) -> list[str]:
    lines = ["", "## Requirements and the scenarios that test them", ""]
    lines += ["One scenario of `tests/scenarios` for each outcome.", ""]
    lines += ["| requirement | the rule | source | met | not met | unknown |", "| --- | --- | --- | --- | --- | --- |"]
    for name, requirement in whole.requirements.items():
        titles = [shown_by.get(name, {}).get(outcome, "-") for outcome in OUTCOMES]
        lines.append(_row(name, requirement.rule, requirement.cite, *titles))
    return lines


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(trace_page(sentences(), policy(), examples(scenarios_in(Path(sys.argv[1])))))
