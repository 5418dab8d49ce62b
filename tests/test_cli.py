"""The command line as a user meets it: one clear sentence, the right exit status, and the good records decided."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from record import cocm_record

from bhi_fhir.cli import cli, main
from bhi_fhir.jobs import files

SITE = Path(__file__).parents[1] / "mappings" / "sites" / "example"


def good() -> dict[str, Any]:
    return cocm_record().work(36).bundle()


def save(folder: Path, name: str, content: object) -> str:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def evaluate(*arguments: str, month: str = "2026-03", site: Path = SITE, stdin: bytes | None = None) -> Result:
    command = ["evaluate", "--site", str(site), "--month", month, *arguments]
    return CliRunner().invoke(cli, command, input=stdin)


def decided(result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def lines(result: Result) -> list[dict[str, int]]:
    return [{line["code"]: line["units"] for line in r["lines"]} for r in decided(result)["results"]]


def test_a_file_in_order_exits_0(tmp_path: Path) -> None:
    done = evaluate("--format", "json", save(tmp_path, "a.json", good()))
    assert (done.exit_code, done.stderr, lines(done)) == (0, "", [{"99492": 1}])


def test_a_patient_in_two_files_is_decided_twice_and_that_is_said(tmp_path: Path) -> None:
    files = [save(tmp_path, f"{name}.json", good()) for name in ("one", "two")]
    alone, both = evaluate(files[0]), evaluate(*files)
    assert (alone.exit_code, both.exit_code) == (0, 0)
    assert "in several files" not in alone.stderr
    assert "One patient stands in several files" in both.stderr


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param("not json {", "it is not JSON", id="a file that is not JSON"),
        pytest.param("", "the file is empty", id="an empty file"),
        pytest.param({"resourceType": "Bundle", "type": "collection"}, "it holds no patient", id="an empty Bundle"),
        pytest.param([1, 2], "it is no FHIR resource", id="an array of numbers"),
        pytest.param({"hello": "world"}, "it is no FHIR resource", id="JSON that is no FHIR"),
    ],
)
def test_a_file_with_nothing_in_it_is_set_aside_with_one_sentence(
    tmp_path: Path, content: object, sentence: str
) -> None:
    done = evaluate("--format", "json", save(tmp_path, "odd.json", content))
    assert done.exit_code == 1
    assert sentence in done.stderr
    assert decided(done)["results"] == []
    assert {s["file"] for s in decided(done)["set_aside"]} == {str(tmp_path / "odd.json")}


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        pytest.param({"resource": {"resourceType": "Observation", "id": "x", "status": []}}, "not R4's, at status",
                     id="of a wrong shape"),
        pytest.param({"fullUrl": "urn:x"}, "without a resource", id="without a resource"),
        pytest.param(42, "no Bundle entry", id="that is a number"),
        pytest.param({"resource": {"resourceType": "Enconter", "id": "x"}}, "no FHIR R4 resource type",
                     id="of a type that does not exist"),
        pytest.param({"resource": {"resourceType": "Procedure", "id": "x", "occurrenceDateTime": "2026-03-03"}},
                     "shape of R5 (occurrenceDateTime)", id="of R5"),
    ],
)  # fmt: skip
def test_one_broken_entry_costs_only_itself(tmp_path: Path, entry: object, sentence: str) -> None:
    record = good()
    record["entry"].insert(2, entry)
    done = evaluate("--format", "json", save(tmp_path, "a.json", record))
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert "entry[2]" in done.stderr
    assert sentence in done.stderr
    assert lines(done) == [{"99492": 1}]


def test_a_broken_encounter_of_the_month_itself_raises_no_doubt_about_the_first_month(tmp_path: Path) -> None:
    broken = {"resourceType": "Encounter", "id": "x", "status": 1, "subject": {"reference": "Patient/maria"}}
    for start, status in (("2026-03-09T10:00:00-05:00", "billable"), ("2026-01-09T10:00:00-06:00", "needs-review")):
        record = good()
        record["entry"].append({"resource": {**broken, "period": {"start": start}}})
        done = evaluate("--format", "json", save(tmp_path, "a.json", record))
        assert [line["status"] for line in decided(done)["results"][0]["lines"]] == [status]


def test_a_document_beyond_the_limit_is_set_aside_and_the_next_file_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT", 30_000)
    big = good()
    big["entry"] *= 5
    done = evaluate("--format", "json", save(tmp_path, "big.json", big), save(tmp_path, "good.json", good()))
    assert done.exit_code == 1
    assert "one document of more than" in done.stderr
    assert lines(done) == [{"99492": 1}]


def test_ndjson_beyond_the_document_limit_is_read_by_line_and_a_long_line_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_DOCUMENT", 3_000)
    monkeypatch.setattr(files, "MAX_LINE", 2_500)
    long = json.dumps({"resourceType": "DocumentReference", "id": "x", "description": "y" * 5_000})
    done = evaluate("--format", "json", save(tmp_path, "a.ndjson", cocm_record().work(36).ndjson() + long + "\n"))
    assert done.exit_code == 1
    assert "the line is longer than" in done.stderr
    assert lines(done) == [{"99492": 1}]


def test_standard_input_and_ndjson_and_arrays_are_read_alike(tmp_path: Path) -> None:
    resources = [entry["resource"] for entry in good()["entry"]]
    piped = evaluate("--format", "json", "-", stdin=json.dumps(good()).encode())
    array = evaluate("--format", "json", save(tmp_path, "a.json", resources))
    ndjson = evaluate("--format", "json", save(tmp_path, "a.ndjson", "\n".join(map(json.dumps, resources))))
    assert lines(piped) == lines(array) == lines(ndjson) == [{"99492": 1}]


def test_a_patient_without_a_birth_date_is_decided_as_usual(tmp_path: Path) -> None:
    done = evaluate(
        "--format", "json", save(tmp_path, "a.json", cocm_record().change("Patient", birthDate=None).work(36).bundle())
    )
    assert (done.exit_code, lines(done)) == (0, [{"99492": 1}])


@pytest.mark.parametrize("month", ["2026-13", "2026-00", "march", "2026-3", ""])
def test_a_month_that_is_none_is_wrong_usage(
    tmp_path: Path, month: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        run_main(monkeypatch, "evaluate", "--site", str(SITE), "--month", month, save(tmp_path, "a.json", good())) == 2
    )
    assert "is not a month like 2026-03" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("toml", "sentence"),
    [
        ('name = "x"', "time_zone is missing"),
        ('name = "x"\ntime_zone = "Mars/Olympus"', "time_zone is no IANA time zone"),
        ('name = "x"\ntime_zone = "UTC"\nfoo = 1', "foo is not a known key"),
        ('name = "x"\ntime_zone = "UTC"\n[policy]\ng2214_min = 17', "g2214_min must be one of 16, 30"),
        ('name = "x"\ntime_zone = "UTC"\n[policy]\ng2214_min = "16"', "g2214_min must be a whole number"),
        ('name = "x"\ntime_zone = "UTC"\n[fhir]\nconcurrency = "many"', "fhir.concurrency"),
        ("name = ", "is not readable TOML"),
    ],
)
def test_a_site_that_is_wrong_is_refused_with_file_and_key(
    tmp_path: Path, toml: str, sentence: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text(toml)
    record = save(tmp_path, "a.json", good())
    assert run_main(monkeypatch, "evaluate", "--site", str(tmp_path), "--month", "2026-03", record) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert str(tmp_path / "site.toml") in said
    assert len(said.strip().splitlines()) == 1


def test_a_missing_file_and_a_missing_site_are_wrong_usage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_main(monkeypatch, "evaluate", "--site", str(SITE), "--month", "2026-03", str(tmp_path / "no.json")) == 2
    assert run_main(monkeypatch, "evaluate", "--site", str(tmp_path), "--month", "2026-03", "-") == 2
    assert "no.json is no file" in capsys.readouterr().err


def test_a_month_without_verified_policy_is_shown_and_not_drafted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record = save(tmp_path, "a.json", cocm_record("2027-01").work(36).bundle())
    command = ("evaluate", "--site", str(SITE), "--month", "2027-01", "--format", "json", record)
    assert run_main(monkeypatch, *command) == 2
    said = capsys.readouterr()
    assert "bhi_fhir/policy/codes/" in said.err
    result = json.loads(said.out)["results"][0]
    assert (result["lines"], result["minutes"]["counted"]) == ([], 36)


def test_a_server_that_cannot_be_reached_is_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text('name = "x"\ntime_zone = "UTC"\n[fhir]\nbase_url = "http://127.0.0.1:9/fhir"')
    assert run_main(monkeypatch, "sync", "--site", str(tmp_path), "--month", "2026-03") == 3
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def run_main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The real entry point, which turns errors into statuses."""
    monkeypatch.setattr("sys.argv", ["bhi-fhir", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_a_fault_of_ours_is_one_line_without_its_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("Mrs. Synthetic")

    monkeypatch.setattr("bhi_fhir.jobs.desk.Desk.open", broken)
    record = save(tmp_path, "a.json", good())
    assert run_main(monkeypatch, "evaluate", "--site", str(SITE), "--month", "2026-03", record) == 70
    said = capsys.readouterr().err
    assert "a fault of its own (ValueError at test_cli.py:" in said
    assert "Synthetic" not in said


EXPORT = Path(__file__).parents[1] / "examples" / "bulk" / "export"


def test_bulk_needs_no_list_of_cores_which_macos_does_not_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    command = ["bulk", "--site", str(SITE), "--month", "2026-09", "--out", str(tmp_path / "out"), str(EXPORT)]
    done = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "summary.json").is_file()


NO_ROOM = "No space left on device: make room and run the same command again.\n"


def bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """`bhi` is the program; the status is that of the first command of a pipe."""
    name = f'bhi() {{ {sys.executable} -m bhi_fhir.cli "$@"; }}; {script}'
    return subprocess.run(["bash", "-c", name], capture_output=True, text=True, check=False, cwd=folder)


@pytest.mark.parametrize(
    "command", ["codes", f"mappings check --site {SITE}", f"evaluate --site {SITE} --month 2026-03 a"]
)
def test_an_output_that_cannot_be_written_is_no_fault_of_ours(command: str, tmp_path: Path) -> None:
    save(tmp_path, "a", good())
    full = bash(f"bhi {command} >/dev/full", tmp_path)
    assert (full.returncode, full.stderr) == (2, NO_ROOM)
    closed = bash(f"bhi {command} >&-", tmp_path)
    assert (closed.returncode, closed.stderr) == (2, "Standard output is closed: nothing could be shown.\n")
    # A reader who has left before anything is said: the pipe is broken for certain.
    left = bash(f"(sleep 0.3; bhi {command}; echo $? >status) | true; cat status", tmp_path)
    assert (left.stdout.strip(), left.stderr) == ("0", "")


def test_a_full_disk_is_no_fault_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("bhi_fhir.jobs.desk.Desk.open", full)
    assert run_main(monkeypatch, "evaluate", "--site", str(SITE), "--month", "2026-03", "a.json") == 2
    assert capsys.readouterr().err == NO_ROOM


def test_a_torn_resource_is_no_json_alone_in_a_file_and_as_a_line(tmp_path: Path) -> None:
    torn = '{"resourceType": "Consent", "id": "x"'
    for text in (torn, f'{torn}\n{{"resourceType": "Patient", "id": "maria"}}\n'):
        done = evaluate(save(tmp_path, "torn.ndjson", text))
        assert done.exit_code == 1
        assert "it is not JSON" in done.stderr


def test_resolve_names_both_of_its_answers() -> None:
    site = ["--site", str(SITE), "--month", "2026-03"]
    done = CliRunner().invoke(cli, ["resolve", *site, "--patient", "maria", "--code", "99492", "--by", "Ann"])
    assert done.exit_code == 2
    assert "--arrived or --never-arrived" in done.stderr


def test_a_misspelled_table_of_reading_toml_is_named(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "site.toml").write_text('name = "x"\ntime_zone = "UTC"')
    (site / "reading.toml").write_text('[minuts]\norder = ["length"]')
    done = evaluate(save(tmp_path, "a.json", good()), site=site)
    assert str(done.exception) == f"{site / 'reading.toml'}: minuts is not a known key"


def test_the_table_names_the_code_that_its_reason_speaks_of() -> None:
    done = evaluate(str(EXPORT.parents[1] / "patients" / "cocm-one-minute-short.json"), month="2026-09")
    assert "1 to G2214" in done.stdout
    assert "99493 minutes: 15 minutes are counted, 31 needed" in done.stdout
