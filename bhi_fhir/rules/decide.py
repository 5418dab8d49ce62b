"""Each code's findings, then the choice: one family a month, one way to bill it, the lines.

`exclusivity` is the requirement that only the choice can answer; every other finding comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from bhi_fhir.domain.decision import Candidate, Decision, Episode, Finding, Line, Minutes, NextTier, Status
from bhi_fhir.domain.record import Chart, Program
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.course import Answer, Course, follow
from bhi_fhir.rules.requirements import Case, charged, check, finding
from bhi_fhir.rules.service_date import date_of_related, date_of_service
from bhi_fhir.rules.services import related
from bhi_fhir.rules.track import Track

_RANK = {"billable": 0, "needs-review": 1, "not-billable": 2}
_ORDER = ("99492", "99493", "G2214", "G0568", "G0569", "99494", "99484", "G0323", "G0570")


@dataclass
class _Trial:
    """One monthly code while it is being decided."""

    code: Code
    course: Course
    findings: list[Finding]
    units: int = 0
    no: Answer | None = None
    """Why it must not stand beside what else is chosen or charged."""

    def finding(self, requirement: str) -> Finding:
        return next(f for f in self.findings if f.requirement == requirement)

    @property
    def status(self) -> Status:
        return status_of(self.findings)

    @property
    def open(self) -> int:
        return sum(f.open for f in self.findings)


@dataclass
class _Month:
    """Everything the choice looks at."""

    chart: Chart
    month: ServiceMonth
    rules: Rules
    switches: Switches
    trials: dict[str, _Trial] = field(default_factory=dict)
    courses: dict[Track, Course] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def get(self, code: str) -> _Trial | None:
        return self.trials.get(code)


def status_of(findings: list[Finding] | tuple[Finding, ...]) -> Status:
    """not-billable if a blocking requirement is not met; needs-review if anything is open; else billable."""
    if any(f.blocks for f in findings):
        return "not-billable"
    return "needs-review" if any(f.open for f in findings) else "billable"


def decide(chart: Chart, month: ServiceMonth, rules: Rules, switches: Switches) -> Decision:
    """Decide one patient's calendar month. Pure: the same chart gives the same decision."""
    case = _Month(chart, month, rules, switches)
    programs = _programs(chart, month)
    for code in _monthly_codes(rules, programs):
        _try(case, code, programs)
    _already_charged(case)
    chosen_cocm = _choose_cocm(case) if Program.COCM in programs else None
    chosen_general = _choose_general(case, chosen_cocm, programs)
    for trial in case.trials.values():
        _settle_exclusivity(case, trial)
    chosen = [t for t in (chosen_cocm, *chosen_general) if t is not None and t.status != "not-billable"]
    _add_on(case, chosen_cocm)
    lines, services = _lines(case, chosen)
    return _decision(case, programs, chosen, lines, services)


def _programs(chart: Chart, month: ServiceMonth) -> list[Program]:
    """The programs of the teams in force in the month; else of the last team known; else both."""
    now = {t.program for t in chart.teams if t.period.meets(month.span)}
    if not now and chart.teams:
        now = {max(chart.teams, key=lambda t: (t.period.opens, t.ref)).program}
    return sorted(now or set(Program))


def _monthly_codes(rules: Rules, programs: list[Program]) -> list[Code]:
    """Codes of the patient's programs; a CoCM patient is also asked for general BHI, as advice (A21)."""
    wanted = set(programs) | ({Program.GENERAL} if Program.COCM in programs else set())
    codes = [rules.codes[c] for c in _ORDER if c in rules.codes]
    return [c for c in codes if c.program in wanted and not c.adds_to and c.drafted]


def _try(case: _Month, code: Code, programs: list[Program]) -> None:
    """Every finding of a code but exclusivity."""
    fallback = code.program == Program.GENERAL and Program.GENERAL not in programs
    if fallback and code.wants_apcm:
        return
    track = Track.of(code, Program.COCM if fallback else None)
    if track not in case.courses:
        case.courses[track] = follow(case.chart, track, case.month, case.rules, case.switches)
    course = case.courses[track]
    asked = Case(case.chart, case.month, case.rules, case.switches, code, course)
    findings = []
    for level, names in (("block", code.block), ("review", code.review)):
        for name in names:
            if name != "exclusivity":
                found = check(asked, name, level)  # type: ignore[arg-type]  # the two levels
                if found is not None:
                    findings.append(found)
    case.trials[code.code] = _Trial(code, course, findings, units=1)


def _already_charged(case: _Month) -> None:
    """What is charged in the month is never charged again, and excludes what may not stand beside it."""
    for trial in case.trials.values():
        trial.no = _charge_against(case, trial.code)


def _charge_against(case: _Month, code: Code) -> Answer | None:
    same, maybe_same = charged(case.chart, case.month, [code.code])
    others, maybe_others = charged(case.chart, case.month, _excluded(code, case.switches))
    if same:
        return Answer("not-met", f"{code.code} is already charged this month", (same[0].ref,))
    if others:
        said = f"{others[0].code} is already charged this month and excludes {code.code}"
        return Answer("not-met", said, (others[0].ref,))
    if maybe := maybe_same + maybe_others:
        said = f"a charge of {maybe[0].code} does not say surely that it is of another month"
        return Answer("unknown", said, (maybe[0].ref,))
    if reason := case.chart.lacks("ChargeItem", "Claim"):
        return Answer("unknown", reason)
    return None


def _excluded(code: Code, switches: Switches) -> set[str]:
    both = {"99484", "G0323"}
    if switches.allow_99484_with_g0323 and code.code in both:
        return set(code.excludes) - both
    return set(code.excludes)


# -- choice -----------------------------------------------------------------------------------------


def _choose_cocm(case: _Month) -> _Trial | None:
    """The one CoCM code of the month: add-on where APCM is billed, else base, else G2214."""
    timed = _timed_cocm(case)
    add_on = _add_on_path(case, ("G0568", "G0569"), timed)
    if add_on is not None:
        _exclude(case, [t for t in case.trials.values() if t.code.program == Program.COCM], add_on,
                 "the APCM add-on takes its place (switch A3, apcm_path)")  # fmt: skip
        return add_on
    for code in ("G0568", "G0569"):
        _not_this_way(case, code)
    if timed is not None:
        cocm = [t for t in case.trials.values() if t.code.program == Program.COCM]
        _exclude(case, cocm, timed, f"{timed.code.code} is the CoCM code of this month")
    return timed


def _of_this_month(case: _Month, codes: tuple[str, ...]) -> _Trial | None:
    """Of an initial and a later code, the one that the episode's month asks for."""
    for code in codes:
        trial = case.get(code)
        if trial is not None:
            first = trial.course.first_month in (None, case.month.index)
            if (trial.code.episode_month == "initial") == first:
                return trial
    return None


def _timed_cocm(case: _Month) -> _Trial | None:
    base, short = _of_this_month(case, ("99492", "99493")), case.get("G2214")
    if base is not None and base.finding("minutes").outcome == "met":
        return base
    if short is not None and short.finding("minutes").outcome == "met":
        return short  # unread work raises no tier
    if base is not None and base.finding("minutes").outcome == "unknown":
        return base
    return short if short is not None and short.status != "not-billable" else base


def _add_on_path(case: _Month, codes: tuple[str, ...], timed: _Trial | None) -> _Trial | None:
    """The APCM add-on that stands instead of the timed code; None to go by CPT."""
    trial = _of_this_month(case, codes) if len(codes) > 1 else case.get(codes[0])
    if trial is None or case.switches.apcm_path == "cpt":
        return None
    if not _apcm_is_charged(trial):
        return None
    gated = case.switches.addon_minute_gate and trial.finding("minutes").outcome == "not-met"
    return None if gated and timed is not None else trial


def _apcm_is_charged(trial: _Trial) -> bool:
    """By the same practitioner or perhaps so; a charge that is only withheld moves no month to the add-on."""
    base = trial.finding("apcm-base")
    return base.outcome == "met" or (base.outcome == "unknown" and bool(base.evidence))


def _not_this_way(case: _Month, code: str) -> None:
    trial = case.get(code)
    if trial is not None and trial.no is None:
        if case.switches.apcm_path == "cpt":
            trial.no = Answer("not-met", "the site goes by CPT in APCM months (switch A3, apcm_path = cpt)")
        elif _apcm_is_charged(trial):
            trial.no = Answer("not-met", "the month goes by CPT (switch A3, addon_minute_gate)")


def _exclude(case: _Month, trials: list[_Trial], winner: _Trial, because: str) -> None:
    for trial in trials:
        if trial is not winner and trial.no is None:
            trial.no = Answer("not-met", because)


def _choose_general(case: _Month, cocm: _Trial | None, programs: list[Program]) -> list[_Trial]:
    """99484, G0323 or G0570, unless CoCM stands; a CoCM month that falls short goes by switch A21."""
    general = [t for t in case.trials.values() if t.code.program == Program.GENERAL]
    if not general:
        return []
    if cocm is not None and cocm.status != "not-billable" and not _is_blocked(cocm):
        _exclude(case, general, cocm, f"CoCM ({cocm.code.code}) is the family of this month (switch A21)")
        return []
    if Program.GENERAL not in programs and case.switches.fallback_to_99484 == "advise":
        for trial in general:
            said = "the patient is in CoCM; general BHI is only an advice (switch A21, fallback_to_99484 = advise)"
            trial.no = trial.no or Answer("not-met", said)
        return []
    return _general_line(case, general, programs)


def _is_blocked(trial: _Trial) -> bool:
    return trial.no is not None and trial.no.outcome == "not-met"


def _general_line(case: _Month, general: list[_Trial], programs: list[Program]) -> list[_Trial]:
    timed, add_on = case.get("99484"), _add_on_path(case, ("G0570",), case.get("99484"))
    if add_on is not None and timed is not None:
        _exclude(case, [timed], add_on, "the APCM add-on takes its place (switch A3, apcm_path)")
    else:
        _not_this_way(case, "G0570")
    runners = [t for t in (add_on or timed, case.get("G0323")) if t is not None]
    if Program.GENERAL not in programs:
        runners = [t for t in runners if t.code.code == "99484"]
        _exclude(
            case,
            [t for t in general if t not in runners],
            runners[0],
            "the fallback from CoCM is 99484 (switch A21)",
        )
    if case.switches.allow_99484_with_g0323 and add_on is None:
        return runners
    best = min(runners, key=lambda t: (_is_blocked(t), _RANK[t.status], t.open), default=None)
    if best is None:
        return []
    if best.status != "not-billable":
        said = f"{best.code.code} is the general BHI code of this month: one a month"
        _exclude(case, [t for t in general if t not in (best,)], best, said)
    return [best]


def _settle_exclusivity(case: _Month, trial: _Trial) -> None:
    answer = trial.no or Answer("met", "nothing that is charged or chosen this month stands against it")
    found = finding(case.rules, "exclusivity", "block", answer)
    blocks = sum(f.level == "block" for f in trial.findings)
    trial.findings.insert(blocks, found)


# -- 99494 ------------------------------------------------------------------------------------------


def _add_on(case: _Month, chosen: _Trial | None) -> None:
    """99494 stands on its base's findings, beside a base that is drafted or already charged."""
    code = case.rules.codes.get("99494")
    if code is None or case.get("99492") is None:
        return
    base, is_charged = _base_of_add_on(case, code, chosen)
    course = base.course
    at = thresholds.unit_at(base.code, code, 1, case.switches)
    reached = thresholds.units(base.code, code, course.minutes, case.switches)
    limit = case.switches.max_99494
    units = min(reached, limit) if limit else reached
    said = f"{course.minutes} minutes reach {reached} unit{'' if reached == 1 else 's'}; the first is at {at}"
    if units < reached:
        said += f"; the site's limit is {limit} (switch A4): {reached - units} not charged"
        case.warnings.append(f"99494: {reached} units are reached, the site's limit is {limit}")
    elif reached > case.rules.values["usual_units_99494"]:
        said += "; that is more than usual, look at the record before charging (switch A4)"
        case.warnings.append(f"99494: {reached} units are more than the usual {case.rules.values['usual_units_99494']}")
    minutes = Finding("minutes", "met" if units else "not-met", said, code.minutes.cite if code.minutes else code.cite,
                      course.sources)  # fmt: skip
    alone = _add_on_exclusivity(case, code, base, chosen, is_charged)
    skipped = {"minutes", "exclusivity"} | ({"episode-month"} if is_charged else set())
    findings = [f for f in base.findings if f.requirement not in skipped and f.level == "block"]
    findings += [minutes, finding(case.rules, "exclusivity", "block", alone)]
    findings += [f for f in base.findings if f.level == "review" and f.requirement not in skipped]
    case.trials["99494"] = _Trial(code, course, findings, units)


def _base_of_add_on(case: _Month, code: Code, chosen: _Trial | None) -> tuple[_Trial, bool]:
    known, _ = charged(case.chart, case.month, code.adds_to)
    if known:
        return case.trials[known[0].code], True
    if chosen is not None and chosen.code.code in code.adds_to:
        return chosen, False
    return _of_this_month(case, code.adds_to) or case.trials[code.adds_to[0]], False


def _add_on_exclusivity(case: _Month, code: Code, base: _Trial, chosen: _Trial | None, is_charged: bool) -> Answer:
    against = _charge_against(case, code)
    if against is not None:
        return against
    if is_charged:
        return Answer("met", f"{base.code.code} is already charged this month")
    if chosen is base and base.status != "not-billable":
        return Answer("met", f"it stands beside {base.code.code}")
    return Answer("not-met", "it stands only beside 99492 or 99493")


# -- lines ------------------------------------------------------------------------------------------


def _lines(case: _Month, chosen: list[_Trial]) -> tuple[list[Line], list[Candidate]]:
    drafted = list(chosen)
    add_on = case.get("99494")
    if add_on is not None and add_on.status != "not-billable" and add_on.units:
        drafted.append(add_on)
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
    for code in case.rules.codes.values():
        if not code.program:
            candidate, line = _service(case, code)
            services += [candidate] if candidate else []
            lines += [line] if line else []
    if case.rules.unverified:
        lines = []
    return lines, services


def _service(case: _Month, code: Code) -> tuple[Candidate | None, Line | None]:
    """One related service: its findings and its line."""
    work = related(case.chart, code, case.month, case.rules, case.switches)
    if work is None:
        return None, None
    asked = Case(case.chart, case.month, case.rules, case.switches, code, work=work)
    findings = [f for name in code.block if (f := check(asked, name, "block"))]
    against = _charge_against(case, code)
    if against is not None:
        findings.append(finding(case.rules, "exclusivity", "block", against))
    findings += [f for name in code.review if (f := check(asked, name, "review"))]
    status = status_of(findings)
    billed = status != "not-billable" and work.units > 0
    candidate = Candidate(code.code, status, work.units if billed else 0, tuple(findings))
    if not billed:
        return candidate, None
    day = date_of_related(case.chart, case.month, work, case.switches)
    return candidate, Line(code.code, code.system, work.units, status, work.practitioner, day, work.days)


def _decision(
    case: _Month, programs: list[Program], chosen: list[_Trial], lines: list[Line], services: list[Candidate]
) -> Decision:
    trials = sorted(case.trials.values(), key=lambda t: _ORDER.index(t.code.code))
    candidates = [
        Candidate(t.code.code, s := t.status, t.units if s != "not-billable" else 0, tuple(t.findings)) for t in trials
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


def _program(case: _Month, chosen: list[_Trial], programs: list[Program]) -> str | None:
    if not case.chart.teams:
        return None
    return chosen[0].code.program if chosen else str(programs[0])


def _episode(month: ServiceMonth, first: int | None) -> Episode | None:
    if first is None:
        return None
    return Episode(str(ServiceMonth(first, month.zone)), "initial" if first == month.index else "later")


def _shown(case: _Month, chosen: list[_Trial], programs: list[Program]) -> _Trial | None:
    """The selected code, else the program's code nearest to being billable."""
    if chosen:
        return chosen[0]
    mine = [t for t in case.trials.values() if t.code.program in programs and t.code.code != "99494"]
    return min(mine, key=_distance, default=None)


def _distance(trial: _Trial) -> tuple[int, int, int]:
    """How far from being billable: what blocks, then all that is open."""
    return sum(f.blocks for f in trial.findings), trial.open, _ORDER.index(trial.code.code)


def _minutes(case: _Month, shown: _Trial | None) -> Minutes:
    if shown is None:
        return Minutes()
    course = shown.course
    return Minutes(course.minutes, course.not_counted, _next(case, shown), course.sources)


def _next(case: _Month, shown: _Trial) -> NextTier | None:
    """The next code that more minutes of this kind would reach."""
    done = shown.course.minutes
    tiers: list[tuple[int, str]] = []
    if shown.code.wants_apcm or shown.code.program == Program.GENERAL:
        tiers = [(thresholds.needed(shown.code, case.switches), shown.code.code)]
    else:
        tiers = _cocm_tiers(case, done)
    for at, code in sorted(tiers):
        if at > done:
            return NextTier(code, at, at - done)
    return None


def _cocm_tiers(case: _Month, done: int) -> list[tuple[int, str]]:
    tiers = []
    base, short, add_on = (
        _of_this_month(case, ("99492", "99493")),
        case.get("G2214"),
        case.rules.codes.get("99494"),
    )
    if short is not None:
        tiers.append((thresholds.needed(short.code, case.switches), short.code.code))
    if base is not None:
        tiers.append((thresholds.needed(base.code, case.switches), base.code.code))
        if add_on is not None:
            unit = thresholds.units(base.code, add_on, done, case.switches) + 1
            if not case.switches.max_99494 or unit <= case.switches.max_99494:
                tiers.append((thresholds.unit_at(base.code, add_on, unit, case.switches), add_on.code))
    return tiers
