"""`mappings check` and `mappings report`: is a site's folder in order, and what does it not understand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from bhi_fhir.domain.record import SetAside
from bhi_fhir.jobs.files import read_file
from bhi_fhir.mapping.checking import Checked, check
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.site_reading import site_reading
from bhi_fhir.mapping.terminology import Terminology
from bhi_fhir.mapping.unplaced import Report, Seen, report, seen_in
from bhi_fhir.settings import load_site
from bhi_fhir.shipped import shipped


def check_site(folder: Path) -> Checked:
    """Every file, key and code of a site's folder. UsageError for one that cannot be used at all."""
    load_site(folder)
    site_reading(folder)
    base = shipped("mappings") / "base"
    Terminology([base, folder])
    return check(base, folder)


@dataclass(frozen=True)
class Reported:
    report: Report
    set_aside: tuple[SetAside, ...]

    def json(self) -> bytes:
        return msgspec.json.encode({**msgspec.to_builtins(self.report), "set_aside": self.set_aside})


def report_unplaced(folder: Path, files: Iterable[str]) -> Reported:
    """What no map knows in these files; each is a record by itself."""
    site = load_site(folder)
    terms = Terminology([shipped("mappings") / "base", folder])
    set_aside: list[SetAside] = []
    seen: list[Seen] = []
    for name in sorted(set(files)):
        record = Record.read(read_file(name))
        set_aside += record.set_aside
        seen += seen_in(Reading(record, terms, Clock(site.zone), site_reading(folder)))
    return Reported(report(seen), tuple(set_aside))


def show_checked(console: Console, checked: Checked) -> None:
    console.print(f"Files: {', '.join(checked.files)}", highlight=False)
    if checked.entries:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
        for name in ("file", "system", "code", "means", ""):
            table.add_column(name, overflow="fold")
        for entry in checked.entries:
            table.add_row(entry.file, entry.system, entry.code, entry.means, entry.note)
        console.print(table)
    for problem in checked.problems:
        console.print(f"[red]wrong:[/] {problem}", highlight=False)
    console.print(f"{len(checked.entries)} codes, {len(checked.problems)} problems")


def show_report(console: Console, found: Report) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in ("element", "system", "code", "seen", "minutes", "example"):
        table.add_column(name, overflow="fold", justify="right" if name in ("seen", "minutes") else "left")
    for row in found.unplaced:
        table.add_row(row.element, row.system, row.code or "(text only)", str(row.count), str(row.minutes), row.example)
    if found.unplaced:
        console.print(table)
    share = f" ({100 * found.unplaced_minutes // found.minutes} %)" if found.minutes else ""
    console.print(
        f"{len(found.unplaced)} codes that no map knows; they stand for {found.unplaced_minutes} of {found.minutes} "
        f"recorded minutes{share}.",
        highlight=False,
    )
