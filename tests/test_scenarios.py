"""The tables in tests/scenarios: one patient is in order, each row says what differs and what must follow.

How to read and write a row stands in tests/scenarios/README.md.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from record import Record, cocm_record, g0323_record, general_record

from bhi_fhir.domain.decision import Decision
from bhi_fhir.jobs.desk import Decided, Desk
from bhi_fhir.mapping.source import Source

Row = dict[str, Any]

TABLES = Path(__file__).parent / "scenarios"
SITE = Path(__file__).parents[1] / "mappings" / "sites" / "example"
BUILDERS = {
    "cocm": cocm_record,
    "cocm-later": lambda month: cocm_record(month, episode="later"),
    "general": general_record,
    "g0323": g0323_record,
}
SAID = {"title", "source", "from", "month", "do", "full_urls", "set", "site", "covers"}
EXPECTED = {
    "billable",
    "review",
    "findings",
    "counted",
    "not_counted",
    "says",
    "episode",
    "next",
    "set_aside",
    "dates",
    "warnings",
}


def scenarios() -> list[Any]:
    found = []
    for table in sorted(TABLES.glob("*.toml")):
        rows: list[Row] = tomllib.loads(table.read_text(encoding="utf-8"))["scenario"]
        found += [pytest.param(row, id=row["title"]) for row in rows]
    return found


@pytest.mark.parametrize("row", scenarios())
def test_scenario(row: Row) -> None:
    assert not set(row) - SAID - EXPECTED, "a key that no scenario has"
    decided = decide(row)[1]
    assert wrong(row, decided) == {}, _story(decided.decisions[0][0])


def wrong(row: Row, decided: Decided) -> Row:
    """What is not as the row expects: key to the answer that was given."""
    wanted = {"billable": {}, "review": {}} | {key: row[key] for key in EXPECTED if key in row}
    says = wanted.pop("says", ())
    answers = {key: _answer(key, decided, row) for key in wanted}
    sentences = _sentences(decided.decisions[0][0])
    missing = [t for t in ((says,) if isinstance(says, str) else says) if not any(t in s for s in sentences)]
    unlike = {key: answers[key] for key in wanted if answers[key] != wanted[key]}
    return unlike | ({"says": missing} if missing else {})


def test_every_title_is_given_once() -> None:
    titles = [param.id for param in scenarios()]
    assert sorted(titles) == sorted(set(titles))


def decide(row: Row) -> tuple[Desk, Decided]:
    month = row.get("month", "2026-03")
    record = BUILDERS[row["from"]](month)
    for step in row.get("do", ()):
        _step(record, step)
    urls = row.get("full_urls", {})
    sources = []
    for number, entry in enumerate(record.bundle()["entry"]):
        name = f"{entry['resource']['resourceType']}/{entry['resource']['id']}"
        url = urls.get(name, entry["fullUrl"])
        sources.append(Source("scenario", f"entry[{number}]", json.dumps(entry["resource"]).encode(), url))
    overrides = [f"{key}={json.dumps(value)}" for key, value in row.get("set", {}).items()]
    site = TABLES / row["site"] if "site" in row else SITE
    desk = Desk.open(site, month, overrides)
    return desk, desk.decide(sources)


def _step(record: Record, step: Row) -> None:
    """The first key is the builder's method with its main argument; the others are its keywords."""
    (method, argument), *fields = step.items()
    arguments = argument if isinstance(argument, list) else [argument]
    getattr(record, method)(*arguments, **{key: _or_none(value) for key, value in fields})


def _or_none(value: Any) -> Any:
    """TOML has no null: "-" takes a field away."""
    return None if value == "-" else value


def _answer(key: str, decided: Decided, row: Row) -> Any:
    [(decision, _)] = decided.decisions
    if key in ("billable", "review"):
        status = "billable" if key == "billable" else "needs-review"
        return {line.code: line.units for line in decision.lines if line.status == status}
    if key == "findings":
        return {code: _found(decision, code, wanted) for code, wanted in row["findings"].items()}
    if key == "not_counted":
        found: dict[str, int] = {}
        for piece in decision.minutes.not_counted:
            found[piece.reason] = found.get(piece.reason, 0) + (piece.minutes or 0)
        return found
    if key == "next":
        following = decision.minutes.next
        return {following.code: following.at} if following else {}
    if key == "dates":
        return {line.code: str(line.date_of_service) for line in decision.lines}
    if key == "warnings":
        return len(decision.warnings)
    if key == "episode":
        return decision.episode.kind if decision.episode else "none"
    return decision.minutes.counted if key == "counted" else len(decided.set_aside)


def _found(decision: Decision, code: str, wanted: Row) -> Row:
    """The outcomes of the requirements asked for; `units` and `status` are the code's own."""
    for candidate in decision.candidates:
        if candidate.code == code:
            own = {"units": candidate.units, "status": candidate.status}
            answers = own | {f.requirement: f.outcome for f in candidate.findings}
            return {requirement: answers.get(requirement, "no such finding") for requirement in wanted}
    return {"no": "candidate"}


def _sentences(decision: Decision) -> list[str]:
    findings = [finding.because for candidate in decision.candidates for finding in candidate.findings]
    return findings + [piece.because for piece in decision.minutes.not_counted] + list(decision.warnings)


def _story(decision: Decision) -> str:
    """What was decided, for the person who must find out why."""
    lines = [f"{c.code} {c.status} {f.requirement}: {f.outcome}, {f.because}"
             for c in decision.candidates for f in c.findings if f.open]  # fmt: skip
    pieces = [f"{p.source} {p.minutes} {p.reason}: {p.because}" for p in decision.minutes.not_counted]
    return "\n".join(["", *lines, *pieces, *decision.warnings])
