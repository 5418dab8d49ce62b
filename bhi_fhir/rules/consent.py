"""The consent to BHI in the month that is decided."""

from __future__ import annotations

from bhi_fhir.domain.record import Chart
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.billing import Billing
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.permission import Permission


def consent_of_month(
    patient: PatientMonth, who: Billing, allowed: Permission, *, undecided: bool, outside: bool
) -> Answer:
    """`undecided`: work of the day of a consent without time would change a code; `outside`: all work lies outside."""
    chart, (start, end) = patient.chart, patient.month.span
    refs = tuple(sorted({c.ref for c in allowed.serving}))
    if undecided:
        because = "the consent has a date without time, and work of that day decides"
        return Answer("unknown", allowed.doubts[0] if allowed.doubts else because, refs)
    in_month = any(s[0] < end and s[1] > start for s in allowed.certain)
    if in_month and (reason := chart.lacks("Consent")):
        return Answer("unknown", f"what is missing may take the consent back or precede it: {reason}", refs)
    if in_month and not outside:
        return Answer("met", f"consent is in force for {who.practitioner or 'the billing practitioner'}", refs)
    if in_month:
        return Answer("not-met", "all of the month's work lies before the consent or after its end", refs)
    if any(s[0] < end and s[1] > start for s in allowed.possible):
        because = allowed.doubts[0] if allowed.doubts else "the consent's date is not exact enough"
        return Answer("unknown", because, refs)
    if reason := chart.lacks("Consent"):
        return Answer("unknown", reason)
    if any(c.kind == "unplaced" for c in chart.consents):
        unplaced = tuple(c.ref for c in chart.consents if c.kind == "unplaced")
        return Answer("unknown", "a consent is on file whose category no map knows", unplaced)
    return _no_consent(chart, who, allowed)


def _no_consent(chart: Chart, who: Billing, allowed: Permission) -> Answer:
    mine = [c for c in chart.consents if c.kind == "bhi"]
    refs = tuple(c.ref for c in mine)
    if allowed.serving:
        first = min((s[0] for s in allowed.certain), default=None)
        word = "had ended before this month" if first else "is refused or withdrawn"
        return Answer("not-met", f"the consent was given after this month or {word}", refs)
    if any(c.permits for c in mine):
        name = who.practitioner or "the billing practitioner"
        return Answer("not-met", f"the consent on file names somebody else, not {name}", refs)
    if mine:
        return Answer("not-met", "the patient refused", refs)
    return Answer("not-met", "no BHI consent is on file")
