"""Options that several commands take."""

from __future__ import annotations

import re
from pathlib import Path

import click

SITE = click.option(
    "--site",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The site's folder (site.toml, maps).",
)
MONTH = click.option("--month", required=True, metavar="YYYY-MM", help="The calendar month to decide.")
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override one key of site.toml.")
_PATIENT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")


def patient(_: click.Context, __: click.Parameter, text: str) -> str:
    """A callback: `Patient/rosa`, also where only `rosa` is written."""
    if not text or _PATIENT.fullmatch(text):
        return text
    if not _PATIENT.fullmatch(f"Patient/{text}"):
        raise click.BadParameter("name the patient as it is printed, such as Patient/rosa; rosa will do")
    return f"Patient/{text}"
