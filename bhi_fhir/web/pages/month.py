"""A patient's month as the page shows it: every sentence is that of `bhi-fhir explain`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from bhi_fhir.delivery.line import Line
from bhi_fhir.domain.decision import Candidate, Finding
from bhi_fhir.drafts.charge_item import NEEDS_REVIEW
from bhi_fhir.jobs.advice import to_count
from bhi_fhir.jobs.evaluate import Evaluation
from bhi_fhir.jobs.explain_line import LineTold, tell_line
from bhi_fhir.jobs.explain_missing import Missing, tell_missing
from bhi_fhir.jobs.people import Names
from bhi_fhir.jobs.table import status_of
from bhi_fhir.jobs.telling import Told, in_words, kinds, label, people, sentence, stretch
from bhi_fhir.web.pages.course import Course, courses
from bhi_fhir.web.pages.minutes import Bar, bar

STATUS = {"billable": "Supported", "needs-review": "A person must decide", "not-billable": "Not supported"}
STATES = {
    "prepared": "prepared, nothing sent",
    "sending": "sent, no answer yet",
    "unknown": "sent, not answered: find out whether it arrived",
    "sent": "handed over",
    "confirmed": "draft at the destination",
    "conflict": "something else stands there",
    "left": "changed by a person; not touched any more",
}


@dataclass(frozen=True)
class Work:
    when: str
    what: str
    who: str
    ref: str


@dataclass(frozen=True)
class Requirement:
    """A finding as a line that opens."""

    name: str
    outcome: str
    because: str
    cite: str
    evidence: tuple[str, ...]
    blocks: bool
    attestable: str
    """The requirement's id where a person may vouch for it, else ""."""


@dataclass(frozen=True)
class CodeShown:
    code: str
    title: str
    status: str
    said: str
    units: int
    requirements: tuple[Requirement, ...]
    told: LineTold


@dataclass(frozen=True)
class DraftShown:
    identifier: str
    code: str
    units: int
    said: str
    approved_by: str
    reason: str
    can_be_approved: bool


@dataclass(frozen=True)
class MonthShown:
    """Everything on the page of one month. `headline`: what the month comes to, in one sentence."""

    month: str
    headline: str
    status: str
    minutes: Bar
    missing: Missing
    counted: tuple[Work, ...]
    not_counted: tuple[str, ...]
    codes: tuple[CodeShown, ...]
    courses: tuple[Course, ...]


def shown(done: Evaluation, today: date, names: Names) -> MonthShown | None:
    """None where the record holds no month to decide."""
    if not done.results:
        return None
    result = done.results[0]
    told = Told.of(done.desk, result.decision, result.chart, today)
    decision = told.decision
    first = [c for line in decision.lines if (c := told.candidate(line.code))]
    leading = first or ([told.nearest] if told.nearest else [])
    rest = [c for c in decision.candidates if c not in leading]
    missing = tell_missing(told, leading)
    return MonthShown(
        month=str(told.month),
        headline=_headline(told),
        status=_status(told),
        minutes=bar(told),
        missing=missing,
        counted=tuple(_work(told, ref, names) for ref in _in_order(told)),
        not_counted=tuple(names.told(to_count(told, piece)) for piece in decision.minutes.not_counted),
        codes=tuple(_code(told, c, names) for c in [*leading, *rest]),
        courses=courses(told),
    )


def _headline(told: Told) -> str:
    lines = told.decision.lines
    if not lines and (charged := [c.code for c in told.decision.candidates if c.charged_by]):
        return f"{', '.join(charged)}: charged already."
    if not lines:
        return "Nothing can be charged for this month yet." if not told.is_over else "Nothing can be charged."
    return ", ".join(f"{line.code} × {line.units}: {STATUS[line.status].lower()}" for line in lines) + "."


def _status(told: Told) -> str:
    said = status_of(told.decision)
    return "not-billable" if said == "nothing" else said


def _in_order(told: Told) -> list[str]:
    return [activity.ref for activity in told.activities(told.decision.minutes.sources)]


def _work(told: Told, ref: str, names: Names) -> Work:
    (activity,) = told.activities([ref])
    return Work(stretch(activity, told.zone), kinds(activity), names.told(people(told, activity)), ref)


def _code(told: Told, candidate: Candidate, names: Names) -> CodeShown:
    code = told.code(candidate)
    return CodeShown(
        code=code.code,
        title=code.title,
        status=candidate.status,
        said=STATUS[candidate.status],
        units=candidate.units,
        requirements=tuple(_requirement(f, candidate, names) for f in candidate.findings),
        told=tell_line(told, candidate),
    )


def _requirement(finding: Finding, candidate: Candidate, names: Names) -> Requirement:
    open_for_review = finding.level == "review" and finding.open and candidate.status == "needs-review"
    return Requirement(
        name=label(finding.requirement),
        outcome=finding.outcome,
        because=names.told(sentence(in_words(finding))),
        cite=finding.cite,
        evidence=tuple(names.told(ref) for ref in finding.evidence),
        blocks=finding.blocks,
        attestable=finding.requirement if open_for_review else "",
    )


def drafts(lines: list[Line]) -> tuple[DraftShown, ...]:
    """The charges of the month that the ledger knows, but for those that were taken back."""
    return tuple(
        _draft(line) for line in lines if line.draft.resource_type == "ChargeItem" and line.state != "withdrawn"
    )


def _draft(line: Line) -> DraftShown:
    approved = bool(line.approved_by)
    said = "approved" if approved and line.state in ("confirmed", "sent") else STATES.get(line.state, line.state)
    notes = [note["text"] for note in line.content.get("note", ()) if note["text"].startswith(NEEDS_REVIEW)]
    return DraftShown(
        identifier=line.identifier,
        code=line.draft.code,
        units=sum(units for _, units in line.draft.served),
        said="; ".join([said, *notes]),
        approved_by=line.approved_by,
        reason=line.reason,
        can_be_approved=not approved and line.state in ("prepared", "confirmed"),
    )
