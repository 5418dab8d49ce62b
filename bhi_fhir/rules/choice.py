"""The choice: one family a month, one way to bill it, nothing twice.

`exclusivity` is the requirement that only the choice can answer; every other finding comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from bhi_fhir.domain.decision import ALREADY_CHARGED, Finding, Status
from bhi_fhir.domain.record import Chart, Program
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.charged import UNREADABLE, charged
from bhi_fhir.rules.course import Course
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.requirements import Check, finding
from bhi_fhir.rules.setting import Siblings
from bhi_fhir.rules.track import Track

_NOTHING_AGAINST = Answer("met", "nothing that is charged or chosen this month stands against it")
_RANK = {"billable": 0, "needs-review": 1, "not-billable": 2}


@dataclass(eq=False, slots=True)
class Trial:
    """One monthly code while it is being decided."""

    code: Code
    course: Course
    block: list[Finding]
    review: list[Finding]
    units: int = 0
    no: Answer | None = None
    """Why it must not stand beside what else is chosen or charged."""
    opened: list[Finding] = field(init=False)
    """Those that are not met."""

    def __post_init__(self) -> None:
        self.opened = [f for f in self.findings if f.outcome != "met"]

    @property
    def findings(self) -> tuple[Finding, ...]:
        return *self.block, *self.review

    def settle(self, exclusivity: Finding) -> None:
        """The last that blocks."""
        self.block.append(exclusivity)
        if exclusivity.open:
            self.opened.append(exclusivity)

    def finding(self, requirement: str) -> Finding:
        return next(f for f in self.findings if f.requirement == requirement)

    @property
    def status(self) -> Status:
        return status_of(self.opened)


@dataclass
class MonthCase:
    """Everything the choice looks at."""

    patient: PatientMonth
    chart: Chart
    month: ServiceMonth
    rules: Rules
    switches: Switches
    trials: dict[str, Trial] = field(default_factory=dict)
    courses: dict[Track, Course] = field(default_factory=dict)
    findings: dict[Check, Finding | None] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def get(self, code: str) -> Trial | None:
        return self.trials.get(code)


def status_of(findings: list[Finding] | tuple[Finding, ...]) -> Status:
    """not-billable if a blocking requirement is not met; needs-review if anything is open; else billable."""
    found: Status = "billable"
    for each in findings:
        if each.outcome != "met":
            if each.blocks:
                return "not-billable"
            found = "needs-review"
    return found


# -- what is charged already


def already_charged(case: MonthCase) -> None:
    """What is charged in the month is never charged again, and excludes what may not stand beside it."""
    for trial in case.trials.values():
        trial.no = charge_against(case, trial.code)


def charge_against(case: MonthCase, code: Code) -> Answer | None:
    if not case.chart.charges and not case.chart.withheld:
        return None
    same, maybe_same = charged(case.chart, case.month, [code.code])
    others, maybe_others = charged(case.chart, case.month, case.patient.setting.excluded[code.code])
    if same:
        return Answer("not-met", f"{code.code} {ALREADY_CHARGED}", (same[0].ref,))
    if others:
        said = f"{others[0].code} is already charged this month and excludes {code.code}"
        return Answer("not-met", said, (others[0].ref,))
    if maybe := maybe_same + maybe_others:
        first = max(maybe, key=lambda c: bool(c.code))
        said = f"a charge of {first.code} does not say surely that it is of another month" if first.code else UNREADABLE
        return Answer("unknown", said, (first.ref,))
    if reason := case.chart.lacks("ChargeItem", "Claim"):
        return Answer("unknown", reason)
    return None


# -- choice -----------------------------------------------------------------------------------------


def choose_cocm(case: MonthCase) -> Trial | None:
    """The one CoCM code of the month."""
    chosen = _best(_runners(case, Program.COCM))
    if chosen is not None:
        cocm = [t for t in case.trials.values() if t.code.program == Program.COCM]
        _exclude(cocm, chosen, f"{chosen.code.code} is the CoCM code of this month")
    return chosen


def _runners(case: MonthCase, program: Program) -> list[Trial]:
    """Of each way to bill the program's month, the code that stands for it."""
    found = (_of_siblings(case, siblings) for siblings in case.patient.setting.ways[program])
    return [trial for trial in found if trial is not None]


def _best(runners: list[Trial]) -> Trial | None:
    if len(runners) == 1:
        return runners[0]
    return min(runners, key=lambda t: (_is_blocked(t), _RANK[t.status], len(t.opened)), default=None)


def _of_siblings(case: MonthCase, siblings: Siblings) -> Trial | None:
    """The add-on where APCM is billed, else the base code, else that of a short month."""
    timed = _timed(case, siblings)
    add_on = _add_on_path(case, siblings, timed)
    if add_on is not None:
        others = [t for code in (*siblings.base, *siblings.short, *siblings.apcm) if (t := case.get(code))]
        _exclude(others, add_on, "the APCM add-on takes its place (switch A3, apcm_path)")
        return add_on
    for code in siblings.apcm:
        _not_this_way(case, code)
    return timed


def of_this_month(case: MonthCase, codes: tuple[str, ...]) -> Trial | None:
    """Of an initial and a later code, the one that the episode's month asks for."""
    for code in codes:
        trial = case.get(code)
        if trial is not None:
            first = trial.course.first_month in (None, case.month.index)
            if trial.code.episode_month in ("", "initial" if first else "later"):
                return trial
    return None


def _timed(case: MonthCase, siblings: Siblings) -> Trial | None:
    base, short = of_this_month(case, siblings.base), of_this_month(case, siblings.short)
    if base is not None and base.finding("minutes").outcome == "met":
        return base
    if short is not None and short.finding("minutes").outcome == "met":
        return short  # unread work raises no tier
    if base is not None and base.finding("minutes").outcome == "unknown":
        return base
    return short if short is not None and short.status != "not-billable" else base


def _add_on_path(case: MonthCase, siblings: Siblings, timed: Trial | None) -> Trial | None:
    """The APCM add-on that stands instead of the timed code; None to go by CPT."""
    trial = of_this_month(case, siblings.apcm)
    if trial is None or case.switches.apcm_path == "cpt":
        return None
    if not _apcm_is_charged(trial):
        return None
    gated = case.switches.addon_minute_gate and trial.finding("minutes").outcome == "not-met"
    return None if gated and timed is not None else trial


def _apcm_is_charged(trial: Trial) -> bool:
    """By the same practitioner or perhaps so; a charge that is only withheld moves no month to the add-on."""
    base = trial.finding("apcm-base")
    return base.outcome == "met" or (base.outcome == "unknown" and bool(base.evidence))


def _not_this_way(case: MonthCase, code: str) -> None:
    trial = case.get(code)
    if trial is not None and trial.no is None:
        if case.switches.apcm_path == "cpt":
            trial.no = Answer("not-met", "the site goes by CPT in APCM months (switch A3, apcm_path = cpt)")
        elif _apcm_is_charged(trial):
            trial.no = Answer("not-met", "the month goes by CPT (switch A3, addon_minute_gate)")


def _exclude(trials: list[Trial], winner: Trial | None, because: str) -> None:
    for trial in trials:
        if trial is not winner and trial.no is None:
            trial.no = Answer("not-met", because)


def choose_general(case: MonthCase, cocm: Trial | None, programs: list[Program]) -> list[Trial]:
    """The general BHI code of the month, unless CoCM stands; a CoCM month that falls short goes by switch A21."""
    general = [t for t in case.trials.values() if t.code.program == Program.GENERAL]
    if not general:
        return []
    if cocm is not None and cocm.status != "not-billable" and not _is_blocked(cocm):
        _exclude(general, cocm, f"CoCM ({cocm.code.code}) is the family of this month (switch A21)")
        return []
    if Program.GENERAL not in programs and case.switches.fallback_to_99484 == "advise":
        for trial in general:
            said = "the patient is in CoCM; general BHI is only an advice (switch A21, fallback_to_99484 = advise)"
            trial.no = trial.no or Answer("not-met", said)
        return []
    return _general_line(case, general, programs)


def _is_blocked(trial: Trial) -> bool:
    return trial.no is not None and trial.no.outcome == "not-met"


def _general_line(case: MonthCase, general: list[Trial], programs: list[Program]) -> list[Trial]:
    runners = _runners(case, Program.GENERAL)
    if Program.GENERAL not in programs:
        runners = [t for t in runners if t.code.fallback_for in programs]
        timed = " or ".join(t.code.code for t in general if t.code.fallback_for in programs and t.code.role == "base")
        _exclude([t for t in general if t not in runners], None, f"the fallback from CoCM is {timed} (switch A21)")
    if case.switches.allow_99484_with_g0323 and not any(t.code.role == "apcm" for t in runners):
        return runners
    best = _best(runners)
    if best is None:
        return []
    if best.status != "not-billable":
        _exclude(general, best, f"{best.code.code} is the general BHI code of this month: one a month")
    return [best]


def settle_exclusivity(case: MonthCase, trial: Trial) -> None:
    if "exclusivity" in trial.code.block:
        trial.settle(finding(case.rules, "exclusivity", "block", trial.no or _NOTHING_AGAINST))


# -- add-ons ----------------------------------------------------------------------------------------


def add_ons_to(case: MonthCase, chosen: list[Trial]) -> list[Trial]:
    """Those that stand, of the add-ons whose base was tried."""
    tried = [_add_on_to(case, code, chosen) for code in case.patient.setting.add_ons if _bases_of(case, code)]
    return [trial for trial in tried if trial.status != "not-billable" and trial.units]


def _bases_of(case: MonthCase, code: Code) -> tuple[str, ...]:
    return tuple(base for base in code.adds_to if base in case.trials)


def _add_on_to(case: MonthCase, code: Code, chosen: list[Trial]) -> Trial:
    """It stands on its base's findings, beside a base that is drafted or already charged."""
    base, is_charged = _base_of_add_on(case, code)
    units, minutes = _add_on_minutes(case, code, base)
    alone = finding(case.rules, "exclusivity", "block", _add_on_exclusivity(case, code, base, chosen, is_charged))
    own = {"minutes": minutes, "exclusivity": alone}
    not_the_bases = {*own, "episode-month"} if is_charged else set(own)
    block = [f for f in base.block if f.requirement not in not_the_bases] + [own[name] for name in code.block]
    review = [f for f in base.review if f.requirement not in not_the_bases]
    trial = case.trials[code.code] = Trial(code, base.course, block, review, units)
    return trial


def _add_on_minutes(case: MonthCase, code: Code, base: Trial) -> tuple[int, Finding]:
    """Units that the minutes reach within the site's limit; nothing is cut without a word."""
    course, limit, usual = base.course, case.switches.max_99494, case.rules.values["usual_units_99494"]
    reached = thresholds.units(base.code, code, course.minutes, case.switches)
    units = min(reached, limit) if limit else reached
    at = thresholds.unit_at(base.code, code, 1, case.switches)
    said = f"{course.minutes} minutes reach {reached} unit{'' if reached == 1 else 's'}; the first is at {at}"
    if units < reached:
        said += f"; the site's limit is {limit} (switch A4): {reached - units} not charged"
        case.warnings.append(f"{code.code}: {reached} units are reached, the site's limit is {limit}")
    elif reached > usual:
        said += "; that is more than usual, look at the record before charging (switch A4)"
        case.warnings.append(f"{code.code}: {reached} units are more than the usual {usual}")
    cite = code.minutes.cite if code.minutes else code.cite
    if units:
        return units, Finding("minutes", "met", said, cite, course.sources)
    if reason := case.chart.lacks("Encounter", "Procedure"):
        return units, Finding("minutes", "unknown", f"{said}; {reason}", cite, course.sources)
    return units, Finding("minutes", "not-met", said, cite, course.sources)


def _base_of_add_on(case: MonthCase, code: Code) -> tuple[Trial, bool]:
    """The base that is charged already, else the one of the episode's month."""
    bases = _bases_of(case, code)
    known, _ = charged(case.chart, case.month, bases)
    if known:
        return case.trials[known[0].code], True
    return of_this_month(case, bases) or case.trials[bases[0]], False


def _add_on_exclusivity(case: MonthCase, code: Code, base: Trial, chosen: list[Trial], is_charged: bool) -> Answer:
    against = charge_against(case, code)
    if against is not None and against.outcome == "not-met":
        return against
    if is_charged:
        return against or _beside_charged(case, code, base)
    if base in chosen:
        return against or base.no or Answer("met", f"it stands beside {base.code.code}")
    return Answer("not-met", f"it stands only beside {' or '.join(code.adds_to)}")


def _beside_charged(case: MonthCase, code: Code, base: Trial) -> Answer:
    """An add-on belongs to the practitioner who bills its base."""
    known, _ = charged(case.chart, case.month, code.adds_to)
    by = {p for charge in known for p in charge.practitioners}
    ref = tuple(sorted(charge.ref for charge in known))
    if by and not by & set(base.course.billing.people):
        return Answer("unknown", f"{base.code.code} is charged by another practitioner", ref)
    return Answer("met", f"{base.code.code} is already charged this month", ref)
