"""Calls after an emergency discharge: one unit a month, billed by the treating practitioner."""

from __future__ import annotations

from bhi_fhir.domain.record import Activity, Stay
from bhi_fhir.domain.time import Moment
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.services.entries import day_of, days_worked
from bhi_fhir.rules.services.log import treating_at
from bhi_fhir.rules.services.work import Service, Work


def of_calls(service: Service, entries: list[Activity]) -> Work:
    month = service.month
    done = [a for a in entries if a.state == "done" and a.when]
    refs = tuple(sorted(a.ref for a in done))
    if not done:
        unclear = tuple(sorted(a.ref for a in entries))
        call = Answer("unknown", "whether a follow-up call was made cannot be read", unclear)
        return Work(unclear, None, 1, call=call, discharge=Answer("unknown", "no call has a readable date", unclear))
    first = min(done, key=lambda a: (a.when.earliest if a.when else month.span[0], a.ref))
    assert first.when is not None
    said = f"{len(done)} follow-up call{'s' if len(done) > 1 else ''} in the month: one unit"
    treating = treating_at(service.chart, service.code, first.when)
    return Work(
        sources=refs,
        practitioner=next(iter(treating)) if len(treating) == 1 else None,
        units=1,
        call=Answer("met", said, refs),
        discharge=_discharge(service, first.when),
        worked=days_worked(done, month),
        reached=day_of(first, month),
    )


def _discharge(service: Service, call: Moment) -> Answer:
    """An emergency visit that ended before the first call, in the same or a previous month."""
    chart, months = service.chart, service.rules.values["emergency_months"]
    earliest = service.month.shifted(-months).span[0]
    visits = [s for s in chart.stays if s.kind == "emergency" and s.finished is not False]
    ended = [
        s
        for s in visits
        if s.finished and (end := s.period.end) and earliest <= end.earliest and end.latest <= call.earliest
    ]
    if ended:
        return Answer("met", "an emergency visit ended before the first call", tuple(sorted(s.ref for s in ended)))
    vague = [s for s in visits if s.period.closes >= earliest and _may_have_ended(s, call)]
    if vague:
        refs = tuple(sorted(s.ref for s in vague))
        return Answer("unknown", "nothing says exactly whether the emergency visit ended before the first call", refs)
    if reason := chart.lacks("Encounter"):
        return Answer("unknown", reason)
    before = "or the previous month" if months == 1 else f"month or the {months} before it"
    return Answer("not-met", f"no emergency visit ended before the first call, in this {before}")


def _may_have_ended(stay: Stay, call: Moment) -> bool:
    ends = stay.period.end or stay.period.start
    return ends is None or ends.earliest < call.latest or ends.earliest == call.earliest
