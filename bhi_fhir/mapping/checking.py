"""Is a site's folder in order? Every map, every code of it: what it means, and what it overlaps with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bhi_fhir.domain.value import Value
from bhi_fhir.errors import MappingError

_FACTS = ("equal", "equivalent")
_OWN = "urn:bhi-fhir:"
_TO_BE_SET = "urn:example:to-be-set"
"""A vendor profile's placeholder: it matches nothing until the site puts its own system in its place."""
_GENERATED = {"scale", "scale-highest", "score"}
"""Targets that no ValueSet lists: their codes are named by the scales' own maps."""


class Entry(Value, frozen=True):
    """One code of one file. `means` is the group or the project's code that it stands for."""

    file: str
    system: str
    code: str
    means: str
    note: str = ""
    """"", or adds-to-base, repeats-base, differs-from-base, hint, twice, to-be-set"""


class Checked(Value, frozen=True):
    files: tuple[str, ...]
    entries: tuple[Entry, ...]
    problems: tuple[str, ...]


def check(base: Path, site: Path) -> Checked:
    """Check a site's maps against the base. A file that cannot be loaded at all is a MappingError."""
    in_base = list(_resources(base))
    known_sets = {r["id"]: _codes_of_set(r) for _, r in in_base if r.get("resourceType") == "ValueSet"}
    known = {(e.system, e.code, _kind(e.means)): e.means for e in _entries(in_base)}
    entries: list[Entry] = []
    problems: list[str] = []
    seen: dict[tuple[str, str, str], str] = {}
    for entry in _entries(_resources(site)):
        key = (entry.system, entry.code, _kind(entry.means))
        problems += _problems(entry, known_sets)
        note = entry.note or _compared(entry, known.get(key))
        if key in seen:
            note = "twice"
            if seen[key] != entry.means:
                problems.append(f"{entry.file}: {entry.code} means {entry.means} here and {seen[key]} elsewhere")
        seen[key] = entry.means
        entries.append(Entry(entry.file, entry.system, entry.code, entry.means, note))
    files = tuple(sorted(f.name for f in site.iterdir() if f.suffix in (".json", ".toml")))
    return Checked(files, tuple(entries), tuple(problems))


def _compared(entry: Entry, in_base: str | None) -> str:
    if entry.system.startswith(_TO_BE_SET) or entry.code.startswith("to-be-set"):
        return "to-be-set"
    if in_base is None:
        return "adds-to-base"
    return "repeats-base" if in_base == entry.means else "differs-from-base"


def _kind(means: str) -> str:
    return means.split(" ", maxsplit=1)[0]


def _problems(entry: Entry, sets: dict[str, set[str]]) -> Iterator[str]:
    kind, _, code = entry.means.partition(" ")
    if not code:
        if kind not in sets:
            yield f"{entry.file}: the ValueSet {kind} is none that a requirement asks for"
    elif kind not in sets and kind not in _GENERATED:
        yield f"{entry.file}: the target {_OWN}{kind} is none that a requirement asks for"
    elif kind not in _GENERATED and code not in sets[kind]:
        yield f"{entry.file}: {entry.code} is mapped to {code}, which {_OWN}{kind} does not have"


def _resources(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for file in sorted(folder.glob("*.json")):
        try:
            resource = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise MappingError(f"{file}: not JSON ({error})") from error
        inner = resource.get("entry")
        for one in [e["resource"] for e in inner] if inner else [resource]:
            yield file.name, one


def _entries(resources: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Entry]:
    for file, resource in resources:
        if resource.get("resourceType") == "ConceptMap":
            yield from _mapped(file, resource)
        elif resource.get("resourceType") == "ValueSet":
            for include in resource["compose"]["include"]:
                for concept in include.get("concept", ()):
                    yield Entry(file, include["system"], concept["code"], resource["id"])
                for rule in include.get("filter", ()):
                    yield Entry(file, include["system"], rule["value"], resource["id"])


def _mapped(file: str, resource: dict[str, Any]) -> Iterator[Entry]:
    for group in resource["group"]:
        for element in group["element"]:
            for target in element.get("target", ()):
                means = f"{group['target'].removeprefix(_OWN)} {target['code']}"
                note = "" if target["equivalence"] in _FACTS else "hint"
                yield Entry(file, group["source"], element["code"], means, note)


def _codes_of_set(resource: dict[str, Any]) -> set[str]:
    return {c["code"] for include in resource["compose"]["include"] for c in include.get("concept", ())}
