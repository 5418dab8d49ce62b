"""The Bundle of `--format fhir`: the drafts, and an OperationOutcome for what stands in their way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fhir.resources.R4B.bundle import Bundle, BundleEntry
from fhir.resources.R4B.chargeitem import ChargeItem
from fhir.resources.R4B.claim import Claim
from fhir.resources.R4B.codeableconcept import CodeableConcept
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.operationoutcome import OperationOutcome, OperationOutcomeIssue

from bhi_fhir.domain.decision import Candidate, Decision, Finding
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.identity import full_url
from bhi_fhir.drafts.models import PatientDrafts, draft
from bhi_fhir.drafts.site import DraftRun, DraftSite


def draft_bundle(
    decided: Iterable[tuple[str, Decision, Chart]], set_aside: Sequence[SetAside], run: DraftRun
) -> Bundle:
    """Of (file, decision, chart), by patient, then file: ChargeItems, Claims, an OperationOutcome.

    Last, an OperationOutcome for what was set aside.
    """
    site, month = run.site, run.month
    entries: list[BundleEntry] = []
    for file, decision, chart in sorted(decided, key=lambda each: (each[1].patient, each[0])):
        drafts = draft(decision, chart, run)
        entries += [_entry(resource, file, site) for resource in drafts.resources]
        where = full_url(site.name, "outcome", file, decision.patient, str(month))
        entries.append(BundleEntry(fullUrl=where, resource=outcome(decision, chart, drafts, run)))
    if set_aside:
        where = full_url(site.name, "set aside", str(month))
        entries.append(BundleEntry(fullUrl=where, resource=set_aside_outcome(set_aside)))
    return Bundle(type="collection", entry=entries or None)


def outcome(decision: Decision, chart: Chart, drafts: PatientDrafts, run: DraftRun) -> OperationOutcome:
    """What stands in the way of one patient's codes; the first issue names the patient and what was drafted.

    A warning is something that a person can still decide, information what is simply so.
    """
    rests_on = {ref for candidate in decision.candidates for f in candidate.findings for ref in f.evidence}
    issues = [
        _issue("information", "informational", decision.patient, _summary(decision, drafts, run.month)),
        *(_issue("warning", "incomplete", "record not whole", reason) for reason in decision.withheld),
        *(_issue("warning", "informational", "record", warning) for warning in decision.warnings),
        *(_issue("information", "not-found", "Claim", remark) for remark in drafts.remarks),
        *(_open(candidate, f) for candidate in decision.candidates for f in candidate.findings if f.open),
    ]
    meta = elements.meta(run.site, elements.labels(chart, rests_on))
    return OperationOutcome(meta=Meta.model_validate(meta), issue=issues)


def set_aside_outcome(set_aside: Sequence[SetAside]) -> OperationOutcome:
    return OperationOutcome(issue=[_issue("warning", "invalid", _place(record), record.reason) for record in set_aside])


def _entry(resource: ChargeItem | Claim, file: str, site: DraftSite) -> BundleEntry:
    # Two files may hold the same patient, and then the same draft: a fullUrl must not stand twice.
    value = (resource.identifier or [])[0].value or ""
    where = full_url(site.name, resource.get_resource_type(), file, value)
    return BundleEntry(fullUrl=where, resource=resource)


def _summary(decision: Decision, drafts: PatientDrafts, month: ServiceMonth) -> str:
    drafted = ", ".join((charge.code.coding or [])[0].code or "" for charge in drafts.charge_items)
    return f"{month}: {decision.minutes.counted} minutes counted; drafted: {drafted or 'nothing'}."


def _open(candidate: Candidate, finding: Finding) -> OperationOutcomeIssue:
    severity = "warning" if candidate.status == "needs-review" else "information"
    code = "incomplete" if finding.outcome == "unknown" else "business-rule"
    return _issue(severity, code, f"{candidate.code} {finding.requirement}", finding.because)


def _place(record: SetAside) -> str:
    return " ".join(part for part in (record.file, record.at, record.resource) if part) or "record"


def _issue(severity: str, code: str, what: str, sentence: str) -> OperationOutcomeIssue:
    return OperationOutcomeIssue(severity=severity, code=code, details=CodeableConcept(text=what), diagnostics=sentence)
