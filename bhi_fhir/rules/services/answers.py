"""The answers that several related services give alike."""

from __future__ import annotations

from bhi_fhir.domain.record import Activity, Chart
from bhi_fhir.policy import Code, Switches
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.services.entries import SHARED
from bhi_fhir.rules.services.log import Log

_UNREADABLE = "time that cannot be read may reach it"
_SEVERAL = "several people performed it; one line cannot name them all"


def performer(chart: Chart, log: Log) -> Answer:
    if log.by_person:
        return performed(chart, "met" if log.only else "several", set(log.by_person), log.sources)
    outcome, entries = ("unknown", log.doubtful) if log.doubtful else ("not-met", log.refused)
    return performed(chart, outcome, set(), tuple(sorted(a.ref for a in entries)))


def performed(chart: Chart, outcome: str, people: set[str], refs: tuple[str, ...]) -> Answer:
    if outcome == "several":
        return Answer("unknown", _SEVERAL, refs)
    if outcome == "met":
        return Answer("met", f"{' and '.join(sorted(people))} performed it and may bill it", refs)
    if outcome == "unknown":
        return Answer("unknown", "nothing says whether the person who performed it may bill it", refs)
    if reason := chart.lacks("PractitionerRole", "Practitioner", "CareTeam"):
        return Answer("unknown", reason, refs)
    return Answer("not-met", "nobody who performed it may bill it", refs)


def short_of(
    chart: Chart, said: str, unclear: tuple[str, ...], refs: tuple[str, ...], entries: list[Activity], may_reach: bool
) -> Answer:
    """Too few minutes. `unclear`: unread work, `may_reach`: it may make up what is missing."""
    if unclear and may_reach:
        shared = any(a.trouble == SHARED for a in entries if a.ref in unclear)
        return Answer("unknown", f"{said}; {SHARED if shared else _UNREADABLE}", unclear)
    if reason := chart.lacks("Encounter", "Procedure"):
        return Answer("unknown", f"{said}; {reason}", refs)
    return Answer("not-met", said, unclear or refs)


def by_switch(code: Code, switches: Switches) -> str:
    strict_matters = code.minutes is not None and "strict" in code.minutes.rule
    return " (site policy strict_time_related = false)" if strict_matters and not switches.strict_time_related else ""
