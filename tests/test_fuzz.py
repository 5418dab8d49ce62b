"""No input crashes it, nothing is lost in silence, and what nobody reads changes nothing.

A few thousand broken records run with the other tests; BHI_FUZZ=100000 runs as many as it says. Each follows from
its number: a failure names it, and BHI_FUZZ_FROM=<number> BHI_FUZZ=1 runs it alone.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

from fuzzing import Chance, as_bytes, broken_bytes, changed_where_nobody_reads, mutated

from bhi_fhir.domain.record import SetAside
from bhi_fhir.drafts.models import draft
from bhi_fhir.jobs import files
from bhi_fhir.jobs.desk import Decided, Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.evaluate import evaluate
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source
from bhi_fhir.views import VIEWS

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(p.name.removesuffix(".expected.json") for p in (GOLDEN / "cases").glob("*.expected.json"))
RUNS, FROM = int(os.environ.get("BHI_FUZZ", "3000")), int(os.environ.get("BHI_FUZZ_FROM", "0"))
DRAFTED = 20
"""Drafts are slow: one record in so many is drafted too."""


def test_no_broken_record_crashes_it_and_none_is_lost_in_silence() -> None:
    seen: Counter[str] = Counter()
    for number in range(FROM, FROM + RUNS * 6 // 10):
        chance = Chance(number)
        name = chance.choice(CASES)
        broken = mutated(_golden(name), chance)
        try:
            seen += _read_and_decided(name, as_bytes(broken), broken, drafted=number % DRAFTED == 0)
        except Exception as error:
            error.add_note(f"record {number} ({name})")
            raise
    print(f"\n{RUNS * 6 // 10} broken records: {dict(seen)}")  # noqa: T201


def test_what_no_view_reads_changes_nothing() -> None:
    for number in range(FROM, FROM + RUNS * 2 // 10):
        chance = Chance(number)
        name = chance.choice(CASES)
        changed = changed_where_nobody_reads(_golden(name), chance)
        decided = _desk(name).decide(_sources(as_bytes(changed)))
        assert ([d for d, _ in decided.decisions], decided.set_aside) == _tidy(name), f"record {number} ({name})"


def test_no_broken_bytes_crash_it_and_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    for number in range(FROM, FROM + RUNS * 2 // 10):
        chance = Chance(number)
        name = chance.choice(CASES)
        broken = broken_bytes(chance.choice(_written(name)), chance)
        try:
            (tmp_path / "record").write_bytes(broken)
            done = evaluate(_desk(name), [str(tmp_path / "record")])
            done.json()
        except Exception as error:
            error.add_note(f"record {number} ({name})")
            raise
        assert done.results or done.set_aside, f"record {number} ({name}) is lost in silence"


def _sources(data: bytes) -> list[Source]:
    return list(files._read("record", BytesIO(data)))


def _read_and_decided(name: str, data: bytes, broken: dict[str, Any], *, drafted: bool) -> Counter[str]:
    sources = _sources(data)
    desk = _desk(name)
    decided = desk.decide(sources)
    if any(source.trouble for source in sources):
        return Counter({"not JSON": 1})
    _nothing_is_lost(Record.read(sources), decided, broken)
    for decision, facts in decided.decisions:
        assert all(f.because and f.cite for c in decision.candidates for f in c.findings)
        if drafted:
            draft(decision, facts, draft_run(desk, desk.month.last_day))
    return Counter({
        "decided": len(decided.decisions), "set aside": len(decided.set_aside),
        "withheld": sum(bool(facts.withheld) for _, facts in decided.decisions),
        "lines": sum(len(decision.lines) for decision, _ in decided.decisions),
    })  # fmt: skip


def _nothing_is_lost(record: Record, decided: Decided, broken: dict[str, Any]) -> None:
    """Each entry of a type that is read is a row, or a copy of one, or set aside with its place."""
    if broken.get("resourceType") != "Bundle":
        assert record.rows or decided.set_aside or broken.get("resourceType") is not None
        return
    entries = broken.get("entry")
    if not isinstance(entries, list):
        assert decided.set_aside or entries is None
        return
    aside = {s.at for s in decided.set_aside}
    read = {source.at for source in record._sources.values()}
    named = record.rows.keys() | {s.resource for s in decided.set_aside}
    for index, entry in enumerate(entries):
        place = f"entry[{index}]"
        resource = entry.get("resource") if isinstance(entry, dict) else None
        kind = resource.get("resourceType") if isinstance(resource, dict) else None
        if isinstance(kind, str) and kind in VIEWS and kind != "OperationOutcome":
            url = str(entry.get("fullUrl"))
            copies = {f"{kind}/{resource.get('id')}", url, "/".join(url.split("/")[-2:])}
            assert place in read | aside or copies & named, f"{place} is lost"
        elif kind is None or not isinstance(kind, str):
            assert place in aside, f"{place} is lost"


@cache
def _golden(name: str) -> str:
    return (GOLDEN / "cases" / f"{name}.bundle.json").read_text()


@cache
def _written(name: str) -> tuple[bytes, ...]:
    """Pretty-printed, in one line, as NDJSON."""
    bundle = json.loads(_golden(name))
    lines = "\n".join(json.dumps(e["resource"]) for e in bundle["entry"])
    return _golden(name).encode(), json.dumps(bundle).encode(), lines.encode()


@cache
def _tidy(name: str) -> tuple[list[Any], tuple[SetAside, ...]]:
    decided = _desk(name).decide(_sources(_golden(name).encode()))
    return [d for d, _ in decided.decisions], decided.set_aside


@cache
def _desk(name: str) -> Desk:
    said = json.loads((GOLDEN / "cases" / f"{name}.expected.json").read_text())
    return _open(said["month"], tuple(f"{key}={value}" for key, value in said.get("set", {}).items()))


@cache
def _open(month: str, overrides: tuple[str, ...]) -> Desk:
    return Desk.open(GOLDEN / "site", month, overrides)


def test_bundles_within_bundles_end_and_what_lies_deeper_is_said() -> None:
    inner: dict[str, Any] = {"resourceType": "Encounter", "id": "x", "subject": {"reference": "Patient/maria"}}
    for _ in range(200):
        inner = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]}
    bundle = json.loads(_golden(CASES[0]))
    bundle["entry"].append({"resource": inner})
    decided = _desk(CASES[0]).decide(_sources(json.dumps(bundle).encode()))
    assert [s.reason for s in decided.set_aside] == ["it is a Bundle in too many others"]
    assert all(facts.withheld for _, facts in decided.decisions)
