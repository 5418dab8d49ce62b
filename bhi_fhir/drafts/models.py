"""One patient's month as validated drafts."""

from __future__ import annotations

from dataclasses import dataclass

from fhir.resources.R4B.chargeitem import ChargeItem
from fhir.resources.R4B.claim import Claim

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart
from bhi_fhir.drafts.plain import plain_drafts
from bhi_fhir.drafts.site import DraftRun


@dataclass(frozen=True, slots=True)
class PatientDrafts:
    """What a patient's month is drafted as: ChargeItems in the order of the lines, then Claims.

    `evidence` is what all of them rest on. `remarks` say what could not be drafted as a Claim, and why. `diagnoses`
    are the month's ICD-10-CM codes, also where no Claim carries them: R4's ChargeItem has no place for one.
    """

    patient: str
    charge_items: tuple[ChargeItem, ...] = ()
    claims: tuple[Claim, ...] = ()
    evidence: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    diagnoses: tuple[str, ...] = ()

    @property
    def resources(self) -> tuple[ChargeItem | Claim, ...]:
        return *self.charge_items, *self.claims


def draft(decision: Decision, chart: Chart, run: DraftRun) -> PatientDrafts:
    """The plain drafts as models. A draft that FHIR does not allow raises: it is a fault of ours."""
    plain = plain_drafts(decision, chart, run)
    return PatientDrafts(
        patient=decision.patient,
        charge_items=tuple(ChargeItem.model_validate(charge) for charge in plain.charge_items),
        claims=tuple(Claim.model_validate(claim) for claim in plain.claims),
        evidence=plain.evidence,
        remarks=plain.remarks,
        diagnoses=plain.diagnoses,
    )
