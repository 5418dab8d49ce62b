"""How the commands speak: statuses, the page's width, the clock, what was set aside."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

if TYPE_CHECKING:
    from rich.console import Console

    from bhi_fhir.domain.record import SetAside

SET_ASIDE, WRONG_USAGE, NO_SERVER = 1, 2, 3
FAULT = 70
"""EX_SOFTWARE of sysexits.h: nothing that a user can mend."""
STOPPED = 130
"""As shells say it of Ctrl-C."""
WIDE = 200
"""Characters of a page that is no terminal's."""


def console() -> Console:
    """A terminal as wide as it is; a wide page where there is none."""
    from rich.console import Console

    class Out(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError(errno.EPIPE, "nobody reads")  # rich would end the program by itself

    out = Out()
    return out if out.is_terminal else Out(width=WIDE)


def show(coloured: str) -> None:
    """On standard output, in colours if a terminal wants them (https://no-color.org)."""
    click.echo(coloured, color=False if os.environ.get("NO_COLOR") else None)


def width(elsewhere: int = 100) -> int:
    """The terminal's width in characters; `elsewhere` where there is none."""
    if not sys.stdout.isatty():
        return elsewhere
    import shutil

    return shutil.get_terminal_size().columns


def now() -> datetime:
    return datetime.now(UTC)


def today(zone: ZoneInfo) -> date:
    return datetime.now(zone).date()


def set_aside(records: Iterable[SetAside]) -> None:
    """On standard error: file, place and reason of each."""
    for record in records:
        place = " ".join(filter(None, (record.file, record.at, record.resource)))
        click.echo(f"set aside: {place}: {record.reason}", err=True)


def refuse_unverified(files: tuple[str, ...], month: str) -> None:
    """Ends the program where nobody has verified the policy of the month; `files`: of what."""
    if files:
        more = f" and {len(files) - 1} more" if len(files) > 1 else ""
        click.echo(
            f"Nothing is drafted for {month}: nobody has verified the policy for it. "
            f"Re-read the source of {files[0]}{more}, then move its verified months.",
            err=True,
        )
        sys.exit(WRONG_USAGE)
