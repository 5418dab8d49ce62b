"""Spark says what the local engine says, byte for byte after sorting: it is the same core in another engine's tasks."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from benchmarks.generate import site
from bulk import test_same_answers as same
from bulk.export import SITE, by_evaluate, run, scattered, texts, write
from bulk.test_broken import BOTH, MONTH, TORN
from click.testing import CliRunner, Result
from record import cocm_record, general_record
from servers.needs import needs, unavailable

from bhi_fhir.cli import cli
from bhi_fhir.errors import BhiError, UsageError
from bhi_fhir.jobs.desk import Desk

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

DESK = Desk.open(SITE, MONTH)
CUT = {"spark.sql.files.maxPartitionBytes": "40000"}
"""Small exports as if they were large: in many blocks."""


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    """One Spark for all: what `bulk` finds running it uses and leaves running."""
    needs("java")
    try:
        from pyspark import SparkContext
        from pyspark.sql import SparkSession
    except ImportError:
        unavailable("not installed: pyspark (the extra spark)")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.sql.shuffle.partitions", "3")
    started = builder.config("spark.driver.memory", "2g").getOrCreate()
    started.sparkContext.setLogLevel("OFF")
    yield started
    gateway = SparkContext._gateway
    started.stop()
    assert gateway is not None
    gateway.shutdown()
    SparkContext._gateway = SparkContext._jvm = None
    gateway.proc.stdin.close()
    gateway.proc.wait(timeout=60)


@dataclass
class Said:
    decisions: list[bytes]
    drafts: list[bytes]
    aside: list[bytes]
    summary: dict[str, Any]


def said(out: Path) -> Said:
    def lines(pattern: str) -> list[bytes]:
        return sorted(line for path in out.glob(pattern) for line in path.read_bytes().split(b"\n")[:-1])

    summary = json.loads((out / "summary.json").read_bytes())
    del summary["fingerprint"]  # of files as each file system knows them
    return Said(lines("decisions-*.ndjson"), lines("drafts-*.ndjson"), lines("set-aside.ndjson"), summary)


def by_spark(folder: Path, out: Path, desk: Desk) -> Said:
    from bhi_fhir.jobs.bulk.spark import engine

    engine.bulk(desk, str(folder), str(out), today=desk.month.last_day)
    return said(out)


def by_both(folder: Path, home: Path, desk: Desk = DESK) -> Said:
    run(folder, home / "local", desk)
    found = by_spark(folder, home / "spark", desk)
    assert found == said(home / "local")
    return found


def cut(tmp_path: Path, more: str = "") -> Desk:
    """The example's site with a configuration of Spark."""
    folder = tmp_path / "site"
    folder.mkdir()
    conf = "\n".join(f'"{key}" = "{value}"' for key, value in CUT.items())
    text = f"{(SITE / 'site.toml').read_text()}\n[bulk.spark.conf]\n{conf}\n{more}"
    (folder / "site.toml").write_text(text)
    return Desk.open(folder, MONTH)


# -- the same answers -------------------------------------------------------------------------------


def as_one_of_many(name: str, number: int) -> list[str]:
    """A golden record whose ids and NPIs nobody else has: all of them stand in one export."""
    found = same.entries(same.GOLDEN / "cases" / f"{name}.bundle.json")
    names = "|".join(re.escape(f"{each['resourceType']}/{each['id']}") for each in found)
    renamed = [{**each, "id": f"g{number}-{each['id']}"} for each in found]
    lines = [re.sub(rf"\b({names})(?![\w.-])", lambda m: m[1].replace("/", f"/g{number}-"), t) for t in texts(renamed)]
    return [re.sub(r'"9\d{3}(\d{6})"', rf'"9{number:03d}\1"', line) for line in lines]


def test_golden_records_are_decided_as_by_evaluate(session: SparkSession, tmp_path: Path) -> None:
    runs: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for name in same.CASES:
        answer = json.loads((same.GOLDEN / "cases" / f"{name}.expected.json").read_text())
        runs[(answer["month"], *(f"{key}={value}" for key, value in answer.get("set", {}).items()))].append(name)
    for number, ((month, *switches), names) in enumerate(runs.items()):
        desk = Desk.open(same.GOLDEN / "site", month, tuple(switches))
        home = tmp_path / str(number)
        home.mkdir()
        records = [as_one_of_many(name, place) for place, name in enumerate(names)]
        folder = write(home / "in", scattered([line for record in records for line in record], number))
        found = by_spark(folder, home / "spark", desk)
        run(folder, home / "local", desk, overrides=tuple(switches))
        assert found == said(home / "local")
        alone = [by_evaluate(record, home / "one.ndjson", desk) for record in records]
        assert found.drafts == sorted(draft for each in alone for draft in each.drafts)
        lines = {one["patient"]: one["lines"] for one in map(json.loads, found.decisions)}
        assert lines == {who: json.loads(said_)["lines"] for each in alone for who, said_ in each.decisions.items()}
    assert sum(map(len, runs.values())) == len(same.CASES) > 60


def export(folder: Path) -> Path:
    """Every kind of trouble that concerns single patients, in files of every kind."""
    import zstandard

    patients = [json.loads(line) for line in BOTH]
    patients = same.replaced(patients, "maria", '{"identifier": {"system": "urn:mrn", "value": "77"}}')
    next(r for r in patients if r["id"] == "maria")["identifier"] = [{"system": "urn:mrn", "value": "77"}]
    old = same.replaced(cocm_record(MONTH, "survivor").work(80).resources, "survivor", '{"reference": "Patient/old"}')
    merged = {"resourceType": "Patient", "id": "old", "link": [
        {"other": {"reference": "Patient/survivor"}, "type": "replaced-by"}]}  # fmt: skip
    moved = general_record(MONTH, "moved").work(30).resources
    twice = [{**r, "subject": {"reference": "Patient/walter"}, "meta": {"lastUpdated": "2027-01-01T00:00:00Z"}}
             for r in moved if r["resourceType"] == "Encounter"]  # fmt: skip
    undecidable = [{**r, "language": "de"} for r in old if r["resourceType"] == "Condition"]
    misshapen = {"resourceType": "Encounter", "id": "odd", "subject": {"reference": "Patient/walter"}, "length": 7}
    lines = list(dict.fromkeys(texts([*patients, *old, merged, *moved, *twice, *undecidable, misshapen, misshapen])))
    lines += [TORN, TORN, *same.examples()]
    no_zone = [t.replace(":00-05:00", ":00") for t in texts(general_record(MONTH, "zoneless").work(30).resources)]
    files = scattered([*lines, *no_zone], 11)
    name, *_ = files
    files["b c/ä#1%20[x]{y}.ndjson"] = files.pop(name)
    write(folder, files)
    (folder / "windows.NDJSON").write_bytes(b"\xef\xbb\xbf" + "\r\n\r\n".join(texts(two("crlf"))).encode())
    many = {"resourceType": "Observation", "subject": {"reference": "Patient/many"}}
    long = json.dumps({**many, "subject": {"reference": "Patient/walter"}, "text": "x" * (17 << 20)})
    (folder / "many.ndjson.gz").write_bytes(
        gzip.compress("\n".join([*(json.dumps({**many, "id": f"m{i}"}) for i in range(20_001)), long]).encode())
    )
    frames = [zstandard.compress("\n".join(texts(two("packed"))).encode())]
    (folder / "c.jsonl.zst").write_bytes(b"".join(frames))
    (folder / "manifest.json").write_text("{}")
    return folder


def two(name: str) -> list[dict[str, Any]]:
    return general_record(MONTH, name).work(30).resources


def test_an_export_with_every_kind_of_trouble(
    session: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected, plans = watched(monkeypatch)
    found = by_both(export(tmp_path / "in"), tmp_path, cut(tmp_path))
    reasons = {json.loads(line)["reason"] for line in found.aside}
    assert {reason.split()[0] for reason in reasons} >= {"its", "the", "it"}
    assert any("longer than 16 MiB" in reason for reason in reasons)
    assert any("more than 20000 resources" in reason for reason in reasons)
    assert any("given twice" in reason for reason in reasons)
    assert found.summary["tally"]["not_whole"] >= 2
    assert found.summary["tally"]["patients"] > 20
    assert found.summary["for_all"] == []
    assert_owner_only(tmp_path / "spark")

    [plan] = plans
    assert plan.count("Exchange hashpartitioning(home") == plan.count("Exchange") == 1
    held = [row for row in collected if any(b"Patient/" in as_bytes(value) for value in row)]
    told = [row for row in held if set(json.loads(row[0])) == {"file", "at", "resource", "reason"}]
    assert held == told, "only what the command itself tells comes to the driver"
    assert len(told) <= 10


def watched(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Any], list[str]]:
    """Every row that comes to the driver, and the plan by which patients are decided."""
    from pyspark.sql.classic.dataframe import DataFrame as Frame

    from bhi_fhir.jobs.bulk.spark import engine

    rows: list[Any] = []
    plans: list[str] = []
    collect, decided = Frame.collect, engine.Run.decided

    def collecting(self: Any) -> Any:
        found = collect(self)
        rows.extend(found)
        return found

    def planned(self: Any, given: Any) -> DataFrame:
        frame = decided(self, given)
        plans.append(frame._jdf.queryExecution().executedPlan().toString())
        return frame

    monkeypatch.setattr(Frame, "collect", collecting)
    monkeypatch.setattr(engine.Run, "decided", planned)
    for way in ("toPandas", "toArrow", "toLocalIterator", "foreach"):
        monkeypatch.delattr(Frame, way)
    return rows, plans


def as_bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | bytearray) else str(value).encode()


def assert_owner_only(out: Path) -> None:
    assert out.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o600}
    assert not [path for path in out.iterdir() if path.name.startswith((".", "_"))]


def test_what_is_withheld_from_everybody_is_told_to_everybody_in_the_same_words(
    session: SparkSession, tmp_path: Path
) -> None:
    nobody = [
        json.dumps({"resourceType": kind, "id": f"{kind}{i}"}) for kind in ("Consent", "Claim") for i in range(60)
    ]
    broken = [
        '{"resourceType": "Consent", "id"',
        '{"resourceType": "OperationOutcome"}',
        "no JSON",
        "[1]",
        '{"resourceType": "Practitioner", "id": "x", "identifier": 7}',
        '{"entry": [], "resourceType": "Bundle"}',
    ]
    folder = write(tmp_path / "in", scattered([*BOTH, *nobody, *broken, *nobody], 3))
    (folder / "empty.ndjson").write_bytes(b"")
    (folder / "half.ndjson.part").write_bytes(b"{}")
    (folder / "torn.ndjson.gz").write_bytes(gzip.compress(os.urandom(2 << 20).hex().encode())[:-400])
    (folder / "no.ndjson.zst").write_bytes(b"no zst")
    found = by_both(folder, tmp_path, cut(tmp_path))
    assert len(found.summary["for_all"]) > 100
    assert len(found.aside) > 240
    assert found.summary["tally"]["not_whole"] == found.summary["tally"]["patients"] == 2


def test_a_table_in_and_a_table_out(session: SparkSession, tmp_path: Path) -> None:
    """As Delta is: by the names of formats in site.toml. Parquet is what every Spark has."""
    session.createDataFrame([(line,) for line in BOTH], "resource string").coalesce(1).write.parquet(
        str(tmp_path / "table")
    )
    formats = '[bulk.spark.input]\nformat = "parquet"\ncolumn = "resource"\n[bulk.spark.output]\nformat = "parquet"\n'
    desk = cut(tmp_path, formats)
    from bhi_fhir.jobs.bulk.spark import engine

    done = engine.bulk(desk, str(tmp_path / "table"), str(tmp_path / "out"), today=desk.month.last_day)
    run(write(tmp_path / "in", {"a.ndjson": BOTH}), tmp_path / "local", desk)
    expected = said(tmp_path / "local")
    lines = session.read.parquet(str(tmp_path / "out" / "lines"))
    for what, theirs in (("decisions", expected.decisions), ("drafts", expected.drafts), ("set-aside", expected.aside)):
        assert sorted(row.value.encode() for row in lines.where(lines.what == what).collect()) == theirs
    assert done.summary.tally.patients == expected.summary["tally"]["patients"] == 2


# -- the command ------------------------------------------------------------------------------------


def command(folder: Path | str, out: Path, *more: str, where: Path = SITE) -> Result:
    base = ["bulk", "--engine", "spark", "--site", str(where), "--month", MONTH, "--out", str(out), *more]
    return CliRunner().invoke(cli, [*base, str(folder)])


def test_the_command_says_what_came_of_it_and_what_is_there_already(session: SparkSession, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.ndjson": [*BOTH, '{"resourceType": "Consent", "id": "x"}']})
    out = tmp_path / "out"
    done = command(folder, out)
    assert done.exit_code == 1, done.output
    assert "patients" in done.stdout
    assert f"set aside: a.ndjson line {len(BOTH) + 1} Consent/x: it names no patient" in done.stderr
    assert "WITHHELD FROM EVERY PATIENT" in done.stderr
    assert "it was there already" in command(folder, out).stdout
    (folder / "more.ndjson").write_text("{}\n")
    assert_refused(command(folder, out), "not this run's")
    out.rename(tmp_path / "out.partial")
    assert_refused(command(folder, out), "left unfinished")
    assert not out.exists()


def test_what_is_wrong_is_said_in_one_sentence(session: SparkSession, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(command(tmp_path / "empty", tmp_path / "out"), "NDJSON")
    assert_refused(command(tmp_path / "nothing", tmp_path / "out"), "no folder")
    assert_refused(command("nowhere://x/y", tmp_path / "out"), "Spark did not finish")
    assert_refused(command(tmp_path, tmp_path / "out", "--processes", "2"), "--processes")
    folder = write(tmp_path / "in", {"_a.ndjson": BOTH})
    assert_refused(command(folder, tmp_path / "out"), "begins with _")
    where = cut(tmp_path, '[bulk.spark.input]\nformat = "no-such-format"\n').folder
    assert_refused(command(folder, tmp_path / "out", where=where), "Spark did not finish (SparkClassNotFound")
    assert not list(tmp_path.glob("out*"))


def assert_refused(done: Result, sentence: str) -> None:
    """`main` makes one sentence and status 2 of such an error."""
    if isinstance(done.exception, BhiError):
        assert sentence in str(done.exception)
    else:
        assert done.exit_code == 2
        assert sentence in done.output


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        ("sys.modules['pyspark'] = None", "pip install 'bhi-fhir[spark]'"),
        ("os.environ.pop('JAVA_HOME', 0); os.environ['PATH'] = '/nowhere'", "needs Java 17"),
    ],
    ids=["no PySpark", "no Java"],
)
def test_without_what_spark_needs_the_command_says_so(prepare: str, sentence: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "in", {"a.ndjson": BOTH})
    arguments = ["bulk", "--engine", "spark", "--site", SITE, "--month", MONTH, "--out", tmp_path / "out", folder]
    program = f"import os, sys; {prepare}; from bhi_fhir.cli import main; main()"
    words = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert sentence in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "wrong",
    [
        '[bulk.spark]\nengine = "x"\n',
        '[bulk.spark.conf]\n"master" = "x"\n',
        '[bulk.spark.conf]\n"spark.hadoop.fs.s3a.secret.key" = "hush"\n',
        '[bulk.spark.output.options]\nauthToken = "hush"\n',
    ],
)
def test_a_site_that_configures_what_does_not_exist_is_refused(wrong: str, tmp_path: Path) -> None:
    where = site(tmp_path / "site")
    (where / "site.toml").write_text((where / "site.toml").read_text() + wrong)
    with pytest.raises(UsageError, match=r"site\.toml.*bulk\.spark") as refused:
        Desk.open(where, MONTH)
    assert "hush" not in str(refused.value)
