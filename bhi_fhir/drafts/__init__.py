"""Decisions as FHIR resources (R4, by fhir.resources.R4B). Pure: no clock, no file, no network.

draft(decision, chart, run)           -> PatientDrafts: ChargeItems, Claims, and what could not be a Claim
draft_bundle(decided, set_aside, run) -> the Bundle of `--format fhir`
provenance(created, evidence, ...)    -> after a write
"""

from bhi_fhir.drafts.bundle import draft_bundle
from bhi_fhir.drafts.draft import PatientDrafts, draft
from bhi_fhir.drafts.provenance import provenance
from bhi_fhir.drafts.site import DraftRun, DraftSite

__all__ = ["DraftRun", "DraftSite", "PatientDrafts", "draft", "draft_bundle", "provenance"]
