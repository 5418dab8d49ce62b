"""`mappings check` and `mappings report`: is a site's folder in order, and what does it not understand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import tomli
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from bhi_fhir.delivery.database import engine_of
from bhi_fhir.domain.record import SetAside
from bhi_fhir.domain.value import replace
from bhi_fhir.errors import UsageError
from bhi_fhir.fhir.gate import Gate
from bhi_fhir.jobs.files import read_file
from bhi_fhir.mapping.checking import Checked, Entry, check
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.site_reading import site_reading
from bhi_fhir.mapping.terminology import Terminology
from bhi_fhir.mapping.unplaced import Report, Seen, report, seen_in
from bhi_fhir.settings import Site
from bhi_fhir.shipped import shipped
from bhi_fhir.site_file import load_site


def check_site(folder: Path) -> Checked:
    """Every file, key and code of a site's folder. UsageError for one that cannot be used at all."""
    site = load_site(folder)
    site_reading(folder)
    base = shipped("mappings") / "base"
    Terminology([base, folder])
    checked = check(base, folder)
    problems = (*checked.problems, *_refused(site, folder), *_to_be_set(folder, checked.entries))
    return replace(checked, problems=problems)


def _refused(site: Site, folder: Path) -> Iterator[str]:
    """What sync and approve would refuse; secrets and certificates are not looked for, they may be elsewhere."""
    for tried in (lambda: Gate(site.fhir.base_url or _ANYWHERE, site.fhir.aliases),
                  lambda: engine_of(site.delivery.ledger, folder).dispose()):  # fmt: skip
        try:
            tried()
        except UsageError as error:
            yield f"site.toml: {error}"


_ANYWHERE = "https://ehr.example/fhir"
"""In the place of a server that is not named: `evaluate` and `bulk` need none."""
_PLACEHOLDER = re.compile(r"(?i)to[- ]be[- ]set")


def _to_be_set(folder: Path, entries: Iterable[Entry]) -> Iterator[str]:
    """What a vendor's profile leaves to the site, and the site has not yet set."""
    for name in ("site.toml", "reading.toml"):
        file = folder / name
        table = tomli.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        if keys := list(dict.fromkeys(_placeholders(table))):
            yield f"{name}: still to be set: {', '.join(keys)}"
    files = Counter(e.file for e in entries if _PLACEHOLDER.search(f"{e.system} {e.code}"))
    for name, number in sorted(files.items()):
        yield f"{name}: codes still to be set: {number}"


def _placeholders(table: object, path: str = "") -> Iterator[str]:
    """The keys whose names or values are placeholders; of a list, that of the list."""
    if isinstance(table, dict):
        for key, value in table.items():
            place = f"{path}.{key}" if path else str(key)
            if _PLACEHOLDER.search(str(key)):
                yield path
            else:
                yield from _placeholders(value, place)
    elif isinstance(table, list):
        for value in table:
            yield from _placeholders(value, path)
    elif isinstance(table, str) and _PLACEHOLDER.search(table):
        yield path


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
        console.print(f"[red]wrong:[/] {escape(problem)}", highlight=False)
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
    if found.untimed:
        console.print(
            f"Encounters and Procedures whose time could not be taken: {found.untimed}. [minutes] in reading.toml says "
            "where time is looked for.",
            highlight=False,
            markup=False,
        )
