"""From an export to a folder that is whole: surveyed, known, decided, written."""

from __future__ import annotations

from datetime import date
from functools import partial, reduce
from operator import attrgetter
from typing import Any

import msgspec
from pyspark import StorageLevel
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from pyspark.sql.pandas.types import from_arrow_schema

from bhi_fhir.domain.record import SetAside, Withheld
from bhi_fhir.jobs.bulk.job import Trouble, troubles
from bhi_fhir.jobs.bulk.joining import homes_of, unread
from bhi_fhir.jobs.bulk.run import TOLD, Summary
from bhi_fhir.jobs.bulk.spark import tasks
from bhi_fhir.jobs.bulk.spark.export import Export
from bhi_fhir.jobs.bulk.spark.store import Store
from bhi_fhir.jobs.bulk.spark.tasks import Given, Line
from bhi_fhir.jobs.bulk.tally import Tally, add
from bhi_fhir.jobs.bulk.withholding import shortened
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.record import Record
from bhi_fhir.policy.model import RULESET

SHARE = 64 * 1024 * 1024
"""Of the export, for each partition of the patients."""
_LINES = ("decisions", "drafts")


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
