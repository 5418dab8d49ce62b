"""A record re-spelled in any legal way gives the same answer: each golden record, each spelling, and any mixture."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from respelling import SPELLINGS, Spelling, combine, writing

from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.evaluate import Evaluation, evaluate
from bhi_fhir.mapping import bundle, diagnoses, record, versions
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.terminology import Terminology

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(p.name.removesuffix(".expected.json") for p in (GOLDEN / "cases").glob("*.expected.json"))
SITE = str(GOLDEN / "site")
SEVERAL = [s for s in SPELLINGS if s.__name__ != "as_bundle"]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=lambda s: s.__name__.replace("_", " "))
def test_every_golden_record_means_the_same_in_this_spelling(spelling: Spelling, tmp_path: Path) -> None:
    for number, name in enumerate(CASES):
        assert respelled(name, [spelling], number, tmp_path) == tidy(name), name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("respelled")


def test_a_golden_record_means_the_same_in_any_mixture_of_spellings(folder: Path) -> None:
    def means_the_same(name: str, chosen: list[Spelling], seed: int) -> None:
        assert respelled(name, chosen, seed, folder) == tidy(name)

    mixtures = st.lists(st.sampled_from(SEVERAL), min_size=2, max_size=12, unique=True)
    checked = given(st.sampled_from(CASES), mixtures, st.integers(0, 2**32))(means_the_same)
    settings(max_examples=1000, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))(checked)()


# -- a test that cannot fail proves nothing ---------------------------------------------------------


def _bug(where: object, name: str, instead: object) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(where, name, instead)


BUGS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "contained_people": _bug(Record, "_inside", lambda *_: None),
    "only_contained_people": _bug(Record, "_same_npi", lambda *_: None),
    "people_by_npi": _bug(Record, "_by_identifier", lambda *_: None),
    "people_as_roles": _bug(Record, "_names_person", lambda *_: False),
    "people_twice": _bug(Record, "person_key", lambda _, key: key),
    "a_merged_patient": _bug(Record, "_merge", lambda _: None),
    "uuid_references": _bug(Record, "alias", lambda *_: None),
    "versioned_references": _bug(Record, "_by_text", lambda _, text: text),
    "urls_without_ids": _bug(record, "_key", lambda header, source: source.full_url),
    "old_versions": _bug(versions, "_not_older", lambda *_: True),
    "each_twice": _bug(versions, "_not_older", lambda *_: False),
    "in_utc": _bug(Clock, "_read", lambda clock, text: READ(clock, text[:19])),
    "local_codings": _bug(diagnoses, "_status", lambda concept, _: {concept.coding[0].code} if concept else set()),
    "other_code_systems": _bug(Terminology, "code", lambda _, coding: (coding.system, coding.code)),
    "as_nested_bundles": _bug(bundle, "_DEEPEST", 1),
}
READ = Clock._read


@pytest.mark.parametrize("name", BUGS)
def test_each_of_these_spellings_finds_its_seeded_bug(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = tidy("cocm-initial-086")
    [spelling] = [s for s in SPELLINGS if s.__name__ == name]
    _forget_desks()  # they remember what a code means
    BUGS[name](monkeypatch)
    with pytest.raises(AssertionError):
        assert respelled("cocm-initial-086", [spelling], 1, tmp_path) == wanted
    _forget_desks()


# -- reading ----------------------------------------------------------------------------------------


def respelled(name: str, chosen: list[Spelling], seed: int, folder: Path) -> dict[str, Any]:
    written = writing(_golden(name), seed)
    combine(chosen, written)
    file = folder / "record"
    file.write_bytes(written.bytes())
    return answer(evaluate(_desk(name), [str(file)]), written.names)


@cache
def tidy(name: str) -> dict[str, Any]:
    return answer(evaluate(_desk(name), [str(GOLDEN / "cases" / f"{name}.bundle.json")]), {})


def answer(done: Evaluation, names: dict[str, str]) -> dict[str, Any]:
    """All that was decided but the sentences, everything by its name in the tidy record."""

    def old(ref: str | None) -> str:
        called = names.get(ref or "", ref or "")
        return names.get(called, called)

    decided = [(result.decision, result.chart) for result in done.results]
    assert len(decided) == 1, [d.patient for d, _ in decided]
    [(decision, chart)] = decided
    return {
        "patient": old(decision.patient),
        "program": decision.program,
        "episode": decision.episode,
        "lines": [
            (line.code, line.system, line.units, line.status, old(line.practitioner), line.date_of_service, line.days)
            for line in decision.lines
        ],
        "candidates": [
            (c.code, c.status, c.units, f.requirement, f.outcome, sorted(map(old, f.evidence)))
            for c in decision.candidates
            for f in c.findings
        ],
        "counted": decision.minutes.counted,
        "next": decision.minutes.next,
        "not counted": sorted((n.reason, n.minutes or -1, old(n.source)) for n in decision.minutes.not_counted),
        "withheld": [part.reason for part in chart.withheld],
        "warnings": len(decision.warnings),
        "set aside": [(s.at, s.reason) for s in done.set_aside],
    }


@cache
def _golden(name: str) -> dict[str, Any]:
    bundle: dict[str, Any] = json.loads((GOLDEN / "cases" / f"{name}.bundle.json").read_text())
    return bundle


@cache
def _desk(name: str) -> Desk:
    said = json.loads((GOLDEN / "cases" / f"{name}.expected.json").read_text())
    return _open(said["month"], tuple(f"{key}={value}" for key, value in said.get("set", {}).items()))


@cache
def _open(month: str, overrides: tuple[str, ...]) -> Desk:
    return Desk.open(Path(SITE), month, overrides)


def _forget_desks() -> None:
    _desk.cache_clear()
    _open.cache_clear()
