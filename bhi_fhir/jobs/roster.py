"""Whose records are read: the patients of BHI care teams, of episodes, of a Group, a List or a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

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
from bhi_fhir.views.common import UNREADABLE, Reference


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
        reference = f"{kind.title()}/{name}"
        return Roster(f"{kind} {name}", _members(reference, await read(client, reference), client.gate.base_url))
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


class _Member(msgspec.Struct):
    """A member of a Group. One who has left stays in it as inactive."""

    entity: Reference = msgspec.field(default_factory=Reference)
    inactive: bool = False


class _Entry(msgspec.Struct):
    """An entry of a List. One that was taken off may stay in it as deleted."""

    item: Reference = msgspec.field(default_factory=Reference)
    deleted: bool = False


class _Named(msgspec.Struct):
    """A Group, which has members, or a List, which has entries."""

    member: list[_Member] = []
    entry: list[_Entry] = []


def _members(reference: str, body: bytes, base_url: str) -> tuple[str, ...]:
    """The patients who are on it. Incomplete, which names the resource, if that is no Group or List of R4."""
    try:
        named = msgspec.json.decode(body, type=_Named)
    except msgspec.ValidationError as error:
        place = str(error).rpartition("`$.")[2].rstrip("`")
        raise Incomplete(f"{reference}, the roster, is not R4's, at {place}: mend it on the FHIR server.") from None
    except UNREADABLE:
        raise Incomplete(f"{reference}, the roster, is no JSON that can be read.") from None
    there = [m.entity for m in named.member if not m.inactive] + [e.item for e in named.entry if not e.deleted]
    found = {(each.reference or "").removeprefix(f"{base_url}/") for each in there}
    return tuple(sorted(r for r in found if r.startswith("Patient/")))


def _from_file(path: Path) -> tuple[str, ...]:
    """One patient id or Patient/id a line."""
    try:
        lines: Iterable[str] = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        said = f"roster.from: {path} cannot be read; name a file with one patient id a line"
        raise UsageError(said) from error
    ids = [line.strip().removeprefix("Patient/") for line in lines if line.strip()]
    return tuple(sorted({f"Patient/{i}" for i in ids}))
