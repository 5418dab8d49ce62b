"""The command line. Only here errors become exit statuses.

0 done; 1 done, but some input was set aside; 2 wrong usage or configuration, or a full disk; 3 the FHIR server
refused or could not be reached; 70 a fault of this program; 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import errno
import gc
import os
import re
import select
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from bhi_fhir.errors import BhiError, ServerError

if TYPE_CHECKING:
    from rich.console import Console

    from bhi_fhir.domain.record import SetAside

SET_ASIDE, WRONG_USAGE, NO_SERVER = 1, 2, 3
_WIDE = 200
"""Characters of a page that is no terminal's."""
FAULT = 70
"""EX_SOFTWARE of sysexits.h: nothing that a user can mend."""

_SITE = click.option(
    "--site",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The site's folder (site.toml, maps).",
)
_MONTH = click.option("--month", required=True, metavar="YYYY-MM", help="The calendar month to decide.")


def _patient(_: click.Context, __: click.Parameter, text: str) -> str:
    """`Patient/rosa`, also where only `rosa` is written."""
    if not text or _PATIENT.fullmatch(text):
        return text
    if not _PATIENT.fullmatch(f"Patient/{text}"):
        raise click.BadParameter("name the patient as it is printed, such as Patient/rosa; rosa will do")
    return f"Patient/{text}"


_PATIENT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")
_SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of site.toml.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bhi-fhir")
def cli() -> None:
    """Decide which Medicare Behavioral Health Integration services a month supports, and say why."""


@cli.command()
@_SITE
@_MONTH
@_SET
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

        click.echo(bundle(done, _today(done.desk.site.zone)))
    else:
        from bhi_fhir.jobs.table import month_table

        _show(month_table((r.decision for r in done.results), month, _width(elsewhere=_WIDE)))
    _report_set_aside(done.set_aside)
    _refuse_unverified(done.desk.rules.unverified, month)
    gc.freeze()  # the end: Python need not search all that was made for cycles, a seventh of the whole command
    sys.exit(SET_ASIDE if done.set_aside else 0)


@cli.command()
@_SITE
@_MONTH
@_SET
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
    today = _today(desk.site.zone)
    if engine == "spark":
        if processes:
            raise click.UsageError("--processes is for the local engine: Spark has its own, see spark.master")
        from bhi_fhir.jobs.bulk.spark import engine as spark

        done = spark.bulk(desk, folder, out, today=today)
    else:
        processes = processes or _cores()
        done = run(desk, overrides, Path(folder), Path(out), processes=processes, today=today, showing=counting)
    click.echo(done.summary.json(), nl=False) if shape == "json" else report.show(_console(), done)
    report.say_set_aside(done, folder)
    _refuse_unverified(desk.rules.unverified, month)
    tally = done.summary.tally
    sys.exit(SET_ASIDE if tally.set_aside or not tally.patients else 0)


@cli.command()
@_SITE
@_MONTH
@_SET
@click.option("--write", is_flag=True, help="Deliver the drafts; without it they are only shown.")
@click.option("--afresh", is_flag=True, help="Begin anew, also if an earlier run of today was cut off.")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
def sync(site: Path, month: str, overrides: tuple[str, ...], write: bool, afresh: bool, shape: str) -> None:
    """Read the site's FHIR server, decide a month, and with --write deliver the drafts."""
    import asyncio

    from bhi_fhir.jobs import sync_report
    from bhi_fhir.jobs.desk import Desk
    from bhi_fhir.jobs.progress import showing
    from bhi_fhir.jobs.sync import sync as run

    desk = Desk.open(site, month, overrides)
    with showing("sync") as progress:
        job = run(desk, write=write, now=_now(), progress=progress, started=sync_report.say_roster, afresh=afresh)
        report = asyncio.run(job)
    if shape == "json":
        for piece in sync_report.json(report):
            click.echo(piece, nl=False)
    else:
        sync_report.show(_console(), report)
    for each in report.months() if report.tally["set aside"] else ():
        sync_report.say_set_aside(each.set_aside)
    _refuse_unverified(desk.rules.unverified, month)
    remarks = report.tally["set aside"] or not report.roster.patients
    sys.exit(NO_SERVER if report.incomplete else SET_ASIDE if remarks else 0)


@cli.command()
@_SITE
@_MONTH
@_SET
@click.option("--by", metavar="NAME", help="Approve, as this named person; without it lines are only shown.")
@click.option("--patient", default="", callback=_patient, metavar="REF", help="Only Patient/maria; maria will do.")
@click.option("--code", default="", metavar="CODE", help="Only this code.")
@click.option("--format", "shape", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
def approve(
    site: Path, month: str, overrides: tuple[str, ...], by: str | None, patient: str, code: str, shape: str
) -> None:
    """Show a month's lines and what is left to do; with --by release them as a named person."""
    import asyncio

    import msgspec

    from bhi_fhir.jobs import approving
    from bhi_fhir.jobs.desk import Desk

    desk = Desk.open(site, month, overrides)
    done = asyncio.run(approving.approve(desk, by, _now(), patient=patient, code=code)) if by is not None else []
    for each in done:
        click.echo(
            f"{each.outcome} {each.code} {each.reference or each.sink} {each.reason}".strip(), err=shape != "table"
        )
    rows = approving.standing(desk, patient, code)
    if shape == "json":
        click.echo(msgspec.json.encode(rows))
    elif shape == "csv":
        click.echo(approving.by_hand(desk), nl=False)
    else:
        approving.table(_console(), rows)
    sys.exit(SET_ASIDE if any(each.outcome not in {"approved", "created"} for each in done) else 0)


@cli.command()
@_SITE
@_MONTH
@_SET
@click.option(
    "--patient", required=True, callback=_patient, metavar="REF", help="Whose month: Patient/maria, or maria."
)
@click.option("--requirement", required=True, metavar="NAME", help="A review requirement, such as registry-tracking.")
@click.option("--by", required=True, metavar="NAME", help="Who vouches for it.")
@click.option("--because", required=True, metavar="TEXT", help="What was done, when and by whom.")
@click.option("--reference", required=True, metavar="REF", help="Where it is documented: Type/id, or in words.")
def attest(
    site: Path,
    month: str,
    overrides: tuple[str, ...],
    patient: str,
    requirement: str,
    by: str,
    because: str,
    reference: str,
) -> None:
    """Vouch, as a named person, for a review requirement that the record does not show."""
    import asyncio

    from bhi_fhir.jobs.approving import attest as run
    from bhi_fhir.jobs.desk import Desk

    desk = Desk.open(site, month, overrides)
    job = run(desk, by, _now(), patient=patient, requirement=requirement, because=because, reference=reference)
    click.echo(asyncio.run(job))


@cli.command()
@_SITE
@_MONTH
@_SET
@click.option("--patient", required=True, callback=_patient, metavar="REF", help="Whose line: Patient/maria, or maria.")
@click.option("--code", required=True, metavar="CODE")
@click.option("--by", required=True, metavar="NAME", help="Who found it out.")
@click.option("--arrived/--never-arrived", default=None, help="What became of the send that was not answered.")
def resolve(
    site: Path, month: str, overrides: tuple[str, ...], patient: str, code: str, by: str, arrived: bool | None
) -> None:
    """Say whether a send that was never answered arrived: nothing is sent again before that is known."""
    import asyncio

    if arrived is None:
        raise click.UsageError("Say what became of it: --arrived or --never-arrived.")
    from bhi_fhir.jobs.approving import say_what_became
    from bhi_fhir.jobs.desk import Desk

    desk = Desk.open(site, month, overrides)
    asyncio.run(say_what_became(desk, by, _now(), patient=patient, code=code, arrived=arrived))
    click.echo("Written down." if arrived else "Written down; the next sync --write sends it again.")


@cli.command()
@_SITE
@_MONTH
@_SET
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
    found = explaining.explain(done, _today(done.desk.site.zone), reader, patient, code)
    if shape == "json":
        click.echo(explaining.json(done, found))
    else:
        click.echo(explaining.text(found, month, _width()))
    _report_set_aside(done.set_aside)
    _refuse_unverified(done.desk.rules.unverified, month)
    sys.exit(SET_ASIDE if done.set_aside else 0)


@cli.command()
@click.option("--month", metavar="YYYY-MM", help="The calendar month; this month if it is left out.")
@click.option("--trace", is_flag=True, help="From each code to the booklet's sentences, and back.")
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
def codes(month: str | None, trace: bool, shape: str) -> None:
    """List every code that is modelled: thresholds of the month, who bills, exclusions, citation."""
    from bhi_fhir.jobs import catalogue
    from bhi_fhir.policy.trace import page, sentences

    if trace:
        click.echo(catalogue.trace_json(sentences()).decode() if shape == "json" else page())
        return
    found = catalogue.catalogue(month or f"{_now():%Y-%m}")
    click.echo(catalogue.json(found) if shape == "json" else catalogue.page(found, _width()))
    _refuse_unverified(found.unverified, found.month)


@cli.command()
@_SITE
@_SET
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes.")
@click.option("--open", "is_open", is_flag=True, help="Ask nobody who calls; only on this machine.")
def serve(site: Path, overrides: tuple[str, ...], host: str, port: int, workers: int, is_open: bool) -> None:
    """Serve it over HTTP: $evaluate-bhi and what belongs to it."""
    from bhi_fhir.web.serve import serve as run

    run(site, overrides, host=host, port=port, workers=workers, is_open=is_open)


@cli.command()
@click.option("--keep", is_flag=True, help="Leave the server running to look around.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="The server's; a free one if left out.")
def demo(keep: bool, port: int) -> None:
    """Show it all on this machine: a FHIR server, example patients, a month decided and drafted."""
    from bhi_fhir.jobs.demo import demo as run

    report = run(_console(), keep=keep, port=port, now=_now())
    sys.exit(NO_SERVER if report.incomplete else 0)


@cli.group()
def audit() -> None:
    """Look after the audit file: is it whole?"""


@audit.command("verify")
@_SITE
@_SET
@click.option("--head", "kept", default="", metavar="FILE:LINE:SHA256", help="The head that you kept elsewhere.")
def verify_audit(site: Path, overrides: tuple[str, ...], kept: str) -> None:
    """Check the chain of every audit file, and print its head: keep that elsewhere."""
    from bhi_fhir.audit import Head, verify
    from bhi_fhir.settings import load_site

    head = None
    if kept:
        file, line, digest = [*kept.rsplit(":", 2), "", ""][:3]
        if not line.isdigit():
            raise click.BadParameter("give FILE:LINE:SHA256, as this command prints it", param_hint="--head")
        head = Head(file, int(line), digest)
    checked = verify(site / load_site(site, overrides).delivery.audit, head)
    for broken in checked.breaks:
        click.echo(f"{broken.file} line {broken.line}: {broken.sentence}", err=True)
    end = checked.head
    click.echo(f"{checked.lines} events; head {end.file}:{end.line}:{end.sha256}" if end else "no events")
    sys.exit(SET_ASIDE if checked.breaks else 0)


@cli.command()
@_SITE
@_SET
def jwks(site: Path, overrides: tuple[str, ...]) -> None:
    """Print the public keys of the site's SMART client, for the server's registration."""
    import json

    from bhi_fhir.jobs.connecting import public_jwks
    from bhi_fhir.settings import load_site

    click.echo(json.dumps(public_jwks(load_site(site, overrides))))


@cli.group()
def mappings() -> None:
    """Look after a site's folder: is it in order, and what does it not understand?"""


@mappings.command("check")
@_SITE
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
def check_mappings(site: Path, shape: str) -> None:
    """Check every file, key and code; overlaps with the base and with each other are shown."""
    from bhi_fhir.domain.value import replace
    from bhi_fhir.jobs.mappings import check_site, show_checked

    checked = check_site(site)
    checked = replace(checked, problems=(*checked.problems, *_refused_callers(site)))
    if shape == "json":
        import msgspec

        click.echo(msgspec.json.encode(checked))
    else:
        show_checked(_console(), checked)
    sys.exit(WRONG_USAGE if checked.problems else 0)


def _refused_callers(folder: Path) -> list[str]:
    """What serve would refuse of the callers that a site names."""
    from bhi_fhir.errors import SiteError
    from bhi_fhir.settings import load_site
    from bhi_fhir.web.callers import check

    try:
        check(load_site(folder).serve)
    except SiteError as error:
        return [f"site.toml: {error}"]
    return []


@mappings.command("report")
@_SITE
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def report_mappings(site: Path, shape: str, files: tuple[str, ...]) -> None:
    """List the codes in files that no map knows, with counts, an example, and the minutes that hang on them."""
    from bhi_fhir.jobs.mappings import report_unplaced, show_report

    found = report_unplaced(site, files)
    if shape == "json":
        click.echo(found.json())
    else:
        show_report(_console(), found.report)
    _report_set_aside(found.set_aside)
    sys.exit(SET_ASIDE if found.set_aside else 0)


def _console() -> Console:
    """A terminal as wide as it is; a wide page where there is none."""
    from rich.console import Console

    class Out(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads")  # rich would end the program by itself

    console = Out()
    return console if console.is_terminal else Out(width=_WIDE)


def _show(coloured: str) -> None:
    """On standard output, in colours if a terminal wants them (https://no-color.org)."""
    click.echo(coloured, color=False if os.environ.get("NO_COLOR") else None)


def _width(elsewhere: int = 100) -> int:
    """The terminal's width in characters; `elsewhere` where there is none."""
    if not sys.stdout.isatty():
        return elsewhere
    import shutil

    return shutil.get_terminal_size().columns


def _cores() -> int:
    """Those that this process may use; macOS tells only how many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _now() -> datetime:
    return datetime.now(UTC)


def _today(zone: ZoneInfo) -> date:
    return datetime.now(zone).date()


def _report_set_aside(records: Iterable[SetAside]) -> None:
    for record in records:
        place = " ".join(filter(None, (record.file, record.at, record.resource)))
        click.echo(f"set aside: {place}: {record.reason}", err=True)


def _refuse_unverified(files: tuple[str, ...], month: str) -> None:
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        click.echo(
            f"Nothing is drafted for {month}: nobody has verified the policy for it. "
            f"Re-read the source of {files[0]}{more}, then move its verified months.",
            err=True,
        )
        sys.exit(WRONG_USAGE)


def _where(error: Exception) -> str:
    """The kind of an exception and the line that raised it, without its text."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    at = f" at {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
    return f"{type(error).__name__}{at}"


def main() -> None:
    """Run the command line; every failure is one sentence on standard error."""
    if sys.stdout is None:
        click.echo("Standard output is closed: nothing could be shown.", err=True)
        sys.exit(WRONG_USAGE)
    out = sys.stdout
    try:
        cli(standalone_mode=False)
    except SystemExit:
        # click ends a program whose output nobody reads any more (`| head`) with 1, and puts another stdout there.
        if sys.stdout is not out and _nobody_reads():
            sys.exit(0)
        raise
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(WRONG_USAGE)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(130)
    except BhiError as error:
        click.echo(str(error), err=True)
        sys.exit(NO_SERVER if isinstance(error, ServerError) else WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  # a fault of ours: never a traceback, which may hold patient data
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            click.echo(f"{error.strerror}: make room and run the same command again.", err=True)
            sys.exit(WRONG_USAGE)
        click.echo(f"bhi-fhir has a fault of its own ({_where(error)}); please report this line.", err=True)
        sys.exit(FAULT)


def _nobody_reads() -> bool:
    """Whether the other end of standard output is closed; other pipes break too, such as a worker's."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))


if __name__ == "__main__":
    main()
