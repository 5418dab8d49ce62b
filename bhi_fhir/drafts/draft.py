"""One patient's month as drafts."""

from __future__ import annotations

from dataclasses import dataclass

from fhir.resources.R4B.chargeitem import ChargeItem
from fhir.resources.R4B.claim import Claim

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.charge_item import charge_item
from bhi_fhir.drafts.claim import claims
from bhi_fhir.drafts.site import DraftRun, DraftSite


@dataclass(frozen=True, slots=True)
class PatientDrafts:
    """What a patient's month is drafted as: ChargeItems in the order of the lines, then Claims.

    `evidence` is what all of them rest on. `remarks` say what could not be drafted as a Claim, and why.
    """

    patient: str
    charge_items: tuple[ChargeItem, ...] = ()
    claims: tuple[Claim, ...] = ()
    evidence: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def resources(self) -> tuple[ChargeItem | Claim, ...]:
        return *self.charge_items, *self.claims


def draft(decision: Decision, chart: Chart, run: DraftRun) -> PatientDrafts:
    lines = drafted_lines(decision, run.site)
    made, remarks = claims(decision, lines, chart, run)
    return PatientDrafts(
        patient=decision.patient,
        charge_items=tuple(charge_item(decision, line, chart, run) for line in lines),
        claims=made,
        evidence=tuple(sorted({ref for line in lines for ref in elements.evidence(decision, line)})),
        remarks=remarks,
    )


def drafted_lines(decision: Decision, site: DraftSite) -> tuple[Line, ...]:
    """Only billable lines are drafted, unless the site says otherwise."""
    return tuple(
        line
        for line in decision.lines
        if line.status == "billable" or (site.draft_review and line.status == "needs-review")
    )
