"""The command line. Only here errors become exit statuses.

    decide.py    evaluate, bulk, explain
    server.py    sync, serve, demo, jwks
    people.py    approve, attest, resolve, audit
    law.py       codes, mappings
    options.py   what several of them are asked with
    saying.py    how they speak

0 done; 1 done, but some input was set aside; 2 wrong usage or configuration, or a full disk; 3 the FHIR server
refused or could not be reached; 70 a fault of this program; 130 stopped by Ctrl-C.

A command imports what it needs when it runs, and its room is opened then: the command line starts quickly.
"""

from __future__ import annotations

import errno
import select
import sys
from importlib import import_module

import click

from bhi_fhir.cli import saying
from bhi_fhir.errors import BhiError, ServerError

_ROOMS = {
    "decide": ("evaluate", "bulk", "explain"),
    "server": ("sync", "serve", "demo", "jwks"),
    "people": ("approve", "attest", "resolve", "audit"),
    "law": ("codes", "mappings"),
}


class _Commands(click.Group):
    """Opens only the room of the command that is asked for."""

    def list_commands(self, _: click.Context) -> list[str]:
        return sorted(name for names in _ROOMS.values() for name in names)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        room = next((room for room, names in _ROOMS.items() if name in names), None)
        if room is None:
            return None
        command: click.Command = getattr(import_module(f"{__name__}.{room}"), name)
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bhi-fhir")
def cli() -> None:
    """Decide which Medicare Behavioral Health Integration services a month supports, and say why."""


def main() -> None:
    """Run the command line; every failure is one sentence on standard error."""
    if sys.stdout is None:
        click.echo("Standard output is closed: nothing could be shown.", err=True)
        sys.exit(saying.WRONG_USAGE)
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
        sys.exit(saying.WRONG_USAGE)
    except click.Abort:
        click.echo("Stopped.", err=True)
        sys.exit(saying.STOPPED)
    except BhiError as error:
        click.echo(str(error), err=True)
        sys.exit(saying.NO_SERVER if isinstance(error, ServerError) else saying.WRONG_USAGE)
    except Exception as error:  # noqa: BLE001  # a fault of ours: never a traceback, which may hold patient data
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            click.echo(f"{error.strerror}: make room and run the same command again.", err=True)
            sys.exit(saying.WRONG_USAGE)
        from bhi_fhir.web.logs import place

        where = place(error)
        said = f"bhi-fhir has a fault of its own ({where['fault']} at {where['at']}); please report this line."
        click.echo(said, err=True)
        sys.exit(saying.FAULT)


def _nobody_reads() -> bool:
    """Whether the other end of standard output is closed; other pipes break too, such as a worker's."""
    asked = select.poll()
    asked.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in asked.poll(0))
