"""Documented elements: kinds of work that a code asks for, timed or not, by a clinical member of the team."""

from __future__ import annotations

from bhi_fhir.domain.record import Activity, Screening
from bhi_fhir.domain.time import local_day
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.case import Case, Requirement, refs
from bhi_fhir.rules.patient_month import allowed, by_team
from bhi_fhir.rules.track import BHI_KINDS


def element(kind: str) -> Requirement:
    """A kind of work documented in the month by a clinical member of the team, timed or not."""
    said = kind.replace("-", " ")
    met = f"{said} is documented"

    def documented(case: Case) -> Answer:
        track = case.track
        if sure := case.patient.elements(track.track.teams, track.consent_window).get(kind):
            return Answer("met", met, sure)
        found = [a for a in case.patient.documented.get(kind, ()) if "administrative" not in a.kinds]
        good = [a for a in found if a.state == "done" and allowed(track.consent_window, a, kind)]
        doubtful = [a.ref for a in good if by_team(case.patient, track.track.teams, a, kind) is None]
        doubtful += [a.ref for a in found if a.state == "unknown"]
        if doubtful:
            return Answer("unknown", f"{met}, but who did it or whether cannot be read", tuple(doubtful))
        undated = [a.ref for a in case.patient.undated if kind in a.kinds]
        if undated:
            return Answer("unknown", f"{met} without a date that settles the month", tuple(undated))
        if unplaced := _unplaced(case, kind):
            return Answer("unknown", f"an entry that no map knows may be {said}", unplaced)
        done = [a for a in found if a.state == "done" and a not in good]
        because = _out_of_consent(case, done, said) or f"no {said} is documented in the month"
        return case.absent(because, "Encounter", "Procedure", evidence=refs(done))

    return documented


def _unplaced(case: Case, kind: str) -> tuple[str, ...]:
    """Entries of the month that no map knows and that the team may have done: any of them may be of the kind."""
    teams, consent = case.track.track.teams, case.track.consent_window
    unknown = [a for a in case.patient.documented.get("", ()) if not a.kinds and a.state != "not-done"]
    unknown += [a for a in case.patient.undated if not a.kinds]
    mine = [a for a in unknown if allowed(consent, a, kind) and by_team(case.patient, teams, a, kind) is not False]
    return refs(mine)


def _out_of_consent(case: Case, done: list[Activity], said: str) -> str:
    """What is documented, but not while consent was in force; "" if there is none."""
    if not done:
        return ""
    days = sorted({str(local_day(a.when.earliest, case.month.zone)) for a in done if a.when})
    return f"{said} of {' and '.join(days)} lies before the consent or after its end, and does not count"


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
    answered = [s for s in case.chart.screenings if s.scale == scale and (s.complete or s.doubt)]
    mine = [s for s in answered if case.month.holds(s.when)]
    return max(mine, key=lambda s: (s.when.earliest if s.when else case.month.span[0], s.ref), default=None)


def continuity(case: Case) -> Answer:
    """An appointed clinical member of the team worked for the patient this month."""
    entries, teams = case.patient.documented.get("", ()), case.track.track.teams
    work = [a for a in entries if a.state == "done" and a.kinds & BHI_KINDS and "administrative" not in a.kinds]
    answers = {a.ref: by_team(case.patient, teams, a, "") for a in work}
    sure = tuple(sorted([ref for ref, by in answers.items() if by]))
    if sure:
        return Answer("met", "a clinical member of the care team worked for the patient this month", sure)
    if any(by is None for by in answers.values()):
        return Answer("unknown", "who worked for the patient this month cannot be read", tuple(sorted(answers)))
    if unplaced := _unplaced(case, ""):
        return Answer("unknown", "an entry that no map knows may be the team's work", unplaced)
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
