"""What codes mean, by the booklet and by a site: codes, mappings."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from bhi_fhir.cli import options, saying


@click.command()
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
    found = catalogue.catalogue(month or f"{saying.now():%Y-%m}")
    click.echo(catalogue.json(found) if shape == "json" else catalogue.page(found, saying.width()))
    saying.refuse_unverified(found.unverified, found.month)


@click.group()
def mappings() -> None:
    """Look after a site's folder: is it in order, and what does it not understand?"""


@mappings.command("check")
@options.SITE
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
        show_checked(saying.console(), checked)
    sys.exit(saying.WRONG_USAGE if checked.problems else 0)


def _refused_callers(folder: Path) -> list[str]:
    """What serve would refuse of the callers that a site names."""
    from bhi_fhir.errors import SiteError
    from bhi_fhir.site_file import load_site
    from bhi_fhir.web.callers import check

    try:
        check(load_site(folder).serve)
    except SiteError as error:
        return [f"site.toml: {error}"]
    return []


@mappings.command("report")
@options.SITE
@click.option("--format", "shape", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
def report_mappings(site: Path, shape: str, files: tuple[str, ...]) -> None:
    """List the codes in files that no map knows, with counts, an example, and the minutes that hang on them."""
    from bhi_fhir.jobs.mappings import report_unplaced, show_report

    found = report_unplaced(site, files)
    if shape == "json":
        click.echo(found.json())
    else:
        show_report(saying.console(), found.report)
    saying.set_aside(found.set_aside)
    sys.exit(saying.SET_ASIDE if found.set_aside else 0)
