"""Whose records are read: the patients of BHI care teams, of episodes, of a Group, a List or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from bhi_fhir.errors import Incomplete, UsageError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import SearchResult, read, search
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.chart import charts
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source


@dataclass(frozen=True)
class Roster:
    """`patients`: "Patient/id", sorted. `withheld`: why the roster may not be whole."""

    source: str
    patients: tuple[str, ...]
    withheld: tuple[str, ...] = ()


async def roster(client: BhiClient, desk: Desk) -> Roster:
    """Read the roster that the site names. UsageError or ServerError if it cannot be had."""
    kind, _, name = desk.site.roster.from_.partition(":")
    if kind == "file":
        return Roster("file", _from_file(desk.folder / name))
    if kind in ("group", "list"):
        body = await read(client, f"{kind.title()}/{name}")
        return Roster(f"{kind} {name}", _members(body, client.gate.base_url))
    resource_type = {"care-team": "CareTeam", "episode": "EpisodeOfCare"}[kind]
    found = await search(client, resource_type, {"_count": "200"})
    return Roster(f"{resource_type}s of a BHI program", _followed(found, desk), found.withheld)


def _followed(found: SearchResult, desk: Desk) -> tuple[str, ...]:
    """Patients whom a BHI team or episode follows in the month, as the mapping reads it."""
    record = Record.read(sources_of(found, "roster"))
    read_charts = charts(record, Reading(record, desk.terms, Clock(desk.site.zone), desk.reading))
    span = desk.month.span
    return tuple(
        chart.patient
        for chart in read_charts.charts
        if any(t.period.meets(span) and not t.possible for t in chart.teams)
        or any(e.period.meets(span) for e in chart.care_episodes)
    )


def sources_of(found: SearchResult, name: str) -> Iterator[Source]:
    pairs = zip(found.entries, found.full_urls, strict=True)
    return (Source(name, f"entry[{i}]", body, url) for i, (body, url) in enumerate(pairs))


def _members(body: bytes, base_url: str) -> tuple[str, ...]:
    resource: dict[str, Any] = msgspec.json.decode(body)
    parts = [m.get("entity", {}) for m in resource.get("member", ())]
    parts += [e.get("item", {}) for e in resource.get("entry", ())]
    found = {str(p.get("reference", "")).removeprefix(f"{base_url}/") for p in parts}
    patients = tuple(sorted(r for r in found if r.startswith("Patient/")))
    if not patients:
        raise Incomplete("The roster's Group or List names no patient.")
    return patients


def _from_file(path: Path) -> tuple[str, ...]:
    """One patient id or Patient/id a line."""
    try:
        lines: Iterable[str] = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError("roster.from: the file cannot be read; give one patient id a line") from error
    ids = [line.strip().removeprefix("Patient/") for line in lines if line.strip()]
    return tuple(sorted({f"Patient/{i}" for i in ids}))
