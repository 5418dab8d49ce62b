"""`bhi-fhir bulk --engine spark`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date

from filelock import FileLock, Timeout

from bhi_fhir.errors import BhiError, UsageError
from bhi_fhir.jobs.bulk.job import fingerprint
from bhi_fhir.jobs.bulk.lines import PIECE
from bhi_fhir.jobs.bulk.run import Done, same_run
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.settings import Spark

try:
    from py4j.protocol import Py4JJavaError
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    from bhi_fhir.jobs.bulk.spark.export import files, table
    from bhi_fhir.jobs.bulk.spark.run import Run
    from bhi_fhir.jobs.bulk.spark.store import Store
except ImportError as missing:
    raise UsageError("--engine spark needs PySpark: pip install 'bhi-fhir[spark]'") from missing

_SETTINGS = {
    # Blocks are cut alike each time that the export is read, however many cores there are at that moment.
    "spark.sql.files.minPartitionNum": "1",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "1000",
    "spark.sql.execution.arrow.maxBytesPerBatch": str(16 * 1024 * 1024),
}


def bulk(desk: Desk, folder: str, out: str, *, today: date) -> Done:
    """Decide an export. `folder`, `out`: paths or URLs that Spark knows. UsageError if `out` is something else's."""
    with _session(desk.site.bulk.spark) as session, _plainly():
        source, target = Store(session, folder), Store(session, out)
        export = table(session, source, desk.site.bulk.spark.input) or files(session, source)
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


@contextmanager
def _session(asked: Spark) -> Iterator[SparkSession]:
    """Of the Spark that is already there, or of one that is started and stopped here."""
    there = SparkSession.getActiveSession()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else the tasks run with the first python3 on the PATH
    progress = str(sys.stderr.isatty()).lower()  # Spark's own bar of each stage's tasks
    builder = SparkSession.builder.appName("bhi-fhir bulk").config("spark.ui.showConsoleProgress", progress)
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
