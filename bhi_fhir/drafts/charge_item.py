"""One billable line as a planned ChargeItem."""

from __future__ import annotations

from datetime import date

from fhir.resources.R4B.annotation import Annotation
from fhir.resources.R4B.chargeitem import ChargeItem, ChargeItemPerformer
from fhir.resources.R4B.reference import Reference

from bhi_fhir.domain.decision import Decision, Line
from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.drafts import elements
from bhi_fhir.drafts.identity import identifier
from bhi_fhir.drafts.site import DraftRun


def charge_item(decision: Decision, line: Line, chart: Chart, run: DraftRun) -> ChargeItem:
    site = run.site
    rests_on = elements.evidence(decision, line)
    definition = f"{site.canonical_base.rstrip('/')}/ChargeItemDefinition/{line.code}|{site.ruleset}"
    return ChargeItem(
        meta=elements.meta(site, elements.labels(chart, rests_on)),
        identifier=[identifier(site.name, decision.patient, run.month, line.code, _kind(line))],
        definitionCanonical=[definition],
        status="planned",
        code=elements.service(line, run.titles),
        subject=Reference(reference=decision.patient),
        context=_episode(decision, chart, run.month),
        occurrencePeriod=elements.whole_month(run.month),
        performer=_performer(line),
        quantity=elements.units(line.units),
        supportingInformation=elements.references(rests_on) or None,
        note=_days(line.days),
    )


def _kind(line: Line) -> str:
    """A monthly service exists once a month, whoever bills it; one of a day is that person's own."""
    return f"charge of a day\n{line.practitioner}" if line.days else "charge of a month"


def _episode(decision: Decision, chart: Chart, month: ServiceMonth) -> Reference | None:
    """The latest EpisodeOfCare of the program that covers part of the month; never an Encounter."""
    covering = [
        (episode.period.opens, episode.ref)
        for episode in chart.care_episodes
        if episode.program == decision.program and not episode.doubt and episode.period.meets(month.span)
    ]
    return Reference(reference=max(covering)[1]) if covering else None


def _performer(line: Line) -> list[ChargeItemPerformer] | None:
    if line.practitioner is None:
        return None
    return [ChargeItemPerformer(actor=Reference(reference=line.practitioner))]


def _days(days: tuple[tuple[date, int], ...]) -> list[Annotation] | None:
    """Services of a day keep their dates, which the occurrence (the month) does not tell."""
    if not days:
        return None
    return [Annotation(text="Units by day: " + ", ".join(f"{day} {number}" for day, number in days))]
