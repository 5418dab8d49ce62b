"""What a run says at its end."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from bhi_fhir.jobs.bulk.run import Done


def show(console: Console, done: Done) -> None:
    summary, tally = done.summary, done.summary.tally
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right")
    table.add_row("patients", f"{tally.patients:,}")
    if tally.not_whole:
        table.add_row("  not read whole", f"{tally.not_whole:,}", style="yellow")
    for line, number in sorted(tally.lines.items()):
        table.add_row(f"{line}", f"{number:,}")
    table.add_row("minutes counted", f"{tally.counted:,}")
    for reason, minutes in sorted(tally.not_counted.items()):
        table.add_row(f"  not counted: {reason}", f"{minutes:,}")
    for kind, number in sorted(tally.drafts.items()):
        table.add_row(f"{kind} drafts", f"{number:,}")
    table.add_row("lines read", f"{summary.resources:,}")
    for reason, number in sorted(tally.set_aside.items()):
        table.add_row(f"  set aside: {reason}", f"{number:,}", style="yellow")
    console.print(f"{summary.month}, in {done.out}{' (it was there already)' if done.again else ''}")
    console.print(table)


def say_more(done: Done, folder: str) -> None:
    """On standard error: what is set aside beyond the first, and, loudly, what that does to everybody."""
    if not done.summary.tally.patients:
        click.echo(f"set aside: {folder}: it holds no patient", err=True)
    more = sum(done.summary.tally.set_aside.values()) - len(done.told)
    if more > 0:
        click.echo(f"set aside: {more} more, in {done.out}", err=True)
    if done.summary.for_all:
        first, *others = done.summary.for_all
        many = f" and {len(others)} more" if others else ""
        # The decisions name the line alone: whoever reads them may have other files than who was asked.
        file = next((f"{s.file}: " for s in done.told if first.startswith(f"{s.resource or s.at} ")), "")
        click.echo(
            f"WITHHELD FROM EVERY PATIENT, so nothing of this month rests on absence: {file}{first}{many}. "
            "Nothing says whose it was: mend it or take it out of the export, and run again.",
            err=True,
        )
