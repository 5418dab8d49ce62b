"""The requirements of the related services: who did it, how long, on what occasion."""

from __future__ import annotations

from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.case import Case, refs


def performer(case: Case) -> Answer:
    assert case.work is not None
    return case.work.performer


def minutes_of_service(case: Case) -> Answer:
    assert case.work is not None
    return case.work.minutes


def consent_to_consultation(case: Case) -> Answer:
    assert case.work is not None
    return case.work.consent


def emergency_discharge(case: Case) -> Answer:
    assert case.work is not None
    return case.work.discharge


def follow_up_call(case: Case) -> Answer:
    assert case.work is not None
    return case.work.call


def suicide_or_overdose_risk(case: Case) -> Answer:
    """A mapped diagnosis or reason, or a scale's risk item."""
    chart, month = case.chart, case.month
    found = [d.ref for d in chart.diagnoses if d.risk and not d.doubt and d.period.meets(month.span)]
    found += [a.ref for a in chart.activities if a.risk and month.holds(a.when)]
    found += [s.ref for s in chart.screenings if s.risk and month.holds(s.when)]
    if found:
        return Answer("met", "suicidal crisis or overdose risk is documented", tuple(sorted(set(found))))
    doubtful = [d for d in chart.diagnoses if d.risk and d.period.meets(month.span)]
    if doubtful:
        return Answer("unknown", f"the risk is doubtful: {doubtful[0].doubt}", refs(doubtful))
    parts = ("Condition", "Encounter", "Observation", "QuestionnaireResponse")
    return case.absent("no suicidal crisis or overdose risk is documented", *parts)


def once_per_course(case: Case) -> Answer:
    """No earlier supply or charge of the device."""
    assert case.work is not None
    before = case.month.span[0]
    earlier = [
        a.ref
        for a in case.chart.activities
        if "dmht-supply" in a.kinds and a.state == "done" and a.when and a.when.latest <= before
    ]
    earlier += [c.ref for c in case.chart.charges if c.code == case.code.code and c.when and c.when.closes <= before]
    if earlier:
        return Answer("not-met", "a device was supplied before; a course of treatment has one", tuple(sorted(earlier)))
    if reason := case.chart.lacks("Procedure", "Encounter", "ChargeItem", "Claim"):
        return Answer("unknown", reason)
    return Answer("met", "no earlier supply is on file", case.work.sources)


def device_clearance(case: Case) -> Answer:
    assert case.work is not None
    supplies = [a for a in case.chart.activities if a.ref in case.work.sources]
    cleared = tuple(a.ref for a in supplies if a.device_cleared)
    if cleared:
        return Answer("met", "the site lists the device as cleared by the FDA", cleared)
    return Answer("not-met", "the site's list of cleared devices does not hold this device", case.work.sources)
