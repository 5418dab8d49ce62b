"""Each requirement as one small pure function that reads like the booklet's sentence.

A requirement takes a Case and returns an Answer; `check` turns it into a Finding with its citation.
Absence is "not-met" only where that part of the record was read whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bhi_fhir.domain.decision import Finding, Level
from bhi_fhir.domain.record import Activity, Charge, Chart, Member, Program, Role, Screening, Team
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.policy import Code, Rules, Switches, policy
from bhi_fhir.rules import thresholds
from bhi_fhir.rules.course import Answer, Course
from bhi_fhir.rules.track import BHI_KINDS, members_in, members_on, window

if TYPE_CHECKING:
    from bhi_fhir.rules.services import Work

APCM_BASES = ("G0556", "G0557", "G0558")
PRESCRIBERS = frozenset(
    {
        "physician",
        "nurse-practitioner",
        "physician-assistant",
        "clinical-nurse-specialist",
        "certified-nurse-midwife",
    }
)


@dataclass(frozen=True, slots=True)
class Case:
    """One code for one patient's month: all that a requirement may look at."""

    chart: Chart
    month: ServiceMonth
    rules: Rules
    switches: Switches
    code: Code
    course: Course | None = None
    """For monthly BHI codes."""
    work: Work | None = None
    """For services of a day and the other related services."""

    @property
    def track(self) -> Course:
        assert self.course is not None, self.code.code
        return self.course

    def default(self, switch: str) -> object:
        """What the switch is where a site says nothing: a finding says when that was changed."""
        return policy().switches[switch].default

    def absent(self, because: str, *parts: str, evidence: Iterable[str] = ()) -> Answer:
        """Nothing fits: not met where these parts of the record were read whole, else unknown."""
        reason = self.chart.lacks(*parts)
        return Answer("unknown", reason, tuple(evidence)) if reason else Answer("not-met", because, tuple(evidence))


Requirement = Callable[[Case], Answer]


# -- the patient ------------------------------------------------------------------------------------


def eligible_condition(case: Case) -> Answer:
    """MLN909432: an identified mental, behavioral, or psychiatric health condition, substance use included."""
    died = case.chart.died
    if died is not None and died.latest <= case.month.span[0]:
        return Answer("not-met", "the patient died before this month", (case.chart.patient,))
    present = [d for d in case.chart.diagnoses if d.period.meets(case.month.span)]
    sure = [d for d in present if d.behavioral and not d.doubt]
    if sure:
        codes = ", ".join(sorted({d.icd10 for d in sure if d.icd10}))
        return Answer("met", f"a behavioral health condition ({codes}) is in force", _refs(sure))
    doubtful = [d for d in present if d.behavioral]
    if doubtful:
        return Answer("unknown", f"the behavioral health condition is doubtful: {doubtful[0].doubt}", _refs(doubtful))
    unplaced = [d for d in present if d.behavioral is None]
    if unplaced:
        return Answer("unknown", "a condition is coded only in a way that no map knows", _refs(unplaced))
    return case.absent("no behavioral health condition (ICD-10-CM F01-F99) is in force", "Condition", "Encounter")


def consent(case: Case) -> Answer:
    return case.track.consent


def initiating_visit(case: Case) -> Answer:
    return case.track.visit


def billing_practitioner(case: Case) -> Answer:
    who = case.track.billing
    because = who.because
    odd = {"clinical-nurse-specialist", "certified-nurse-midwife"}
    kinds = case.chart.kinds_of(who.practitioner or "")
    if who.outcome == "met" and case.code.program == Program.COCM and kinds & odd and not kinds & (PRESCRIBERS - odd):
        because += " (switch A13: the CoCM page of the booklet names only physicians, PAs and NPs)"
    return Answer(who.outcome, because, who.evidence)


def care_team(case: Case) -> Answer:
    """MLN909432: treating practitioner, care manager, psychiatric consultant."""
    found = members_in(case.chart, case.track.track.teams, case.month.span)
    teams = tuple(sorted({team.ref for team, _ in found}))
    missing = [role for role in _TEAM_OF_THREE if not any(role in m.roles for _, m in found)]
    if missing:
        if any(not m.roles for _, m in found):
            return Answer("unknown", f"no {_said(missing[0])} is on the team, and a member's role is unknown", teams)
        names = " and no ".join(_said(role) for role in missing)
        return case.absent(f"no {names} is on the care team in the month", "CareTeam", evidence=teams)
    consultants = [m.person for _, m in found if Role.CONSULTANT in m.roles]
    answers = [_is_psychiatric(case.chart, person) for person in consultants]
    if not any(team.certain for team, _ in found):
        return Answer("unknown", "the care team is ended and nothing says since when", teams)
    if "met" in answers:
        return _of_three(found, teams)
    if "unknown" in answers:
        return Answer("unknown", "nothing says that the psychiatric consultant is trained in psychiatry", teams)
    return Answer("not-met", "the psychiatric consultant may not prescribe", teams)


_TEAM_OF_THREE = (Role.TREATING, Role.CARE_MANAGER, Role.CONSULTANT)


def _said(role: Role) -> str:
    return role.value.replace("-", " ")


def _of_three(found: list[tuple[Team, Member]], teams: tuple[str, ...]) -> Answer:
    people = {role: {m.person for _, m in found if role in m.roles} for role in _TEAM_OF_THREE}
    everyone = set().union(*people.values())
    if None not in everyone and len(everyone) < len(_TEAM_OF_THREE):
        return Answer("unknown", "one person fills two places of the team of three", teams)
    return Answer("met", "treating practitioner, care manager and psychiatric consultant are on the team", teams)


def _is_psychiatric(chart: Chart, person: str | None) -> str:
    kinds = chart.kinds_of(person or "")
    if "psychiatric-prescriber" in kinds:
        return "met"
    return "unknown" if not kinds or kinds & (PRESCRIBERS | {"undetermined"}) else "not-met"


def payer(case: Case) -> Answer:
    """The rules are Medicare's: another payer alone is for a person to look at."""
    present = [c for c in case.chart.covers if c.period.meets(case.month.span)]
    medicare = [c for c in present if c.medicare and not c.doubt]
    if medicare:
        return Answer("met", "Medicare covers the patient in the month", _refs(medicare))
    if not present:
        if reason := case.chart.lacks("Coverage"):
            return Answer("unknown", reason)
        return Answer("met", "no Coverage is on file: the line stands without a Claim")
    if any(c.medicare or c.medicare is None for c in present):
        return Answer("unknown", "a Coverage is on file whose payer or period cannot be placed", _refs(present))
    return Answer("not-met", "only another payer than Medicare covers the month", _refs(present))


# -- the month --------------------------------------------------------------------------------------


def episode_month(case: Case) -> Answer:
    course = case.track
    first = course.first_month if course.first_month is not None else case.month.index
    is_first = first == case.month.index
    said = ServiceMonth(first, case.month.zone)
    if course.doubtful_first_month:
        return Answer("unknown", "earlier work whose time cannot be read may make another month the first")
    earlier = case.month.first_day
    if is_first and (reason := case.chart.lacks("Encounter", "Procedure", "ChargeItem", "Claim", before=earlier)):
        return Answer("unknown", reason)
    wants_first = case.code.episode_month == "initial"
    because = f"{said} is the episode's first calendar month" + ("" if is_first else f", {case.month} a later one")
    if case.switches.episode_gap_months != case.default("episode_gap_months"):
        because += f" (site policy: {case.switches.episode_gap_months} empty months end an episode)"
    return Answer("met" if wants_first == is_first else "not-met", because)


def minutes(case: Case) -> Answer:
    """The time reaches the code's threshold. Unread work never raises a tier; it is reported."""
    course, code = case.track, case.code
    rule = code.minutes.rule if code.minutes else ""
    if code.adds_to:
        raise AssertionError("an add-on's minutes are decided with its base")
    at = thresholds.needed(code, case.switches)
    done = course.minutes
    said = f"{done} of {at} minutes are counted"
    if rule == "any-work":
        said = f"{done} minutes are counted; the code has no time threshold" if at == 1 else said
    said += _because_of_switch(case, rule)
    top = _base_at(case) if code.code == "G2214" else None
    if top is not None and done >= top:
        return Answer("not-met", f"{said}; from {top} minutes the base code takes its place", course.sources)
    if done >= at:
        unread = f"; {len(course.unread)} entries cannot be read" if course.unread else ""
        return Answer("met", said + unread, course.sources)
    if course.unread:
        return Answer("unknown", f"{said}; work that cannot be read may reach it", course.unread)
    return case.absent(f"{said}; {at - done} are missing", "Encounter", "Procedure", evidence=course.sources)


def _base_at(case: Case) -> int | None:
    """The minutes at which the month's base code takes G2214's place."""
    course = case.track
    first = course.first_month in (None, case.month.index)
    wanted = "initial" if first else "later"
    for code in case.rules.codes.values():
        if code.episode_month == wanted and code.program == Program.COCM and not code.wants_apcm:
            return thresholds.needed(code, case.switches)
    return None


def _because_of_switch(case: Case, rule: str) -> str:
    switch = {"midpoint": "cocm_threshold", "any-work": "addon_minute_gate"}.get(rule, "")
    if rule == "switch" and case.code.minutes:
        switch = case.code.minutes.switch
    value = getattr(case.switches, switch) if switch else None
    changed = bool(switch) and value != case.default(switch)
    return f" (site policy {switch} = {str(value).lower()})" if changed else ""


def rating_scale(case: Case) -> Answer:
    """MLN909432: validated rating scales are administered."""
    mine = [s for s in case.chart.screenings if case.month.holds(s.when)]
    complete = [s for s in mine if s.scale and s.complete]
    if complete:
        last = max(complete, key=lambda s: (s.when.earliest if s.when else case.month.span[0], s.ref))
        score = f" with a total of {last.total}" if last.total is not None else ""
        remark = f"; {last.remark}" if last.remark else ""
        return Answer("met", f"{last.scale.upper()} was answered in the month{score}{remark}", _refs(complete))
    undated = [s for s in case.chart.screenings if not case.month.holds(s.when) and case.month.may_hold(s.when)]
    if any(s.complete or not s.scale for s in undated):
        return Answer("unknown", "a questionnaire is on file whose date is not exact enough", _refs(undated))
    unplaced = [s for s in mine if not s.scale]
    if unplaced:
        return Answer("unknown", "a questionnaire was answered in the month that no map knows", _refs(unplaced))
    if mine:
        said = f"{mine[0].scale.upper()} was begun in the month and not completed ({mine[0].remark or 'no total'})"
        return case.absent(said, "QuestionnaireResponse", "Observation", evidence=_refs(mine))
    return case.absent("no validated rating scale was completed in the month", "QuestionnaireResponse", "Observation")


# -- documented elements ----------------------------------------------------------------------------


def element(kind: str) -> Requirement:
    """A kind of work documented in the month by a clinical member of the team, timed or not."""

    def documented(case: Case) -> Answer:
        found = [a for a in _of_month(case) if kind in a.kinds and "administrative" not in a.kinds]
        good = [a for a in found if a.state == "done" and _allowed(case, a, kind)]
        answers = {a.ref: _by_team(case, a, kind) for a in good}
        sure = [ref for ref, by in answers.items() if by]
        said = kind.replace("-", " ")
        if sure:
            return Answer("met", f"{said} is documented", tuple(sorted(sure)))
        doubtful = [ref for ref, by in answers.items() if by is None]
        doubtful += [a.ref for a in found if a.state == "unknown"]
        if doubtful:
            return Answer("unknown", f"{said} is documented, but who did it or whether cannot be read", tuple(doubtful))
        undated = [a.ref for a in case.chart.activities if kind in a.kinds and _may_be_of_month(case, a)]
        if undated:
            return Answer("unknown", f"{said} is documented without a date that settles the month", tuple(undated))
        return case.absent(f"no {said} is documented in the month", "Encounter", "Procedure")

    return documented


def _of_month(case: Case) -> list[Activity]:
    start, end = case.month.span
    return [
        a
        for a in case.chart.activities
        if case.month.holds(a.when) or (a.span is not None and a.span[0] < end and a.span[1] > start)
    ]


def _may_be_of_month(case: Case, activity: Activity) -> bool:
    return (
        activity.state == "done"
        and not case.month.holds(activity.when)
        and activity.span is None
        and case.month.may_hold(activity.when)
    )


def _allowed(case: Case, activity: Activity, kind: str) -> bool:
    """Not before the consent (outreach may precede it) nor after its end, where consent is known."""
    windows = case.track.consent_window
    if kind == "outreach" or not windows or activity.when is None:
        return True
    start, end = window(activity.when)
    return any(start <= closes and end >= opens for opens, closes in windows)


def _by_team(case: Case, activity: Activity, kind: str) -> bool | None:
    """Was it done by a clinical member of the team (the consultant, for a psychiatric review)? None: unreadable."""
    if not activity.people or activity.when is None:
        return None
    mine = [m for _, m in members_on(case.chart, case.track.track.teams, activity.when) if m.person in activity.people]
    if kind == "psychiatric-review":
        good = any(Role.CONSULTANT in m.roles for m in mine)
    else:
        good = any(m.roles - {Role.ADMINISTRATIVE} for m in mine)
    if good:
        return True
    return None if any(not m.roles for m in mine) else False


def relapse_prevention(case: Case) -> Answer | None:
    """Asked for only near remission: the month's last PHQ-9 or last GAD-7 below 5."""
    below = case.rules.values["remission_below"]
    scores = [s for name in ("phq-9", "gad-7") if (s := _last(case, name))]
    if any(s.total is not None and s.total < below for s in scores):
        return element("relapse-prevention")(case)
    if any(s.total is None for s in scores):
        found = element("relapse-prevention")(case)
        return found if found.outcome == "met" else Answer("unknown", "a scale's score cannot be read", _refs(scores))
    return None


def _last(case: Case, scale: str) -> Screening | None:
    mine = [s for s in case.chart.screenings if s.scale == scale and s.complete and case.month.holds(s.when)]
    return max(mine, key=lambda s: (s.when.earliest if s.when else case.month.span[0], s.ref), default=None)


def continuity(case: Case) -> Answer:
    """An appointed clinical member of the team worked for the patient this month."""
    work = [a for a in _of_month(case) if a.state == "done" and a.kinds & BHI_KINDS and "administrative" not in a.kinds]
    answers = {a.ref: _by_team(case, a, "") for a in work}
    sure = tuple(sorted(ref for ref, by in answers.items() if by))
    if sure:
        return Answer("met", "a clinical member of the care team worked for the patient this month", sure)
    if any(by is None for by in answers.values()):
        return Answer("unknown", "who worked for the patient this month cannot be read", tuple(sorted(answers)))
    return case.absent("no clinical member of the care team worked this month", "Encounter", "Procedure")


# -- charges ----------------------------------------------------------------------------------------


def apcm_base(case: Case) -> Answer:
    """The same practitioner bills an APCM base code in the same month."""
    known, doubtful = charged(case.chart, case.month, APCM_BASES)
    mine = set(case.track.billing.people)
    same = [c for c in known if c.practitioners & mine]
    if same and case.track.billing.practitioner:
        held = case.switches.apcm_path == "hold"
        said = f"{same[0].code} is charged by the same practitioner"
        if held:
            return Answer("unknown", f"{said}; the site holds add-ons for a person (apcm_path = hold)", _refs(same))
        return Answer("met", said, _refs(same))
    unsaid = [c for c in known if not c.practitioners] + doubtful + (same if mine else [])
    if unsaid:
        return Answer("unknown", "an APCM charge is on file that does not say by whom or when", _refs(unsaid))
    if known:
        return Answer("not-met", "APCM is charged by another practitioner", _refs(known))
    return case.absent("no APCM base code is charged in the month", "ChargeItem", "Claim")


def charged(chart: Chart, month: ServiceMonth, codes: Iterable[str]) -> tuple[list[Charge], list[Charge]]:
    """Charges of these codes: (surely of this month, perhaps of this month)."""
    wanted = set(codes)
    known: list[Charge] = []
    doubtful: list[Charge] = []
    for charge in chart.charges:
        if charge.code not in wanted:
            continue
        if charge.when is None:
            doubtful.append(charge)
        elif charge.when.meets(month.span):
            start = charge.when.start
            exact = month.holds(start) or (charge.when.end and month.holds(charge.when.end))
            (known if exact and not charge.doubt else doubtful).append(charge)
    return known, doubtful


def _refs(facts: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({fact.ref for fact in facts}))  # type: ignore[attr-defined]


# -- other services ---------------------------------------------------------------------------------


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
        return Answer("unknown", f"the risk is doubtful: {doubtful[0].doubt}", _refs(doubtful))
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


def done_in_month(kind: str, said: str) -> Requirement:
    def documented(case: Case) -> Answer:
        mine = [a for a in case.chart.activities if kind in a.kinds and case.month.may_hold(a.when)]
        found = [a for a in mine if a.state == "done" and case.month.holds(a.when)]
        if found:
            return Answer("met", f"{said} is documented", _refs(found))
        doubtful = [a for a in mine if a.state != "not-done"]
        if doubtful:
            return Answer("unknown", f"{said} is documented, but not surely done or of this month", _refs(doubtful))
        return case.absent(f"no {said} is documented in the month", "Encounter", "Procedure")

    return documented


MONTHLY: dict[str, Callable[[Case], Answer | None]] = {
    "eligible-condition": eligible_condition,
    "consent": consent,
    "initiating-visit": initiating_visit,
    "billing-practitioner": billing_practitioner,
    "care-team": care_team,
    "episode-month": episode_month,
    "minutes": minutes,
    "rating-scale": rating_scale,
    "apcm-base": apcm_base,
    "relapse-prevention": relapse_prevention,
    "continuity": continuity,
    "payer": payer,
    **{
        kind: element(kind)
        for kind in (
            "outreach",
            "assessment",
            "care-planning",
            "psychiatric-review",
            "registry-tracking",
            "caseload-consultation",
            "brief-intervention",
            "care-coordination",
            "progress-review",
            "treatment-coordination",
        )
    },
}
"""How each requirement of a monthly code is checked; `exclusivity` is decided when the lines are chosen."""

RELATED: dict[str, Callable[[Case], Answer | None]] = {
    "performer": performer,
    "minutes": minutes_of_service,
    "consent": consent_to_consultation,
    "emergency-discharge": emergency_discharge,
    "follow-up-call": follow_up_call,
    "suicide-or-overdose-risk": suicide_or_overdose_risk,
    "once-per-course": once_per_course,
    "device-clearance": device_clearance,
    "interactive-contact": done_in_month("dmht-interactive-contact", "interactive contact"),
    "device-use": done_in_month("dmht-device-use", "use of the device"),
}
"""How each requirement of a related service is checked."""


def check(case: Case, name: str, level: Level) -> Finding | None:
    """One requirement's finding; None where it is not asked for this month."""
    table = MONTHLY if case.course is not None else RELATED
    answer = table[name](case)
    if answer is None:
        return None
    found = finding(case.rules, name, level, answer)
    if name == "minutes" and case.code.minutes:
        found = replace(found, cite=case.code.minutes.cite)
    return found


def finding(rules: Rules, name: str, level: Level, answer: Answer) -> Finding:
    return Finding(name, answer.outcome, answer.because, rules.cite(name), answer.evidence, level)
