"""One billable line as a planned ChargeItem."""

from __future__ import annotations

from datetime import date

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.elements import Json
from bhi_fhir.drafts.identity import identifier
from bhi_fhir.drafts.site import DraftRun

NEEDS_REVIEW = "Needs review: "
"""How the note begins that the draft of a line has which a person must look at."""


def charge_item(decision: Decision, line: Line, chart: Chart, run: DraftRun) -> Json:
    site = run.site
    rests_on = elements.evidence(decision, line)
    definition = f"{site.canonical_base.rstrip('/')}/ChargeItemDefinition/{line.code}|{site.ruleset}"
    return elements.present(
        resourceType="ChargeItem",
        meta=elements.meta(site, elements.labels(chart, rests_on)),
        identifier=[identifier(site.name, decision.patient, run.month, line.code, _kind(line))],
        definitionCanonical=[definition],
        status="planned",
        code=elements.service(line, run.titles),
        subject=elements.reference(decision.patient),
        context=_episode(decision, chart, run.month),
        occurrencePeriod=elements.whole_month(run.month),
        performer=_performer(line),
        quantity=elements.units(line.units),
        note=[*_days(line.days), *_to_review(decision, line)],
        supportingInformation=elements.references(rests_on),
    )


def _kind(line: Line) -> str:
    """A monthly service exists once a month, whoever bills it; one of a day is that person's own."""
    return f"charge of a day\n{line.practitioner}" if line.days else "charge of a month"


def _episode(decision: Decision, chart: Chart, month: ServiceMonth) -> Json | None:
    """The latest EpisodeOfCare of the program that covers part of the month; never an Encounter."""
    covering = [
        (episode.period.opens, episode.ref)
        for episode in chart.care_episodes
        if episode.program == decision.program and not episode.doubt and episode.period.meets(month.span)
    ]
    return elements.reference(max(covering)[1]) if covering else None


def _performer(line: Line) -> list[Json]:
    return [{"actor": elements.reference(line.practitioner)}] if line.practitioner else []


def _days(days: tuple[tuple[date, int], ...]) -> list[Json]:
    """Services of a day keep their dates, which the occurrence (the month) does not tell."""
    said = ", ".join(f"{day} {number}" for day, number in days)
    return [{"text": f"Units by day: {said}"}] if days else []


def _to_review(decision: Decision, line: Line) -> list[Json]:
    """Whoever sees the draft of a line that needs review sees what is open."""
    if line.status != "needs-review":
        return []
    found = (f.requirement for c in decision.candidates if c.code == line.code for f in c.findings if f.open)
    return [{"text": f"{NEEDS_REVIEW}{', '.join(dict.fromkeys(found)) or 'its base does'}"}]
