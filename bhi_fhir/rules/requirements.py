"""Each requirement as one small pure function that reads like the booklet's sentence.

A requirement takes a Case and returns an Answer; `check` turns it into a Finding with its citation.
Absence is "not-met" only where that part of the record was read whole.
"""

from __future__ import annotations

from collections.abc import Callable

from bhi_fhir.domain.decision import Finding, Level
from bhi_fhir.domain.record import Chart, Member, Program, Role, Team
from bhi_fhir.domain.time import ServiceMonth, local_day
from bhi_fhir.domain.value import Value, replace
from bhi_fhir.policy import Code, Rules
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.case import Case, refs
from bhi_fhir.rules.charged import apcm_base
from bhi_fhir.rules.elements import continuity, done_in_month, element, relapse_prevention
from bhi_fhir.rules.last_days import beyond, undated_death
from bhi_fhir.rules.services import requirements as services
from bhi_fhir.rules.track import Track, in_stretch

PRESCRIBERS = frozenset(
    {
        "physician",
        "nurse-practitioner",
        "physician-assistant",
        "clinical-nurse-specialist",
        "certified-nurse-midwife",
    }
)


# -- the patient ------------------------------------------------------------------------------------


def eligible_condition(case: Case) -> Answer:
    """MLN909432: an identified mental, behavioral, or psychiatric health condition, substance use included."""
    died = case.chart.died
    if died is not None and died.latest <= case.month.span[0]:
        return Answer("not-met", "the patient died before this month", (case.chart.patient,))
    present = [d for d in case.chart.diagnoses if d.period.meets(case.month.span)]
    sure = [d for d in present if d.behavioral and not d.doubt and d.period.surely_meets(case.month.span)]
    lost = next((held.reason for held in case.chart.withheld if held.part == "Patient"), "")
    if sure and lost:
        return Answer("unknown", f"whether the patient lived: {lost}", refs(sure))
    if sure and (undated := undated_death(case.chart, case.month)):
        return Answer("unknown", undated, (case.chart.patient,))
    if sure:
        codes = ", ".join(sorted({d.icd10 for d in sure if d.icd10}))
        return Answer("met", f"a behavioral health condition ({codes}) is in force", refs(sure))
    doubtful = [d for d in present if d.behavioral]
    if doubtful:
        doubt = doubtful[0].doubt or "its dates are not exact enough"
        return Answer("unknown", f"the behavioral health condition is doubtful: {doubt}", refs(doubtful))
    unplaced = [d for d in present if d.behavioral is None]
    if unplaced:
        return Answer("unknown", "a condition is coded only in a way that no map knows", refs(unplaced))
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
    places = in_stretch(case.patient.crew(case.track.track.teams).places, case.month.span)
    found = [(team, member) for _, _, team, member in places]
    teams = tuple(sorted({team.ref for team, _ in found}))
    present = {role for _, m in found for role in m.roles}
    missing = [role for role in _TEAM_OF_THREE if role not in present]
    if missing:
        if any(not m.roles for _, m in found):
            return Answer("unknown", f"no {_said(missing[0])} is on the team, and a member's role is unknown", teams)
        names = " and no ".join(_said(role) for role in missing)
        return case.absent(f"no {names} is on the care team in the month", "CareTeam", evidence=teams)
    answers = [_is_psychiatric(case.chart, m.person) for _, m in found if Role.CONSULTANT in m.roles]
    certain = {role for team, m in found if team.certain for role in m.roles}
    if unsure := [role for role in _TEAM_OF_THREE if role not in certain]:
        return Answer("unknown", f"the {_said(unsure[0])}'s team is ended and nothing says since when", teams)
    if "met" in answers:
        return _of_three(found, teams)
    if "unknown" in answers:
        return Answer("unknown", "nothing says that the psychiatric consultant is trained in psychiatry", teams)
    if reason := case.chart.lacks("PractitionerRole", "Practitioner", "CareTeam"):
        return Answer("unknown", reason, teams)
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
        return Answer("met", "Medicare covers the patient in the month", refs(medicare))
    if not present:
        if reason := case.chart.lacks("Coverage"):
            return Answer("unknown", reason)
        return Answer("met", "no Coverage is on file: the line stands without a Claim")
    if any(c.medicare or c.medicare is None for c in present):
        return Answer("unknown", "a Coverage is on file whose payer or period cannot be placed", refs(present))
    if reason := case.chart.lacks("Coverage"):
        return Answer("unknown", reason, refs(present))
    return Answer("not-met", "only another payer than Medicare covers the month", refs(present))


# -- the month --------------------------------------------------------------------------------------


def episode_month(case: Case) -> Answer:
    course = case.track
    first = course.first_month if course.first_month is not None else case.month.index
    is_first = first == case.month.index
    if course.doubtful_first_month:
        return Answer("unknown", "earlier work whose time cannot be read may make another month the first")
    if is_first and case.chart.withheld:
        earlier = case.month.first_day
        if reason := case.chart.lacks("Encounter", "Procedure", "ChargeItem", "Claim", before=earlier):
            return Answer("unknown", reason)
    wants_first = case.code.episode_month == "initial"
    said = ServiceMonth(first, case.month.zone)
    because = f"{said} is the episode's first calendar month" + ("" if is_first else f", {case.month} a later one")
    if course.month_before_break is not None:
        because += f"; the episode before ended with {ServiceMonth(course.month_before_break, case.month.zone)}"
    if case.switches.episode_gap_months != case.default("episode_gap_months"):
        because += f" (site policy: {case.switches.episode_gap_months} empty months end an episode)"
    return Answer("met" if wants_first == is_first else "not-met", because, course.episode_witnesses)


def minutes(case: Case) -> Answer:
    """The time reaches the code's threshold. Unread work never raises a tier; it is reported."""
    course, asked = case.track, case.patient.setting.minutes[case.code.code]
    at, done = asked.minutes, course.minutes
    said = f"{_minutes(done)} counted, {at} needed{asked.how}"
    top = asked.base_at[course.first_month not in (None, case.month.index)]
    if top is not None and done >= top:
        return Answer("not-met", f"{said}; from {top} minutes the base code takes its place", course.sources)
    if done >= at:
        worked = (local_day(piece.begins, case.month.zone) for piece in course.pieces)
        if late := beyond(case.patient.last_days, worked):
            return Answer(late.outcome, f"{said}; {late.because}", course.sources)
        return Answer("met", said + _unread(len(course.unread)), course.sources)
    if course.unread:
        return Answer("unknown", f"{said}; work that cannot be read may reach it", course.unread)
    more = f"{said}; {at - done} more {'is' if at - done == 1 else 'are'} needed"
    # Time that was left out for a consent or an episode may count by one that could not be read.
    left_out = {reason for _, _, reason, _ in course.dropped}
    parts = {"Encounter", "Procedure"} | {part for reason, part in _LEFT_OUT_BY.items() if reason in left_out}
    return case.absent(more, *sorted(parts), evidence=course.sources)


_LEFT_OUT_BY = {"before-consent": "Consent", "after-revocation": "Consent", "outside-episode": "EpisodeOfCare"}


def _minutes(count: int) -> str:
    return "1 minute is" if count == 1 else f"{count} minutes are"


def _unread(count: int) -> str:
    if not count:
        return ""
    return "; 1 entry cannot be read" if count == 1 else f"; {count} entries cannot be read"


def rating_scale(case: Case) -> Answer:
    """MLN909432: validated rating scales are administered."""
    mine = [s for s in case.chart.screenings if case.month.holds(s.when)]
    complete = [s for s in mine if s.scale and s.complete]
    if complete:
        last = max(complete, key=lambda s: (s.when.earliest if s.when else case.month.span[0], s.ref))
        score = f" with a total of {last.total}" if last.total is not None else ""
        remark = f"; {last.remark}" if last.remark else ""
        return Answer("met", f"{last.scale.upper()} was answered in the month{score}{remark}", refs(complete))
    undated = [s for s in case.chart.screenings if not case.month.holds(s.when) and case.month.may_hold(s.when)]
    if any(s.complete or s.doubt or not s.scale for s in undated):
        return Answer("unknown", "a questionnaire is on file whose date is not exact enough", refs(undated))
    doubtful = [s for s in mine if s.doubt]
    if doubtful:
        what = doubtful[0].scale.upper() or "an observation"
        return Answer("unknown", f"{what} is on file, but {doubtful[0].doubt}", refs(doubtful))
    unplaced = [s for s in mine if not s.scale]
    if unplaced:
        return Answer("unknown", "a questionnaire was answered in the month that no map knows", refs(unplaced))
    if mine:
        said = f"{mine[0].scale.upper()} was begun in the month and not completed ({mine[0].remark or 'no total'})"
        return case.absent(said, "QuestionnaireResponse", "Observation", evidence=refs(mine))
    return case.absent("no validated rating scale was completed in the month", "QuestionnaireResponse", "Observation")


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
    "performer": services.performer,
    "minutes": services.minutes_of_service,
    "consent": services.consent_to_consultation,
    "emergency-discharge": services.emergency_discharge,
    "follow-up-call": services.follow_up_call,
    "suicide-or-overdose-risk": services.suicide_or_overdose_risk,
    "once-per-course": services.once_per_course,
    "device-clearance": services.device_clearance,
    "interactive-contact": done_in_month("dmht-interactive-contact", "interactive contact"),
    "device-use": done_in_month("dmht-device-use", "use of the device"),
}
"""How each requirement of a related service is checked."""


_OF_PATIENT = frozenset({"eligible-condition", "payer", "rating-scale"})
_OF_TEAMS = frozenset({"care-team", "continuity"})


class Check(Value, frozen=True, eq=False):
    """One requirement, ready to be asked of every patient; codes that must get the same answer share one."""

    name: str
    level: Level
    requirement: Callable[[Case], Answer | None]
    cite: str

    def of(self, case: Case) -> Finding | None:
        """The finding; None where it is not asked for this month."""
        answer = self.requirement(case)
        if answer is None:
            return None
        found = Finding(self.name, answer.outcome, answer.because, self.cite, answer.evidence, self.level)
        return _attested(case, found) if case.chart.attested else found


def _attested(case: Case, found: Finding) -> Finding:
    """A review requirement that a named person attested is met by that; what blocks cannot be attested."""
    if found.level != "review" or not found.open:
        return found
    for said in case.chart.attested:
        if said.requirement == found.requirement:
            who = f"attested by {said.by} on {said.on}: {said.because} ({said.reference})"
            because = f"{who}. The record: {found.because}"
            return replace(found, outcome="met", because=because, evidence=(*found.evidence, said.reference))
    return found


class Checks:
    """The requirements of the codes of a month, each made once."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._made: dict[tuple[object, str, Level], Check] = {}

    def of_code(self, code: Code, track: Track | None) -> tuple[Check, ...]:
        """Every requirement but `exclusivity`, which is decided when the lines are chosen."""
        wanted: list[tuple[str, Level]] = [(name, "block") for name in code.block]
        wanted += [(name, "review") for name in code.review]
        return tuple(self._check(name, level, code, track) for name, level in wanted if name != "exclusivity")

    def _check(self, name: str, level: Level, code: Code, track: Track | None) -> Check:
        """What looks only at the patient, the teams or the track is asked once and stands for every code."""
        key = (_looks_at(name, code, track), name, level)
        if key not in self._made:
            cite = code.minutes.cite if name == "minutes" and code.minutes else self._rules.cite(name)
            self._made[key] = Check(name, level, (MONTHLY if track else RELATED)[name], cite)
        return self._made[key]


def _looks_at(name: str, code: Code, track: Track | None) -> object:
    if track is None or name == "minutes":
        return code.code
    if name == "episode-month":
        return track, code.episode_month
    if name in _OF_PATIENT:
        return ""
    return track.teams if name in _OF_TEAMS else track


def finding(rules: Rules, name: str, level: Level, answer: Answer) -> Finding:
    return Finding(name, answer.outcome, answer.because, rules.cite(name), answer.evidence, level)
