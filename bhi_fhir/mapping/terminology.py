"""What codes mean: R4 ValueSet, ConceptMap and NamingSystem JSON, base first, the site's own on top.

A ValueSet says which codes belong to a group (by `concept` or by `filter` code/regex); a ConceptMap
turns a site's codes into the project's (`equal` and `equivalent` only: a wider or narrower
target is a hint, not a fact, and makes what rests on it unknown).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from bhi_fhir.errors import MappingError
from bhi_fhir.views.common import CodeableConcept, Coding

ICD10 = "http://hl7.org/fhir/sid/icd-10-cm"
CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
NPI = "http://hl7.org/fhir/sid/us-npi"
NUCC = "http://nucc.org/provider-taxonomy"
_FACTS = ("equal", "equivalent")

Code = tuple[str, str]
"""(canonical system, code)"""
Codings = tuple[tuple[Coding, ...] | None, ...]
"""What some concepts are coded with: all that a map looks at."""
_KEPT = 100_000
_Answer = TypeVar("_Answer")


@dataclass
class _Group:
    """One include or exclude of a ValueSet: the codes of one system, or those that a pattern matches."""

    system: str
    codes: frozenset[str] | None
    pattern: re.Pattern[str] | None

    def holds(self, code: Code) -> bool:
        system, value = code
        if system != self.system:
            return False
        if self.codes is not None:
            return value in self.codes or (system == ICD10 and value.replace(".", "") in self.codes)
        return self.pattern is None or self.pattern.fullmatch(value) is not None


@dataclass
class _ValueSet:
    include: list[_Group] = field(default_factory=list)
    exclude: list[_Group] = field(default_factory=list)

    def holds(self, code: Code) -> bool:
        return any(g.holds(code) for g in self.include) and not any(g.holds(code) for g in self.exclude)


class Terminology:
    """All maps of a site. Answers are cached: a hospital uses few codes many times."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._spellings: dict[str, str] = {}
        self._sets: dict[str, _ValueSet] = {}
        self._maps: dict[tuple[str, Code], tuple[set[str], set[str]]] = {}
        self._answers: dict[tuple[object, object], Any] = {}
        files = [file for folder in folders for file in sorted(folder.glob("*.json"))]
        for file in sorted(files, key=lambda f: f.name != "code-systems.json"):  # spellings before what is spelled
            self._load(file)

    def once(self, answer: Callable[..., _Answer], asked: Any, *about: Any) -> _Answer:
        """`answer(asked, *about)`, kept by the answer's name and what is asked; `about` never makes a difference."""
        key = (answer, asked)
        known = self._answers.get(key, self)
        if known is self:
            if len(self._answers) > _KEPT:
                self._answers.clear()  # codes that are different every time are no codes
            known = self._answers[key] = answer(asked, *about)
        return known  # type: ignore[no-any-return]  # what was kept is what `answer` gave

    def code(self, coding: Coding) -> Code | None:
        """(canonical system, code) of a coding; None if either is missing."""
        if not coding.system or not coding.code:
            return None
        system = coding.system.strip()
        system = self._spellings.get(system) or self._spellings.get(system.rstrip("/").lower(), system)
        value = coding.code.strip()
        if system in (CPT, HCPCS):
            return system, value.upper().partition("-")[0]  # 99214-25 is a 99214 with a modifier
        return system, value.upper() if system == ICD10 else value

    def codes(self, *concepts: CodeableConcept | None) -> list[Code]:
        return self._codes(codings(concepts))

    def _codes(self, found: Codings) -> list[Code]:
        return [code for each in found if each for coding in each if (code := self.code(coding))]

    def holds(self, value_set: str, *concepts: CodeableConcept | None) -> bool:
        """Does any coding of these concepts belong to the group?"""
        return self.once(self._holds, (value_set, codings(concepts)))

    def _holds(self, asked: tuple[str, Codings]) -> bool:
        value_set, found = asked
        group = self._sets.get(value_set)
        return group is not None and any(group.holds(code) for code in self._codes(found))

    def knows_system(self, value_set: str, *concepts: CodeableConcept | None) -> bool:
        """Does the group settle codes of any of these systems, so that absence from it means something?"""
        group = self._sets.get(value_set, _ValueSet())
        systems = {g.system for g in group.include}
        return any(system in systems for system, _ in self.codes(*concepts))

    def translate(self, target: str, *concepts: CodeableConcept | None) -> tuple[frozenset[str], bool]:
        """The project's codes (system `urn:bhi-fhir:{target}`) of these concepts.

        Returns (codes, hint): hint is True where a map only knows something wider or narrower, or where
        the project's own system carries a code that it does not have.
        """
        return self.once(self._translate, (target, codings(concepts)))

    def _translate(self, asked: tuple[str, Codings]) -> tuple[frozenset[str], bool]:
        target, given = asked
        own = f"urn:bhi-fhir:{target}"
        group = self._sets.get(target)
        found: set[str] = set()
        hint = False
        for code in self._codes(given):
            facts, hints = self._maps.get((own, code), (None, None))
            if facts is not None:
                found |= facts
                hint |= bool(hints and not facts)
            elif code[0] == own:
                if group is None or group.holds(code):
                    found.add(code[1])
                else:
                    hint = True
        return frozenset(found), hint and not found

    def targets(self, target: str) -> dict[Code, frozenset[str]]:
        """Every code that a map turns into the project's system, with its targets."""
        own = f"urn:bhi-fhir:{target}"
        return {code: frozenset(facts) for (system, code), (facts, _) in self._maps.items() if system == own}

    def _load(self, file: Path) -> None:
        try:
            resource = msgspec.json.decode(file.read_bytes())
            self._take(resource)
        except (msgspec.DecodeError, KeyError, TypeError, AttributeError, ValueError, re.error) as error:
            raise MappingError(f"{file}: not a usable ValueSet, ConceptMap or NamingSystem ({error})") from error

    def _take(self, resource: dict[str, Any]) -> None:
        kind = resource["resourceType"]
        if kind == "Bundle":
            for entry in resource["entry"]:
                self._take(entry["resource"])
        elif kind == "NamingSystem":
            self._take_system(resource)
        elif kind == "ValueSet":
            self._take_set(resource)
        elif kind == "ConceptMap":
            self._take_map(resource)
        else:
            raise ValueError(f"a {kind} is no code map")

    def _take_system(self, resource: dict[str, Any]) -> None:
        spellings = [f"urn:oid:{i['value']}" if i["type"] == "oid" else i["value"] for i in resource["uniqueId"]]
        preferred = next(i["value"] for i in resource["uniqueId"] if i.get("preferred"))
        for spelling in spellings:
            self._spellings[spelling] = preferred
            self._spellings[spelling.rstrip("/").lower()] = preferred

    def _take_set(self, resource: dict[str, Any]) -> None:
        """A site's ValueSet of a base group's name adds to it."""
        group = self._sets.setdefault(resource["id"], _ValueSet())
        compose = resource["compose"]
        group.include += [self._group(part) for part in compose["include"]]
        group.exclude += [self._group(part) for part in compose.get("exclude", ())]

    def _group(self, part: dict[str, Any]) -> _Group:
        system = self._spellings.get(part["system"], part["system"])
        if "concept" in part:
            codes = frozenset(c["code"] for c in part["concept"])
            if system == ICD10:
                codes = frozenset(c.replace(".", "").upper() for c in codes)
            return _Group(system, codes, None)
        patterns = []
        for rule in part.get("filter", ()):
            if (rule["property"], rule["op"]) != ("code", "regex"):
                raise ValueError("a filter must be property code, op regex")
            patterns.append(rule["value"])
        return _Group(system, None, re.compile(patterns[0]) if patterns else None)

    def _take_map(self, resource: dict[str, Any]) -> None:
        for group in resource["group"]:
            source = self._spellings.get(group["source"], group["source"])
            for element in group["element"]:
                facts, hints = self._maps.setdefault((group["target"], (source, element["code"])), (set(), set()))
                for target in element.get("target", ()):
                    (facts if target["equivalence"] in _FACTS else hints).add(target["code"])


def codings(concepts: Iterable[CodeableConcept | None]) -> Codings:
    return tuple([concept.coding for concept in concepts if concept])
