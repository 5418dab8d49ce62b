"""What cannot be read is set aside with file, line and reason; what it may have said is unknown and never absent."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from bulk.export import SITE, Answers, by_bulk, by_evaluate, run, texts, write
from record import cocm_record, general_record

from bhi_fhir.errors import UsageError
from bhi_fhir.jobs import files
from bhi_fhir.jobs.bulk import deciding
from bhi_fhir.jobs.desk import Desk

MONTH = "2026-09"
DESK = Desk.open(SITE, MONTH)
MARIA = texts(cocm_record(MONTH).work(80).resources)
WALTER = texts(general_record(MONTH, "walter").work(30).resources)
BOTH = list(dict.fromkeys([*MARIA, *WALTER]))
EVERYBODY = ["Patient/maria", "Patient/walter"]
TORN = json.dumps({"resourceType": "Consent", "id": "torn", "patient": {"reference": "Patient/maria"}})[:-1] + ',"pro'


def billable(said: Answers) -> dict[str, list[str]]:
    lines = {who: json.loads(decision)["lines"] for who, decision in said.decisions.items()}
    return {who: [line["code"] for line in found if line["status"] == "billable"] for who, found in lines.items()}


@pytest.mark.parametrize(
    ("line", "left"),
    [
        pytest.param(TORN, ["Patient/walter"], id="torn, and whose it is can be read"),
        pytest.param(TORN[:60] + TORN, [], id="two resources that ran into each other"),
        pytest.param('{"resourceType": "Consent", "id"', [], id="torn before it says whose it is"),
        pytest.param('{"resourceType": "Consent", "id": "x"}', [], id="it names nobody"),
        pytest.param('{"resourceType": "Consent", "id": "x", "patient": {"display": "A"}}', [], id="by display only"),
        pytest.param(
            '{"resourceType": "Practitioner", "id": "x", "identifier": 7}',
            EVERYBODY,
            id="staff of another shape",
        ),
        pytest.param('{"resourceType": "OperationOutcome"}', [], id="a server's word"),
        pytest.param('{"resourceType": "Observ', [], id="no whole type"),
        pytest.param("\x00\x01\x02", [], id="no JSON at all"),
        pytest.param('{"resourceType": "VendorThing"}', EVERYBODY, id="of no FHIR type"),
        pytest.param('{"resourceType": "Location", "id": 7}', EVERYBODY, id="not read at all"),
        pytest.param("[1]", EVERYBODY, id="no resource"),
        pytest.param(TORN.replace("Consent", "Location"), EVERYBODY, id="a torn Location"),
        pytest.param(TORN.replace("maria", "nobody-else"), EVERYBODY, id="another's"),
    ],
)
def test_a_broken_line_costs_what_evaluate_says(line: str, left: list[str], tmp_path: Path) -> None:
    lines = [*BOTH, line]
    said = by_bulk(write(tmp_path / "in", {"a.ndjson": lines}), tmp_path / "out", DESK)
    # Where bulk knows only at the end whom a line concerns, the sentence names the place where it stands.
    assert said == by_evaluate(lines, tmp_path / "all.ndjson", DESK)
    assert [who for who, codes in billable(said).items() if codes] == left


@pytest.mark.parametrize(
    "more",
    [
        pytest.param([{"deceasedDateTime": 5}], id="a death that cannot be read"),
        pytest.param([{"deceasedBoolean": "true"}], id="a boolean in quotes"),
        pytest.param([{}, {"deceasedDateTime": "2026-02-01"}], id="twice, dead and alive, and nothing says which"),
    ],
)
def test_a_patient_who_cannot_be_read_is_in_doubt_alone(more: list[dict[str, object]], tmp_path: Path) -> None:
    [maria] = [json.loads(line) for line in MARIA if '"resourceType": "Patient"' in line]
    others = [line for line in BOTH if json.loads(line) != maria]
    lines = [*others, *(json.dumps(maria | each) for each in more)]
    said = by_bulk(write(tmp_path / "in", {"a.ndjson": lines}), tmp_path / "out", DESK)
    assert said == by_evaluate(lines, tmp_path / "all.ndjson", DESK)
    assert [who for who, codes in billable(said).items() if codes] == ["Patient/walter"]


def test_what_is_no_file_may_hold_anybody(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.ndjson": BOTH})
    (write(tmp_path / "elsewhere", {"more.ndjson": WALTER})).rename(tmp_path / "there")
    (folder / "sub").symlink_to(tmp_path / "there")
    (folder / "Consent.ndjson").symlink_to(tmp_path / "gone")
    said = by_bulk(folder, tmp_path / "out", DESK)
    assert said.aside == [("", "it is no file, or a link that leads to none, so it is not read")] * 2
    assert not any(billable(said).values())


def test_a_bundle_may_hold_anybody(tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.ndjson": [*BOTH, '{"entry": [], "resourceType": "Bundle"}']})
    said = by_bulk(folder, tmp_path / "out", DESK)
    assert said.aside == [("", "it is a Bundle, and bulk reads one resource a line")]
    assert not any(billable(said).values())


@pytest.mark.parametrize(
    ("name", "content", "holds_back"),
    [
        ("b.ndjson", b"", True),
        ("b.ndjson.gz", gzip.compress("\n".join(MARIA).encode())[:-400], True),
        ("b.ndjson.gz", b"no gzip", True),
        ("b.ndjson.zst", b"no zst", True),
        ("b.ndjson.part", b"{}", True),
        ("manifest.json", b"{}", False),
    ],
)
def test_a_file_that_is_not_read_whole_is_told(name: str, content: bytes, holds_back: bool, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.ndjson": BOTH})
    (folder / name).write_bytes(content)
    said = by_bulk(folder, tmp_path / "out", DESK)
    assert len(said.aside) >= 1
    assert any(billable(said).values()) != holds_back


def test_a_line_without_end_is_told_with_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 8_000)
    scan = {"resourceType": "DocumentReference", "id": "x", "subject": {"reference": "Patient/maria"}}
    long = json.dumps({**scan, "content": "y" * 500_000})
    assert len(max(BOTH, key=len)) < 8_000
    folder = write(tmp_path / "in", {"a.ndjson": [*BOTH[:5], long, *BOTH[5:]]})
    said = by_bulk(folder, tmp_path / "out", DESK)
    [aside] = (tmp_path / "out" / "set-aside.ndjson").read_bytes().splitlines()
    assert json.loads(aside)["file"] == "a.ndjson"
    assert json.loads(aside)["at"] == "line 6"
    assert json.loads(aside)["reason"].startswith("the line is longer than")
    assert billable(said)["Patient/walter"]


def test_a_patient_with_too_many_resources_is_set_aside_and_the_others_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "MAX_RESOURCES", 100)
    many = [json.dumps({"resourceType": "Observation", "id": f"o{i}", "subject": {"reference": "Patient/maria"}})
            for i in range(101)]  # fmt: skip
    said = by_bulk(write(tmp_path / "in", {"a.ndjson": [*many, *BOTH]}), tmp_path / "out", DESK)
    assert list(said.decisions) == ["Patient/walter"]
    assert [reason for _, reason in said.aside] == [
        "its patient has more than 100 resources or 32 MiB, and is not decided"
    ]


def test_a_million_lines_of_nobody_are_told_once_for_each_type(tmp_path: Path) -> None:
    nobody = [
        json.dumps({"resourceType": kind, "id": f"{kind}{i}"}) for kind in ("Consent", "Claim") for i in range(300)
    ]
    said = by_bulk(write(tmp_path / "in", {"a.ndjson": [*nobody, *BOTH]}), tmp_path / "out", DESK)
    assert len(said.aside) == 600
    for decision in said.decisions.values():
        held = json.loads(decision)["withheld"]
        assert 100 < len(held) < 104
        assert any("Claim" in reason for reason in held)
    assert not any(billable(said).values())


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_a_folder_without_ndjson_is_wrong_usage(name: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="NDJSON"):
        run(tmp_path / name, tmp_path / "out", DESK)
    assert not (tmp_path / "out").exists()
