"""Documented elements: kinds of work that a code asks for, timed or not, by a clinical member of the team."""

from __future__ import annotations

from bhi_fhir.domain.record import Activity, Role, Screening
from bhi_fhir.domain.time import local_day
from bhi_fhir.rules.case import Case, Requirement, refs
from bhi_fhir.rules.course import Answer
from bhi_fhir.rules.track import BHI_KINDS, window


def element(kind: str) -> Requirement:
    """A kind of work documented in the month by a clinical member of the team, timed or not."""
    said = kind.replace("-", " ")

    def documented(case: Case) -> Answer:
        found = [a for a in case.patient.documented.get(kind, ()) if "administrative" not in a.kinds]
        good = [a for a in found if a.state == "done" and _allowed(case, a, kind)]
        answers = {a.ref: _by_team(case, a, kind) for a in good}
        if sure := [ref for ref, by in answers.items() if by]:
            return Answer("met", f"{said} is documented", tuple(sorted(sure)))
        doubtful = [ref for ref, by in answers.items() if by is None]
        doubtful += [a.ref for a in found if a.state == "unknown"]
        if doubtful:
            return Answer("unknown", f"{said} is documented, but who did it or whether cannot be read", tuple(doubtful))
        undated = [a.ref for a in case.chart.activities if kind in a.kinds and _may_be_of_month(case, a)]
        if undated:
            return Answer("unknown", f"{said} is documented without a date that settles the month", tuple(undated))
        done = [a for a in found if a.state == "done" and a not in good]
        because = _out_of_consent(case, done, said) or f"no {said} is documented in the month"
        return case.absent(because, "Encounter", "Procedure", evidence=refs(done))

    return documented


def _out_of_consent(case: Case, done: list[Activity], said: str) -> str:
    """What is documented, but not while consent was in force; "" if there is none."""
    if not done:
        return ""
    days = sorted({str(local_day(a.when.earliest, case.month.zone)) for a in done if a.when})
    return f"{said} of {' and '.join(days)} lies before the consent or after its end, and does not count"


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
    crew = case.patient.crew(case.track.track.teams)
    wanted = _CONSULTANT if kind == "psychiatric-review" else _CLINICAL
    if crew.steady and not activity.people.isdisjoint(crew.having(wanted)):
        return True
    mine = [m.roles for *_, m in crew.present(activity) if m.person in activity.people]
    if any(roles & wanted for roles in mine):
        return True
    unsure = not all(mine) or (not mine and bool(case.chart.lacks("CareTeam")))
    return None if unsure else False


_CLINICAL = frozenset(Role) - {Role.ADMINISTRATIVE}
_CONSULTANT = frozenset({Role.CONSULTANT})


def relapse_prevention(case: Case) -> Answer | None:
    """Asked for only near remission: the month's last PHQ-9 or last GAD-7 below 5."""
    below = case.rules.values["remission_below"]
    scores = [s for name in ("phq-9", "gad-7") if (s := _last(case, name))]
    if any(s.total is not None and s.total < below for s in scores):
        return element("relapse-prevention")(case)
    if any(s.total is None for s in scores):
        found = element("relapse-prevention")(case)
        return found if found.outcome == "met" else Answer("unknown", "a scale's score cannot be read", refs(scores))
    return None


def _last(case: Case, scale: str) -> Screening | None:
    mine = [s for s in case.chart.screenings if s.scale == scale and s.complete and case.month.holds(s.when)]
    return max(mine, key=lambda s: (s.when.earliest if s.when else case.month.span[0], s.ref), default=None)


def continuity(case: Case) -> Answer:
    """An appointed clinical member of the team worked for the patient this month."""
    entries = case.patient.documented.get("", ())
    work = [a for a in entries if a.state == "done" and a.kinds & BHI_KINDS and "administrative" not in a.kinds]
    answers = {a.ref: _by_team(case, a, "") for a in work}
    sure = tuple(sorted(ref for ref, by in answers.items() if by))
    if sure:
        return Answer("met", "a clinical member of the care team worked for the patient this month", sure)
    if any(by is None for by in answers.values()):
        return Answer("unknown", "who worked for the patient this month cannot be read", tuple(sorted(answers)))
    return case.absent("no clinical member of the care team worked this month", "Encounter", "Procedure")


def done_in_month(kind: str, said: str) -> Requirement:
    def documented(case: Case) -> Answer:
        mine = [a for a in case.chart.activities if kind in a.kinds and case.month.may_hold(a.when)]
        found = [a for a in mine if a.state == "done" and case.month.holds(a.when)]
        if found:
            return Answer("met", f"{said} is documented", refs(found))
        doubtful = [a for a in mine if a.state != "not-done"]
        if doubtful:
            return Answer("unknown", f"{said} is documented, but not surely done or of this month", refs(doubtful))
        return case.absent(f"no {said} is documented in the month", "Encounter", "Procedure")

    return documented
