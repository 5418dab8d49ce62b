"""The same run on Spark: for exports that outgrow a machine.

Each task calls what the local engine calls (spark_tasks.py). The lines are read three times: counted (a line's number
is known when the blocks before it have been counted), surveyed (what must be known before anybody is decided), and
then shuffled, once, by patient and decided. The driver holds what is the same for everybody (staff, what is withheld
from all), 64-bit marks of patients who belong together, and counts; no patient's lines.

Plain files are read by Spark's text source, in blocks; packed ones whole, one a task (binaryFile: 2 GiB packed). Tables
(Delta, Parquet) have a resource in a column; the line is then the row of its data file. A run that was cut off begins
anew. Needs a Spark that gives its JVM to Python: not Spark Connect.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from functools import partial, reduce
from itertools import groupby
from operator import attrgetter, itemgetter
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from bhi_fhir.domain.record import SetAside, Withheld
from bhi_fhir.errors import BhiError, UsageError
from bhi_fhir.jobs import files as limits
from bhi_fhir.jobs.bulk.job import Trouble, check, fingerprint, troubles
from bhi_fhir.jobs.bulk.joining import homes_of, unread
from bhi_fhir.jobs.bulk.lines import KEPT, PIECE, Listed, kind_of
from bhi_fhir.jobs.bulk.run import TOLD, Done, Summary, same_run
from bhi_fhir.jobs.bulk.tally import Tally, add
from bhi_fhir.jobs.bulk.withholding import shortened
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.record import Record
from bhi_fhir.policy.model import RULESET
from bhi_fhir.settings import Spark, SparkInput

try:
    from py4j.protocol import Py4JJavaError
    from pyspark import StorageLevel
    from pyspark.errors import PySparkException
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql import functions as f
    from pyspark.sql.pandas.types import from_arrow_schema

    from bhi_fhir.jobs.bulk import spark_tasks as tasks
    from bhi_fhir.jobs.bulk.spark_tasks import Given, Line, Places, Read
except ImportError as missing:
    raise UsageError("--engine spark needs PySpark: pip install 'bhi-fhir[spark]'") from missing

SHARE = 64 * 1024 * 1024
"""Of the export, for each partition of the patients."""
LARGEST = (1 << 31) - 1
"""Of a packed file, in bytes: Spark reads it whole."""
_SETTINGS = {
    # Blocks are cut alike each time that the export is read, however many cores there are at that moment.
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 * 1024 * 1024),
}
_LINES = ("decisions", "drafts")


def bulk(desk: Desk, folder: str, out: str, *, today: date) -> Done:
    """Decide an export. `folder`, `out`: paths or URLs that Spark knows. UsageError if `out` is something else's."""
    with _session(desk.site.bulk.spark) as session, _plainly():
        source, target = Store(session, folder), Store(session, out)
        export = _table(session, source, desk.site.bulk.spark.input) or _files(session, source)
        asked = fingerprint(desk, export.files)
        partial_ = Store(session, f"{out.rstrip('/')}.partial")
        if target.exists():
            if partial_.exists():
                raise UsageError(
                    f"{out} is not whole (its run was cut off at the very end): remove it and {out}.partial"
                )
            summary = same_run(out, target.read("summary.json"), asked)
            return Done(out, summary, again=True, told=[])
        with _alone(partial_, asked):
            summary, told = Run(session, desk, export, partial_, today).decide(asked)
        partial_.rename_to(target)
        return Done(out, summary, again=False, told=told)


# -- Spark --------------------------------------------------------------------------------------------


@contextmanager
def _session(asked: Spark) -> Iterator[SparkSession]:
    """Of the Spark that is already there, or of one that is started and stopped here."""
    there = SparkSession.getActiveSession()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the tasks run with the first python3 on the PATH
    builder = SparkSession.builder.appName("bhi-fhir bulk").config("spark.ui.showConsoleProgress", "false")
    for key, value in asked.conf.items():
        builder = builder.config(key, value)
    try:
        session = builder.getOrCreate()
    except (PySparkException, OSError) as error:
        said = "Spark does not start: it needs Java 17 or newer (on the PATH, or JAVA_HOME) and a [bulk.spark.conf]"
        raise UsageError(f"{said} that it understands") from error
    mine = session.newSession()
    for key, value in {**_SETTINGS, "spark.sql.files.maxPartitionBytes": str(PIECE), **asked.conf}.items():
        if mine.conf.isModifiable(key):
            mine.conf.set(key, value)
    try:
        yield mine
    finally:
        if there is None:
            session.stop()


@contextmanager
def _plainly() -> Iterator[None]:
    """What Spark says may hold what it reads, so only the kind of it is repeated; Spark's log has the rest."""
    try:
        yield
    except Py4JJavaError as error:
        raise _failed(error.java_exception.getClass().getSimpleName()) from error
    except PySparkException as error:
        raise _failed(error.getCondition() or type(error).__name__) from error


def _failed(kind: str) -> BhiError:
    return BhiError(f"Spark did not finish ({kind}): its log says why; the same command begins anew")


class Store:
    """A folder wherever Spark's file systems have it; Python knows nothing of them."""

    def __init__(self, session: SparkSession, url: str) -> None:
        jvm: Any = session._jvm
        self._hadoop, self._bytes = jvm.org.apache.hadoop.fs, jvm.org.apache.commons.io.IOUtils
        self.url, self._session = url, session
        self._path = self._hadoop.Path(url)
        found = self._path.getFileSystem(session._jsparkSession.sessionState().newHadoopConf())
        self._path = found.makeQualified(self._path)
        self.is_local = found.getScheme() == "file"
        self._files = found.getRawFileSystem() if self.is_local else found  # else with hidden checksums beside

    @property
    def local(self) -> Path:
        return Path(self._path.toUri().getPath())

    def at(self, name: str) -> str:
        return f"{self.url.rstrip('/')}/{name}"

    def _in(self, name: str) -> Any:
        return self._hadoop.Path(self._path, name) if name else self._path

    def exists(self, name: str = "") -> bool:
        return bool(self._files.exists(self._in(name)))

    def statuses(self, name: str = "") -> Iterator[Any]:
        """Hadoop's FileStatus of every file below."""
        found = self._files.listFiles(self._in(name), True)
        while found.hasNext():
            yield found.next()

    def name_of(self, status: Any) -> str:
        full: str = status.getPath().toUri().getPath()
        return full.removeprefix(self._path.toUri().getPath()).lstrip("/")

    def read(self, name: str) -> bytes:
        """b"" if it is not there."""
        if not self.exists(name):
            return b""
        stream = self._files.open(self._in(name))
        try:
            return bytes(self._bytes.toByteArray(stream))
        finally:
            stream.close()

    def write(self, name: str, data: bytes) -> None:
        stream = self._files.create(self._in(name), True)
        try:
            stream.write(data)
        finally:
            stream.close()

    def make(self) -> None:
        """A folder for its owner only, as far as the file system knows owners."""
        self._files.mkdirs(self._path)
        self._files.setPermission(self._path, self._hadoop.permission.FsPermission("700"))

    def close_to_others(self) -> None:
        for status in list(self.statuses()):
            self._files.setPermission(status.getPath(), self._hadoop.permission.FsPermission("600"))

    def rename(self, name: str, to: str) -> None:
        if not self._files.rename(self._in(name), self._in(to)):
            raise BhiError(f"{self.at(name)} cannot be renamed to {to}")

    def rename_to(self, other: Store) -> None:
        if not self._files.rename(self._path, other._path):
            raise BhiError(f"{self.url} is whole, but cannot be renamed to {other.url}: rename it")

    def remove(self, name: str) -> None:
        self._files.delete(self._in(name), True)


@contextmanager
def _alone(store: Store, asked: str) -> Iterator[None]:
    """An empty folder. Nobody else works in it: that can be said of local folders only."""
    if store.exists() and store.read("run.json") != asked.encode():
        raise UsageError(f"{store.url} is what another run left unfinished: run that one again, or remove the folder")
    with ExitStack() as stack:
        if store.is_local:
            try:
                stack.enter_context(FileLock(store.local.with_name(f"{store.local.name}.lock"), timeout=0))
            except Timeout as error:
                raise UsageError(f"another run writes to {store.url}: wait for it, or name another --out") from error
        store.remove("")
        store.make()
        store.write("run.json", asked.encode())
        yield
        if store.is_local:
            store.local.with_name(f"{store.local.name}.lock").unlink(missing_ok=True)


# -- the export ---------------------------------------------------------------------------------------


class Export:
    """What is read: data frames, each with the function that makes lines of it."""

    def __init__(self, files: list[Listed], urls: list[str]) -> None:
        self.files = files
        self.places = Places([each.name for each in files], {url: place for place, url in enumerate(urls)}, {})
        self.parts: list[tuple[DataFrame, Read]] = []
        self.counted = 0

    def read_blocks(self, lines: DataFrame, blocks: list[tuple[str, int, int, int]]) -> None:
        """Read a frame of `_lines`; lines are numbered by those that stand before their block."""
        for url, of_it in groupby(blocks, itemgetter(0)):
            before = 0
            for _, block, count, _ in of_it:
                self.places.before[url, block] = before
                before += count
            self.counted += before
        self.parts.append((lines, tasks.blocks))

    def over(self, task: Callable[..., Any], given: Any, schema: Any) -> DataFrame:
        """A task over all lines."""
        found = [frame.mapInArrow(partial(task, read, given), from_arrow_schema(schema)) for frame, read in self.parts]
        return reduce(DataFrame.union, found)


def _files(session: SparkSession, folder: Store) -> Export:
    if not folder.exists():
        raise UsageError(f"{folder.url} is no folder: name the folder with the export's NDJSON files")
    found = sorted(((PurePosixPath(folder.name_of(s)), s) for s in folder.statuses()), key=lambda pair: pair[0])
    found = [(name, s) for name, s in found if not any(part.startswith(".") for part in name.parts)]
    listed = [Listed(str(name), kind_of(str(name)), s.getLen(), s.getModificationTime()) for name, s in found]
    check(listed, folder.url)
    export = Export(listed, [_url(s.getPath().toUri().toString()) for _, s in found])
    paths: dict[bool, list[str]] = {True: [], False: []}
    for each, (name, status) in zip(listed, found, strict=True):
        if not each.kind or not each.size:
            continue
        if any(part.startswith("_") for part in name.parts):
            raise UsageError(f"{name}: Spark does not read what begins with _: rename it, or take it out of the export")
        if each.kind != "plain" and each.size > LARGEST:
            raise UsageError(f"{name} is packed and larger than 2 GiB: unpack it, or pack it in parts")
        paths[each.kind == "plain"].append(_no_pattern(status.getPath().toString()))
    if paths[True]:
        reader = session.read.option("recursiveFileLookup", "true").option("lineSep", "\n")
        plain = reader.text(paths[True])
        export.read_blocks(_lines(plain, "value"), _blocks(plain))
    if paths[False]:
        whole = session.read.format("binaryFile").option("recursiveFileLookup", "true").load(paths[False])
        export.parts.append((whole.select(_url_column(), "content"), tasks.packed))
    return export


def _blocks(frame: DataFrame) -> list[tuple[str, int, int, int]]:
    """(URL of a file, where a block of it begins, lines in the block, size of the file) in order."""
    found = frame.groupBy(_url_column(), f.col("_metadata.file_block_start").alias("block"))
    counted = found.agg(f.count("*"), f.max("_metadata.file_size"))
    return sorted((row[0], row[1], row[2], row[3]) for row in counted.collect())


def _table(session: SparkSession, folder: Store, asked: SparkInput) -> Export | None:
    """A table; None where the export is NDJSON."""
    if asked.format == "ndjson":
        return None
    table = session.read.format(asked.format).options(**asked.options).load(folder.url)
    blocks = _blocks(table)
    if not blocks:
        raise UsageError(f"{folder.url} is a table without rows")
    sizes = {url: size for url, _, _, size in blocks}
    export = Export([Listed(url.rpartition("/")[2], "plain", size, 0) for url, size in sizes.items()], list(sizes))
    export.read_blocks(_lines(table, asked.column), blocks)
    return export


def _lines(frame: DataFrame, column: str) -> DataFrame:
    """(url, block, length, text): of a line that is too long only its beginning leaves Spark."""
    value = f.col(column)
    text, length = value.cast("string").cast("binary"), f.octet_length(value) + 1
    held = f.when(length <= limits.MAX_LINE + 2, text).otherwise(f.substring(text, 1, KEPT))
    block = f.col("_metadata.file_block_start").alias("block")
    whole = f.coalesce(length, f.lit(1)).cast("bigint").alias("length")
    return frame.select(_url_column(), block, whole, f.coalesce(held, f.lit(b"")).alias("text"))


def _url_column() -> Any:
    return f.regexp_replace("_metadata.file_path", "^file:/+", "file:/").alias("url")


def _url(url: str) -> str:
    return f"file:/{url.removeprefix('file:').lstrip('/')}" if url.startswith("file:") else url


def _no_pattern(path: str) -> str:
    """A path with what Spark would take for a pattern."""
    return "".join(f"\\{each}" if each in "{}[]*?\\" else each for each in path)


# -- the run ------------------------------------------------------------------------------------------


class Run:
    """From an export to a folder that is whole."""

    def __init__(self, session: SparkSession, desk: Desk, export: Export, out: Store, today: date) -> None:
        self.session, self.desk, self.export, self.out, self.today = session, desk, export, out, today
        self.tally = Tally()

    def decide(self, asked: str) -> tuple[Summary, list[SetAside]]:
        export = self.export
        surveyed = export.over(tasks.survey, self._given(export.places), tasks.SURVEYED)
        surveyed = surveyed.persist(StorageLevel.DISK_ONLY)
        given, aside = self._know(surveyed)
        asides = surveyed.where("what = 'aside'").select(f.lit("set-aside"), f.col("text").cast("string"))
        mine = [("set-aside", msgspec.json.encode(each).decode()) for each in aside]
        told = self.session.createDataFrame(mine, from_arrow_schema(tasks.DECIDED))
        self._write(self.decided(given).union(asides).union(told))
        surveyed.unpersist()
        summary = Summary(
            month=str(self.desk.month),
            ruleset=RULESET,
            fingerprint=asked,
            files=len(export.files),
            resources=export.counted,
            tally=self.tally,
            for_all=[held.reason for held in given.for_all],
        )
        return summary, self._finish(summary)

    def decided(self, given: Given) -> DataFrame:
        """The one shuffle of the lines."""
        size = sum(each.size * (1 if each.kind == "plain" else 10) for each in self.export.files if each.kind)
        partitions = max(2 * self.session.sparkContext.defaultParallelism, size // SHARE)
        shared = self._given(given)
        lines = self.export.over(tasks.owned, shared, tasks.OWNED).repartition(partitions, "home")
        in_order = lines.sortWithinPartitions("home", "place", "number")
        return in_order.mapInArrow(partial(tasks.decided, shared), from_arrow_schema(tasks.DECIDED))

    def _given(self, value: Any) -> Any:
        return self.session.sparkContext.broadcast(value)

    def _know(self, surveyed: DataFrame) -> tuple[Given, list[SetAside]]:
        """Everything that a task cannot know by itself; and what is set aside here."""
        said = _for_everybody(surveyed)
        trouble = self._trouble(said["packed"])
        staff = [Line(row.place, row.number, len(row.text), bytes(row.text)) for row in said["shared"]]
        read = Record.read(map(self.export.places.source, staff))
        held = [*unread(trouble)]
        for row in said["for_all"]:
            held += msgspec.json.decode(row.text, type=list[Withheld])
        held += shortened([part for _, part in read.withheld])
        for row in said["tally"]:
            self.tally.add(msgspec.json.decode(row.text, type=Tally))
        aside = [*(SetAside(file, "", "", reason) for file, reason, _ in trouble), *read.set_aside]
        add(self.tally.set_aside, ((each.reason, 1) for each in aside))
        homes = homes_of((row[0], row[1]) for row in self._ties(surveyed).collect())
        return Given(self.desk, self.today, self.export.places, staff, shortened(held), homes), aside

    def _trouble(self, packed: list[Any]) -> list[Trouble]:
        broken = []
        for row in packed:
            broken.append((self.export.places.names[row.place], row.text.decode()))
            self.export.counted += row.a
        return troubles(self.export.files, broken)

    def _ties(self, surveyed: DataFrame) -> DataFrame:
        """Pairs of owners, by their marks, who are decided together."""
        names = surveyed.where("what = 'name'").select("a", "b")
        several = names.groupBy("a").agg(f.min("b").alias("one"), f.max("b").alias("other")).where("one < other")
        ties = several.join(names, "a").where("one < b").select("one", "b").distinct()
        ties = ties.union(surveyed.where("what = 'tie'").select("a", "b"))
        asked = surveyed.where("what = 'asked'").select(f.col("a").alias("asks"), f.col("text").alias("identifier"))
        if asked.isEmpty():
            return ties
        carried = self.export.over(tasks.carriers, self._given(self.export.places), tasks.CARRIED)
        first = carried.groupBy("identifier").agg(f.min(f.struct("key", "owner")).alias("first"))
        return ties.union(asked.distinct().join(first, "identifier").select("asks", "first.owner"))

    # -- what is written ------------------------------------------------------------------------------

    def _write(self, everything: DataFrame) -> None:
        asked = self.desk.site.bulk.spark.output
        writer = everything.write.partitionBy("what")
        (writer.options(**asked.options) if asked.format == "ndjson" else writer).text(self.out.at("parts"))
        for row in self._parts("tally").collect():
            self.tally.add(msgspec.json.decode(row.value, type=Tally))

    def _parts(self, what: str) -> DataFrame:
        if not self.out.exists(f"parts/what={what}"):
            return self.session.createDataFrame([], "value string")
        return self.session.read.text(self.out.at(f"parts/what={what}"))

    def _finish(self, summary: Summary) -> list[SetAside]:
        asked = self.desk.site.bulk.spark.output
        told = [msgspec.json.decode(row.value, type=SetAside) for row in self._parts("set-aside").limit(TOLD).collect()]
        if asked.format == "ndjson":
            for what in _LINES:
                self._name(what)
            self._gather("set-aside")
        else:
            lines = reduce(
                DataFrame.union, (self._parts(what).withColumn("what", f.lit(what)) for what in (*_LINES, "set-aside"))
            )
            writer = lines.write.format(asked.format).options(**asked.options).partitionBy("what")
            writer.save(self.out.at("lines"))
        self.out.write("summary.json", summary.json())
        for name in ("parts", "gathered", "run.json"):
            self.out.remove(name)
        self.out.close_to_others()
        return told

    def _name(self, what: str) -> None:
        """The parts by names as the local engine gives them."""
        parts = self._files_of(f"parts/what={what}")
        for number, part in enumerate(parts, 1):
            packed = part.rpartition(".txt")[2]
            self.out.rename(part, f"{what}-{number:05d}-of-{len(parts):05d}.ndjson{packed}")

    def _gather(self, what: str) -> None:
        """All in one file."""
        self._parts(what).coalesce(1).write.text(self.out.at("gathered"))
        parts = self._files_of("gathered")
        if parts:
            self.out.rename(parts[0], f"{what}.ndjson")
        else:
            self.out.write(f"{what}.ndjson", b"")

    def _files_of(self, folder: str) -> list[str]:
        if not self.out.exists(folder):
            return []
        names = sorted(self.out.name_of(status) for status in self.out.statuses(folder))
        return [name for name in names if name.rpartition("/")[2].startswith("part-")]


def _for_everybody(surveyed: DataFrame) -> dict[str, list[Any]]:
    """The rows of each kind that is the same for everybody, in the order of the lines."""
    kinds: dict[str, list[Any]] = {"packed": [], "shared": [], "for_all": [], "tally": []}
    rows = surveyed.where(f.col("what").isin(*kinds)).collect()
    for row in sorted(rows, key=attrgetter("place", "number")):
        kinds[row.what].append(row)
    return kinds
