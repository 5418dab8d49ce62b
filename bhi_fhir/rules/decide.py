"""Each code's findings, then the choice among them, then the lines and what is shown of the minutes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from bhi_fhir.domain.decision import Candidate, Decision, Episode, Finding, Line, Minutes, NextTier
from bhi_fhir.domain.record import Chart, Program
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import replace
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.case import Case
from bhi_fhir.rules.choice import (
    MonthCase,
    Trial,
    add_ons_to,
    already_charged,
    charge_against,
    choose_cocm,
    choose_general,
    of_this_month,
    settle_exclusivity,
    status_of,
)
from bhi_fhir.rules.course import follow
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.requirements import Check, finding
from bhi_fhir.rules.service_date import date_of_related, date_of_service
from bhi_fhir.rules.services import related
from bhi_fhir.rules.setting import Asked, Setting


def decide(chart: Chart, month: ServiceMonth, rules: Rules, switches: Switches) -> Decision:
    """Decide one patient's calendar month. Pure: the same chart gives the same decision."""
    return decider(month, rules, switches)(chart)


def decider(month: ServiceMonth, rules: Rules, switches: Switches) -> Callable[[Chart], Decision]:
    """`decide` for many charts: what does not depend on the chart is worked out once."""
    return partial(_decide, setting=Setting(month, rules, switches))


def _decide(chart: Chart, setting: Setting) -> Decision:
    patient = PatientMonth(chart, setting)
    case = MonthCase(patient, chart, setting.month, setting.rules, setting.switches)
    programs = programs_of(chart, setting.month)
    for asked in setting.asked(programs):
        _try(case, asked)
    already_charged(case)
    chosen_cocm = choose_cocm(case) if Program.COCM in programs else None
    chosen_general = choose_general(case, chosen_cocm, programs)
    for trial in case.trials.values():
        settle_exclusivity(case, trial)
    chosen = [t for t in (chosen_cocm, *chosen_general) if t is not None and t.status != "not-billable"]
    lines, services = _lines(case, [*chosen, *add_ons_to(case, chosen)])
    return _decision(case, programs, chosen, lines, services)


def programs_of(chart: Chart, month: ServiceMonth) -> list[Program]:
    """The programs of the teams in force in the month; else of the last team known; else both."""
    now = {t.program for t in chart.teams if t.period.meets(month.span)}
    if not now and chart.teams:
        now = {max(chart.teams, key=lambda t: (t.period.opens, t.ref)).program}
    return sorted(now or set(Program))


def _try(case: MonthCase, asked: Asked) -> None:
    """Every finding of a code but exclusivity."""
    course = case.courses.get(asked.track)
    if course is None:
        course = case.courses[asked.track] = follow(case.patient, asked.track)
    one, found = Case(case.patient, asked.code, course), case.findings
    for check in asked.first:
        found[check] = check.of(one)
    block, review = (list(filter(None, map(found.get, checks))) for checks in (asked.block, asked.review))
    case.trials[asked.code.code] = Trial(asked.code, course, block, review, units=1)


# -- lines ------------------------------------------------------------------------------------------


def _lines(case: MonthCase, drafted: list[Trial]) -> tuple[list[Line], list[Candidate]]:
    lines = [
        Line(
            t.code.code,
            t.code.system,
            t.units,
            t.status,
            t.course.billing.practitioner,
            date_of_service(case.chart, case.month, t.code, t.course, t.units, case.rules, case.switches),
        )
        for t in drafted
    ]
    services = []
    for code, checks in case.patient.setting.services if case.patient.services else ():
        candidate, line = _service(case, code, checks)
        services += [candidate] if candidate else []
        lines += [line] if line else []
    if case.rules.unverified:
        lines = []
    return lines, services


def _service(case: MonthCase, code: Code, checks: tuple[Check, ...]) -> tuple[Candidate | None, Line | None]:
    """One related service: its findings and its line."""
    work = related(case.chart, code, case.month, case.rules, case.switches)
    if work is None:
        return None, None
    asked = Case(case.patient, code, work=work)
    found = [f for check in checks if (f := check.of(asked))]
    findings = [f for f in found if f.level == "block"]
    against = charge_against(case, code)
    if against is not None:
        findings.append(finding(case.rules, "exclusivity", "block", against))
    findings += [f for f in found if f.level == "review"]
    status = status_of(findings)
    billed = status != "not-billable" and work.units > 0
    candidate = Candidate(code.code, status, work.units if billed else 0, tuple(findings))
    if not billed:
        return candidate, None
    day = date_of_related(case.chart, case.month, work, case.switches)
    return candidate, Line(code.code, code.system, work.units, status, work.practitioner, day, work.days)


def _decision(
    case: MonthCase, programs: list[Program], chosen: list[Trial], lines: list[Line], services: list[Candidate]
) -> Decision:
    place = case.patient.setting.place
    trials = sorted(case.trials.values(), key=lambda t: place[t.code.code])
    candidates = [
        Candidate(t.code.code, s := t.status, t.units if s != "not-billable" else 0, t.findings) for t in trials
    ]
    if case.rules.unverified:
        candidates = [_unverified(c, case.rules) for c in candidates]
        services = [_unverified(c, case.rules) for c in services]
    shown = _shown(case, chosen, programs)
    cocm = [t for t in trials if t.code.program == Program.COCM]
    first = cocm[0].course.first_month if cocm and Program.COCM in programs else None
    return Decision(
        patient=case.chart.patient,
        program=_program(case, chosen, programs),
        episode=_episode(case.month, first),
        minutes=_minutes(case, shown),
        lines=tuple(lines),
        candidates=tuple(candidates + services),
        withheld=tuple(dict.fromkeys(h.reason for h in case.chart.withheld)),
        warnings=tuple(dict.fromkeys([*case.warnings, *case.chart.warnings])),
    )


def _unverified(candidate: Candidate, rules: Rules) -> Candidate:
    """Nobody has re-read the source for this month: shown, never drafted."""
    said = f"nobody has verified the policy for this month: re-read the source of {rules.unverified[0]}"
    stop = Finding("policy-verified", "not-met", said, rules.unverified[0])
    return replace(candidate, status="not-billable", units=0, findings=(*candidate.findings, stop))


def _program(case: MonthCase, chosen: list[Trial], programs: list[Program]) -> str | None:
    if not case.chart.teams:
        return None
    return chosen[0].code.program if chosen else str(programs[0])


def _episode(month: ServiceMonth, first: int | None) -> Episode | None:
    if first is None:
        return None
    return Episode(str(ServiceMonth(first, month.zone)), "initial" if first == month.index else "later")


def _shown(case: MonthCase, chosen: list[Trial], programs: list[Program]) -> Trial | None:
    """The selected code, else the program's code nearest to being billable."""
    if chosen:
        return chosen[0]
    mine = [t for t in case.trials.values() if t.code.program in programs and t.code.role != "add-on"]
    return min(mine, key=_distance, default=None)  # of equals the first that was tried


def _distance(trial: Trial) -> tuple[int, int]:
    """How far from being billable: what blocks, then all that is open."""
    return sum([f.blocks for f in trial.opened]), len(trial.opened)


def _minutes(case: MonthCase, shown: Trial | None) -> Minutes:
    if shown is None:
        return Minutes()
    course = shown.course
    return Minutes(course.minutes, course.not_counted, _next(case, shown), course.sources)


def _next(case: MonthCase, shown: Trial) -> NextTier | None:
    """The next code that more minutes of this kind would reach."""
    done = shown.course.minutes
    for at, code in sorted(_tiers(case, shown, done)):
        if at > done:
            return NextTier(code, at, at - done)
    return None


def _tiers(case: MonthCase, shown: Trial, done: int) -> list[tuple[int, str]]:
    """Of the shown code and its siblings of this month; an APCM add-on stands for itself."""
    if shown.code.role == "apcm":
        return [(thresholds.needed(shown.code, case.switches), shown.code.code)]
    siblings = case.patient.setting.siblings[shown.code.code]
    base, short = of_this_month(case, siblings.base), of_this_month(case, siblings.short)
    tiers = [(thresholds.needed(t.code, case.switches), t.code.code) for t in (short, base) if t is not None]
    if base is not None:
        for add_on in siblings.add_on:
            tiers += _next_unit(case, base, case.rules.codes[add_on], done)
    return tiers


def _next_unit(case: MonthCase, base: Trial, add_on: Code, done: int) -> list[tuple[int, str]]:
    """Within the site's limit."""
    unit = thresholds.units(base.code, add_on, done, case.switches) + 1
    if case.switches.max_99494 and unit > case.switches.max_99494:
        return []
    return [(thresholds.unit_at(base.code, add_on, unit, case.switches), add_on.code)]
