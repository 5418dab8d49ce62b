"""With a FHIR server, or as one: sync, serve, demo, jwks."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bhi_fhir.cli import options, saying


@click.command()
@options.SITE
@options.MONTH
@options.SET
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
        job = run(desk, write=write, now=saying.now(), progress=progress, started=sync_report.say_roster, afresh=afresh)
        report = asyncio.run(job)
    if shape == "json":
        for piece in sync_report.json(report):
            click.echo(piece, nl=False)
    else:
        sync_report.show(saying.console(), report)
    for each in report.months() if report.tally["set aside"] else ():
        saying.set_aside(each.set_aside)
    saying.refuse_unverified(desk.rules.unverified, month)
    remarks = report.tally["set aside"] or not report.roster.patients
    sys.exit(saying.NO_SERVER if report.incomplete else saying.SET_ASIDE if remarks else 0)


@click.command()
@options.SITE
@options.SET
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(1, 65535))
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes.")
@click.option("--open", "is_open", is_flag=True, help="Ask nobody who calls; only on this machine.")
def serve(site: Path, overrides: tuple[str, ...], host: str, port: int, workers: int, is_open: bool) -> None:
    """Serve it over HTTP: $evaluate-bhi and what belongs to it."""
    from bhi_fhir.web.serve import serve as run

    run(site, overrides, host=host, port=port, workers=workers, is_open=is_open)


@click.command()
@click.option("--keep", is_flag=True, help="Leave the server running to look around.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="The server's; a free one if left out.")
def demo(keep: bool, port: int) -> None:
    """Show it all on this machine: a FHIR server, example patients, a month decided and drafted."""
    from bhi_fhir.jobs.demo import demo as run

    report = run(saying.console(), keep=keep, port=port, now=saying.now())
    sys.exit(saying.NO_SERVER if report.incomplete else 0)


@click.command()
@options.SITE
@options.SET
def jwks(site: Path, overrides: tuple[str, ...]) -> None:
    """Print the public keys of the site's SMART client, for the server's registration."""
    import json

    from bhi_fhir.jobs.connecting import public_jwks
    from bhi_fhir.site_file import load_site

    click.echo(json.dumps(public_jwks(load_site(site, overrides))))
