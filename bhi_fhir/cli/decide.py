"""What a month comes to, from files: evaluate, bulk, explain."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click

from bhi_fhir.cli import options, saying


@click.command()
@options.SITE
@options.MONTH
@options.SET
@click.option("--format", "shape", type=click.Choice(["table", "json", "fhir"]), default="table", show_default=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def evaluate(site: Path, month: str, overrides: tuple[str, ...], shape: str, files: tuple[str, ...]) -> None:
    """Decide files: a Bundle, a resource, an array or NDJSON each; - is standard input."""
    from bhi_fhir.jobs.desk import Desk
    from bhi_fhir.jobs.evaluate import evaluate as run

    done = run(Desk.open(site, month, overrides), files)
    if shape == "json":
        click.echo(done.json())
    elif shape == "fhir":
        from bhi_fhir.jobs.bundle import bundle

        click.echo(bundle(done, saying.today(done.desk.site.zone)))
    else:
        from bhi_fhir.jobs.table import month_table

        saying.show(month_table((r.decision for r in done.results), month, saying.width(elsewhere=saying.WIDE)))
    saying.set_aside(done.set_aside)
    if found := len(done.in_several):
        who = "One patient stands" if found == 1 else f"{found} patients stand"
        said = f"{who} in several files, and each file was decided as a whole record by itself"
        click.echo(f"{said}: put a record into one file, or use bulk.", err=True)
    saying.refuse_unverified(done.desk.rules.unverified, month)
    gc.freeze()  # the end: Python need not search all that was made for cycles, a seventh of the whole command
    sys.exit(saying.SET_ASIDE if done.set_aside else 0)


@click.command()
@options.SITE
@options.MONTH
@options.SET
@click.option("--out", required=True, metavar="DIR", help="A folder to be made.")
@click.option("--engine", type=click.Choice(["local", "spark"]), default="local", show_default=True)
@click.option("--processes", default=0, type=click.IntRange(0, 256), help="How many; one for each core if left out.")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.argument("folder", metavar="NDJSON_DIR")
def bulk(
    site: Path, month: str, overrides: tuple[str, ...], out: str, engine: str, processes: int, shape: str, folder: str
) -> None:
    """Decide a Bulk Data export of any size: folders of NDJSON, also .gz or .zst. Goes on where it was cut off.

    With --engine spark, NDJSON_DIR and --out may be URLs that Spark knows; [bulk.spark] in site.toml is its
    configuration.
    """
    from bhi_fhir.jobs.bulk import report
    from bhi_fhir.jobs.bulk.run import bulk as run
    from bhi_fhir.jobs.desk import Desk
    from bhi_fhir.jobs.progress import counting

    desk = Desk.open(site, month, overrides)
    today = saying.today(desk.site.zone)
    if engine == "spark":
        if processes:
            raise click.UsageError("--processes is for the local engine: Spark has its own, see spark.master")
        from bhi_fhir.jobs.bulk.spark import engine as spark

        done = spark.bulk(desk, folder, out, today=today)
    else:
        processes = processes or _cores()
        done = run(desk, overrides, Path(folder), Path(out), processes=processes, today=today, showing=counting)
    click.echo(done.summary.json(), nl=False) if shape == "json" else report.show(saying.console(), done)
    saying.set_aside(done.told)
    report.say_more(done, folder)
    saying.refuse_unverified(desk.rules.unverified, month)
    tally = done.summary.tally
    sys.exit(saying.SET_ASIDE if tally.set_aside or not tally.patients else 0)


@click.command()
@options.SITE
@options.MONTH
@options.SET
@click.option("--patient", default="", metavar="REF", help="Only Patient/maria; maria will do.")
@click.option("--code", default="", metavar="CODE", help="Only this code, also if it is not billable.")
@click.option("--for", "reader", type=click.Choice(["biller", "care-manager", "both"]), default="both",
              show_default=True)  # fmt: skip
@click.option("--format", "shape", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def explain(
    site: Path,
    month: str,
    overrides: tuple[str, ...],
    patient: str,
    code: str,
    reader: str,
    shape: str,
    files: tuple[str, ...],
) -> None:
    """Say why: each line as a paragraph for an appeal, and what is missing until when.

    FILE is a record as for evaluate, or decisions that bulk wrote: those stay as they were decided, by that site.
    """
    from bhi_fhir.jobs import explain as explaining
    from bhi_fhir.jobs.desk import Desk

    done = explaining.decided(Desk.open(site, month, overrides), files, patient)
    found = explaining.explain(done, saying.today(done.desk.site.zone), reader, patient, code)
    if shape == "json":
        click.echo(explaining.json(done, found))
    else:
        click.echo(explaining.text(found, month, saying.width()))
    saying.set_aside(done.set_aside)
    saying.refuse_unverified(done.desk.rules.unverified, month)
    sys.exit(saying.SET_ASIDE if done.set_aside else 0)


def _cores() -> int:
    """Those that this process may use; macOS tells only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
