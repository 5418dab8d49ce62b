"""What is read: NDJSON files or a table, as data frames of numbered lines.

Plain files are read by Spark's text source, in blocks; packed ones whole, one a task (binaryFile: 2 GiB packed). Tables
(Delta, Parquet) have a resource in a column; the line is then the row of its data file.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from itertools import groupby
from operator import itemgetter
from pathlib import PurePosixPath
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_schema

from bhi_fhir.errors import UsageError
from bhi_fhir.jobs import files as limits
from bhi_fhir.jobs.bulk.job import check
from bhi_fhir.jobs.bulk.lines import KEPT, Listed, kind_of
from bhi_fhir.jobs.bulk.spark import tasks
from bhi_fhir.jobs.bulk.spark.store import Store
from bhi_fhir.jobs.bulk.spark.tasks import Places, Read
from bhi_fhir.settings import SparkInput

LARGEST = (1 << 31) - 1
"""Of a packed file, in bytes: Spark reads it whole."""


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


def files(session: SparkSession, folder: Store) -> Export:
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


def table(session: SparkSession, folder: Store, asked: SparkInput) -> Export | None:
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
