"""One patient's month as drafts in plain JSON: what `models.draft` validates and what bulk writes."""

from __future__ import annotations

from dataclasses import dataclass

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.charge_item import charge_item
from bhi_fhir.drafts.claim import claims, diagnoses_of
from bhi_fhir.drafts.elements import Json
from bhi_fhir.drafts.site import DraftRun, DraftSite


@dataclass(frozen=True, slots=True)
class PlainDrafts:
    """As `models.PatientDrafts`; a resource's elements stand in the order of FHIR."""

    charge_items: tuple[Json, ...] = ()
    claims: tuple[Json, ...] = ()
    evidence: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    diagnoses: tuple[str, ...] = ()


def plain_drafts(decision: Decision, chart: Chart, run: DraftRun) -> PlainDrafts:
    lines = drafted_lines(decision, run.site)
    made, remarks = claims(decision, lines, chart, run)
    rests_on = frozenset(ref for line in lines for ref in elements.evidence(decision, line))
    return PlainDrafts(
        charge_items=tuple(charge_item(decision, line, chart, run) for line in lines),
        claims=made,
        evidence=tuple(sorted(rests_on)),
        remarks=remarks,
        diagnoses=tuple(sorted({found.icd10 for found in diagnoses_of(chart, run.month, rests_on)})) if lines else (),
    )


def drafted_lines(decision: Decision, site: DraftSite) -> tuple[Line, ...]:
    """Only billable lines are drafted, unless the site says otherwise."""
    return tuple(
        line
        for line in decision.lines
        if line.status == "billable" or (site.draft_review and line.status == "needs-review")
    )
