"""Bulk says what evaluate says, however the lines stand: it is the same mapping, the same rules, the same drafts."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulk.export import SITE, Resource, by_bulk, by_evaluate, run, scattered, texts, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from make_examples import FOLDER, MONTH
from record import cocm_record, general_record

from bhi_fhir.jobs.bulk import job
from bhi_fhir.jobs.bulk import lines as lines_
from bhi_fhir.jobs.desk import Desk

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = sorted(p.name.removesuffix(".expected.json") for p in (GOLDEN / "cases").glob("*.expected.json"))
DESK = Desk.open(SITE, MONTH)


@pytest.fixture(autouse=True, scope="module", params=[None, 40_000], ids=["whole", "cut"])
def _cut(request: pytest.FixtureRequest) -> Iterator[None]:
    """Small exports as if they were large: in many pieces and many shares."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(lines_, "PIECE", request.param)
            patch.setattr(job, "SHARE", request.param)
        yield


def entries(path: Path) -> list[Resource]:
    return [entry["resource"] for entry in json.loads(path.read_text())["entry"]]


def examples() -> list[str]:
    """All example patients; the practice's staff, who stand in each file, once."""
    return list(dict.fromkeys(line for path in sorted(FOLDER.glob("*.json")) for line in texts(entries(path))))


@pytest.mark.parametrize("name", CASES)
def test_a_golden_record_is_decided_as_by_evaluate(name: str, tmp_path: Path) -> None:
    answer = json.loads((GOLDEN / "cases" / f"{name}.expected.json").read_text())
    overrides = tuple(f"{key}={value}" for key, value in answer.get("set", {}).items())
    desk = Desk.open(GOLDEN / "site", answer["month"], overrides)
    lines = texts(entries(GOLDEN / "cases" / f"{name}.bundle.json"))
    folder = write(tmp_path / "in", scattered(lines, len(name)))
    assert by_bulk(folder, tmp_path / "out", desk, overrides) == by_evaluate(lines, tmp_path / "all.ndjson", desk)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    yield by_evaluate(examples(), tmp_path_factory.mktemp("all") / "all.ndjson", DESK)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_neither_the_order_of_the_lines_nor_the_files_matter(
    seed: int, expected: object, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("scattered")
    write(folder / "in", scattered(examples(), seed))
    assert by_bulk(folder / "in", folder / "out", DESK) == expected


def test_packed_files_say_the_same(expected: object, tmp_path: Path) -> None:
    import zstandard

    third = len(lines := examples()) // 3
    folder = write(tmp_path / "in", {"plain.ndjson": lines[:third]})
    packed = ["".join(f"{line}\n" for line in part).encode() for part in (lines[third : 2 * third], lines[2 * third :])]
    (folder / "b.ndjson.gz").write_bytes(gzip.compress(packed[0][:5000]) + gzip.compress(packed[0][5000:]))
    frames = [zstandard.compress(packed[1][:7000]), zstandard.compress(packed[1][7000:])]
    (folder / "c.ndjson.zst").write_bytes(b"".join(frames))
    assert by_bulk(folder, tmp_path / "out", DESK) == expected


def test_any_number_of_processes_writes_the_same_bytes(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", scattered(examples(), 7))
    for processes in (1, 2, 3):
        run(folder, tmp_path / f"out{processes}", DESK, processes)
    one, two, three = (contents(tmp_path / f"out{processes}") for processes in (1, 2, 3))
    assert one == two == three
    assert len(one) >= 4


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


# -- what ties one patient's lines to another's -----------------------------------------------------


def two() -> list[Resource]:
    """Two patients of one practice."""
    return [*cocm_record(MONTH).work(80).resources, *general_record(MONTH, "walter").work(30).resources]


def unique(resources: list[Resource]) -> list[str]:
    return list(dict.fromkeys(texts(resources)))


def replaced(resources: list[Resource], patient: str, by: str) -> list[Resource]:
    """The same patient's resources under another reference."""
    return json.loads(json.dumps(resources).replace(f'{{"reference": "Patient/{patient}"}}', by))  # type: ignore[no-any-return]


def test_a_merged_patient_is_decided_with_the_survivor(tmp_path: Path) -> None:
    resources = replaced(two(), "maria", '{"reference": "Patient/old"}')
    maria = next(r for r in resources if r["id"] == "maria")
    merged = [{"resourceType": "Patient", "id": "old", "link": [
        {"other": {"reference": "Patient/maria"}, "type": "replaced-by"}]}]  # fmt: skip
    assert maria["resourceType"] == "Patient"
    check([*resources, *merged], tmp_path, "Patient/maria")


def test_a_patient_named_by_identifier_is_the_one_who_carries_it(tmp_path: Path) -> None:
    by = '{"identifier": {"system": "urn:mrn", "value": "77"}}'
    resources = replaced(two(), "maria", by)
    for resource in resources:
        if resource["id"] == "maria":
            resource["identifier"] = [{"system": "urn:mrn", "value": "77"}]
    check(resources, tmp_path, "Patient/maria")


def test_a_resource_that_was_moved_to_another_patient_counts_there_only(tmp_path: Path) -> None:
    resources = two()
    work = next(
        r for r in resources if r["resourceType"] == "Encounter" and r["subject"]["reference"].endswith("maria")
    )
    moved = {**work, "subject": {"reference": "Patient/walter"}, "meta": {"lastUpdated": "2027-01-01T00:00:00Z"}}
    work["meta"] = {"lastUpdated": "2026-10-01T00:00:00Z"}
    check([*resources, moved], tmp_path, "Patient/walter")


@pytest.mark.parametrize("by", ["https://ehr.example.org/fhir/Patient/maria", "Patient/maria/_history/3"])
def test_every_form_of_a_reference_is_the_same_patient(by: str, tmp_path: Path) -> None:
    check(replaced(two(), "maria", f'{{"reference": "{by}"}}'), tmp_path, "Patient/maria")


def test_a_contained_practitioner_speaks_for_the_own_patient_only(tmp_path: Path) -> None:
    resources = cocm_record(MONTH).work(80).resources
    work = next(r for r in resources if r["resourceType"] == "Encounter")
    work["contained"] = [{"resourceType": "Practitioner", "id": "p", "qualification": [
        {"code": {"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207R00000X"}]}}]}]  # fmt: skip
    check(resources, tmp_path, "Patient/maria")


def test_dates_without_a_zone_are_counted_for_each_patient(tmp_path: Path) -> None:
    def no_zone(record: list[Resource]) -> list[str]:
        return [line.replace(":00-05:00", ":00") for line in texts(record)]

    maria = no_zone(cocm_record(MONTH).work(80).resources)
    walter = no_zone(general_record(MONTH, "walter").work(30).resources)
    together = by_bulk(
        write(tmp_path / "in", {"a.ndjson": list(dict.fromkeys([*maria, *walter]))}), tmp_path / "out", DESK
    )
    each = [by_evaluate(lines, tmp_path / "alone.ndjson", DESK).decisions for lines in (maria, walter)]
    assert together.decisions == each[0] | each[1]


def check(resources: list[Resource], tmp_path: Path, *patients: str) -> None:
    lines = unique(resources)
    said = by_evaluate(lines, tmp_path / "all.ndjson", DESK)
    assert set(patients) <= set(said.decisions)
    for seed in range(3):
        folder = write(tmp_path / f"in{seed}", scattered(lines, seed))
        assert by_bulk(folder, tmp_path / f"out{seed}", DESK) == said
