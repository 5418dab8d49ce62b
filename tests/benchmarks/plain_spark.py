"""A plain PySpark job of the same core: what somebody would write who has the core and knows the export to be tidy.

    python tests/benchmarks/plain_spark.py SITE MONTH FOLDER OUT

A regular expression says whose a line is, one shuffle by patient, mapInArrow. Nothing is numbered, nobody is merged,
nothing is withheld, lines are as they are: what `bulk --engine spark` does beyond this is what it costs more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from functools import cache, partial
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql import functions as f

from bhi_fhir.jobs.bulk.deciding import Files, Room, batches, decide, uncollected
from bhi_fhir.jobs.bulk.tally import Tally
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source

NAMED = r'"(?:subject|patient|beneficiary)":\{"reference":"Patient/([^"]+)"'
PATIENT = r'^\{"resourceType":"Patient","id":"([^"]+)"'


def main(site: str, month: str, folder: str, out: str) -> None:
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.config("spark.sql.files.maxPartitionBytes", str(32 << 20)).getOrCreate()
    lines = spark.read.text(folder)
    who = f.concat(f.regexp_extract("value", NAMED, 1), f.regexp_extract("value", PATIENT, 1))
    staff = [row.value for row in lines.where(f.col("value").rlike('^.{0,20}"(Practitioner|Organization)')).collect()]
    given = spark.sparkContext.broadcast((site, month, staff))
    patients = lines.select(who.alias("who"), "value").where("who != ''").repartition(4, "who")
    patients.sortWithinPartitions("who").mapInArrow(partial(decided, given), "line string").write.text(out)
    spark.stop()


@cache
def room(given: Any) -> Room:
    site, month, staff = given.value
    desk = Desk.open(Path(site), month)
    record = Record.read(Source("", "", line.encode()) for line in staff)
    return Room(desk, draft_run(desk, desk.month.last_day), record, [])


def decided(given: Any, found: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    tally, files = Tally(), Files(BytesIO(), BytesIO(), BytesIO())
    rows = ((who, text.encode()) for batch in found for who, text in zip(*(c.to_pylist() for c in batch), strict=True))
    patients = ([(0, Source("", "", text)) for _, text in mine] for _, mine in groupby(rows, lambda row: row[0]))
    with uncollected():
        for batch in batches((sum(len(line.json) for _, line in mine), mine) for mine in patients):
            decide(room(given), batch, tally, files)
            for stream in (files.decisions, files.drafts):
                stream.seek(0)
                lines = [line[:-1] for line in stream]
                yield pa.RecordBatch.from_arrays([pa.array(lines, pa.string())], names=["line"])
                stream.seek(0)
                stream.truncate()


if __name__ == "__main__":
    main(*sys.argv[1:])
