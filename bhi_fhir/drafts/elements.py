"""What every draft is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Any

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.drafts.site import DraftSite

Json = dict[str, Any]
"""A resource or a part of one as plain JSON."""

ADAPTER = "urn:bhi-fhir:adapter"
RULESET = "urn:bhi-fhir:ruleset"

_RESOURCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


def present(**parts: Any) -> Json:
    """The parts that there are: JSON of FHIR has no null and no empty list."""
    return {name: part for name, part in parts.items() if part is not None and part != []}


def concept(system: str, code: str, text: str | None = None) -> Json:
    """A concept with one coding and, if there is one, our own words: never a `display` (AMA, NUBC)."""
    coded: Json = {"coding": [{"system": system, "code": code}]}
    return {**coded, "text": text} if text else coded


def service(line: Line, titles: Mapping[str, str]) -> Json:
    return concept(line.system, line.code, titles.get(line.code))


def reference(ref: str) -> Json:
    return {"reference": ref}


def units(number: int) -> Json:
    return {"value": number}


def references(refs: Iterable[str]) -> list[Json]:
    """References to resources, in order and once; a bare fullUrl leads nowhere outside its own file."""
    return [reference(ref) for ref in sorted(set(refs)) if _RESOURCE.fullmatch(ref)]


def whole_month(month: ServiceMonth) -> Json:
    """The month from its first to its last second, in the practice's own time."""
    start, end = _ends(month)
    return {"start": start, "end": end}


@lru_cache(24)
def _ends(month: ServiceMonth) -> tuple[str, str]:
    start, end = month.span
    last = end - timedelta(seconds=1)
    return start.astimezone(month.zone).isoformat(), last.astimezone(month.zone).isoformat()


def evidence(decision: Decision, line: Line) -> frozenset[str]:
    """Everything that the findings of the line's code rest on."""
    mine = [candidate for candidate in decision.candidates if candidate.code == line.code]
    return frozenset().union(*[finding.evidence for candidate in mine for finding in candidate.findings])


def labels(chart: Chart, refs: Iterable[str]) -> list[Json]:
    """The security labels (42 CFR Part 2 among them) of the patient and of these resources."""
    if not chart.security:
        return []
    named = {chart.patient, *refs}
    found = {(system, code) for ref, system, code in chart.security if ref in named}
    return [present(system=system or None, code=code) for system, code in sorted(found)]


def meta(site: DraftSite, security: list[Json]) -> Json:
    return present(
        security=security,
        tag=[{"system": ADAPTER, "code": "bhi-fhir"}, {"system": RULESET, "code": site.ruleset}],
    )
