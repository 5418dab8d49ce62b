"""What named persons do, and what is written down of it: approve, attest, resolve, audit."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bhi_fhir.cli import options, saying


@click.command()
@options.SITE
@options.MONTH
@options.SET
@click.option("--by", metavar="NAME", help="Approve, as this named person; without it lines are only shown.")
@click.option(
    "--patient", default="", callback=options.patient, metavar="REF", help="Only Patient/maria; maria will do."
)
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
    done = asyncio.run(approving.approve(desk, by, saying.now(), patient=patient, code=code)) if by is not None else []
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
        approving.table(saying.console(), rows)
    sys.exit(saying.SET_ASIDE if any(each.outcome not in {"approved", "created"} for each in done) else 0)


@click.command()
@options.SITE
@options.MONTH
@options.SET
@click.option(
    "--patient", required=True, callback=options.patient, metavar="REF", help="Whose month: Patient/maria, or maria."
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
    job = run(desk, by, saying.now(), patient=patient, requirement=requirement, because=because, reference=reference)
    click.echo(asyncio.run(job))


@click.command()
@options.SITE
@options.MONTH
@options.SET
@click.option(
    "--patient", required=True, callback=options.patient, metavar="REF", help="Whose line: Patient/maria, or maria."
)
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
    asyncio.run(say_what_became(desk, by, saying.now(), patient=patient, code=code, arrived=arrived))
    click.echo("Written down." if arrived else "Written down; the next sync --write sends it again.")


@click.group()
def audit() -> None:
    """Look after the audit file: is it whole?"""


@audit.command("verify")
@options.SITE
@options.SET
@click.option("--head", "kept", default="", metavar="FILE:LINE:SHA256", help="The head that you kept elsewhere.")
def verify_audit(site: Path, overrides: tuple[str, ...], kept: str) -> None:
    """Check the chain of every audit file, and print its head: keep that elsewhere."""
    from bhi_fhir.audit import Head, verify
    from bhi_fhir.site_file import load_site

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
    sys.exit(saying.SET_ASIDE if checked.breaks else 0)
