"""What every draft is made of."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal

from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.period import Period
from fhir.resources.R4B.quantity import Quantity
from fhir.resources.R4B.reference import Reference

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.drafts.site import DraftSite

ADAPTER = "urn:bhi-fhir:adapter"
RULESET = "urn:bhi-fhir:ruleset"

_RESOURCE = re.compile(r"[A-Z][A-Za-z]+/[A-Za-z0-9\-.]{1,64}")


def concept(system: str, code: str, text: str | None = None) -> CodeableConcept:
    """A concept with one coding and, if there is one, our own words: never a `display` (AMA, NUBC)."""
    return CodeableConcept(coding=[Coding(system=system, code=code)], text=text)


def service(line: Line, titles: Mapping[str, str]) -> CodeableConcept:
    return concept(line.system, line.code, titles.get(line.code))


def units(number: int) -> Quantity:
    return Quantity(value=Decimal(number))


def references(refs: Iterable[str]) -> list[Reference]:
    """References to resources, in order and once; a bare fullUrl leads nowhere outside its own file."""
    return [Reference(reference=ref) for ref in sorted(set(refs)) if _RESOURCE.fullmatch(ref)]


def whole_month(month: ServiceMonth) -> Period:
    """The month from its first to its last second, in the practice's own time."""
    start, end = month.span
    last = end - timedelta(seconds=1)
    return Period(start=start.astimezone(month.zone), end=last.astimezone(month.zone))


def evidence(decision: Decision, line: Line) -> frozenset[str]:
    """Everything that the findings of the line's code rest on."""
    return frozenset(
        ref
        for candidate in decision.candidates
        if candidate.code == line.code
        for finding in candidate.findings
        for ref in finding.evidence
    )


def labels(chart: Chart, refs: Iterable[str]) -> list[Coding]:
    """The security labels (42 CFR Part 2 among them) of the patient and of these resources."""
    named = {chart.patient, *refs}
    found = {(system, code) for ref, system, code in chart.security if ref in named}
    return [Coding(system=system or None, code=code) for system, code in sorted(found)]


def meta(site: DraftSite, security: list[Coding]) -> Meta:
    return Meta(
        security=security or None,
        tag=[Coding(system=ADAPTER, code="bhi-fhir"), Coding(system=RULESET, code=site.ruleset)],
    )
