"""The Bundle of `--format fhir`: the drafts, and an OperationOutcome for what stands in their way.

Plain JSON, as the drafts are: tests have the models of fhir.resources validate it, for they take ten times as long
as the decision does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bhi_fhir.domain.decision import Candidate, Decision, Finding
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.elements import Json
from bhi_fhir.drafts.identity import full_url
from bhi_fhir.drafts.plain import PlainDrafts, plain_drafts
from bhi_fhir.drafts.site import DraftRun, DraftSite


def draft_bundle(decided: Iterable[tuple[str, Decision, Chart]], set_aside: Sequence[SetAside], run: DraftRun) -> Json:
    """Of (file, decision, chart), by patient, then file: ChargeItems, Claims, an OperationOutcome.

    Last, an OperationOutcome for what was set aside.
    """
    site, month = run.site, run.month
    entries: list[Json] = []
    for file, decision, chart in sorted(decided, key=lambda each: (each[1].patient, each[0])):
        drafts = plain_drafts(decision, chart, run)
        entries += [_entry(resource, file, site) for resource in (*drafts.charge_items, *drafts.claims)]
        where = full_url(site.name, "outcome", file, decision.patient, str(month))
        entries.append({"fullUrl": where, "resource": outcome(decision, chart, drafts, run)})
    if set_aside:
        where = full_url(site.name, "set aside", str(month))
        entries.append({"fullUrl": where, "resource": set_aside_outcome(set_aside)})
    return elements.present(resourceType="Bundle", type="collection", entry=entries)


def outcome(decision: Decision, chart: Chart, drafts: PlainDrafts, run: DraftRun) -> Json:
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
    return {"resourceType": "OperationOutcome", "meta": meta, "issue": issues}


def set_aside_outcome(set_aside: Sequence[SetAside]) -> Json:
    issues = [_issue("warning", "invalid", _place(record), record.reason) for record in set_aside]
    return {"resourceType": "OperationOutcome", "issue": issues}


def _entry(resource: Json, file: str, site: DraftSite) -> Json:
    # Two files may hold the same patient, and then the same draft: a fullUrl must not stand twice.
    where = full_url(site.name, resource["resourceType"], file, resource["identifier"][0]["value"])
    return {"fullUrl": where, "resource": resource}


def _summary(decision: Decision, drafts: PlainDrafts, month: ServiceMonth) -> str:
    drafted = ", ".join(charge["code"]["coding"][0]["code"] for charge in drafts.charge_items)
    return f"{month}: {decision.minutes.counted} minutes counted; drafted: {drafted or 'nothing'}."


def _open(candidate: Candidate, finding: Finding) -> Json:
    severity = "warning" if candidate.status == "needs-review" else "information"
    code = "incomplete" if finding.outcome == "unknown" else "business-rule"
    return _issue(severity, code, f"{candidate.code} {finding.requirement}", finding.because)


def _place(record: SetAside) -> str:
    return " ".join(part for part in (record.file, record.at, record.resource) if part) or "record"


def _issue(severity: str, code: str, what: str, sentence: str) -> Json:
    return {"severity": severity, "code": code, "details": {"text": what}, "diagnostics": sentence}
