"""One line in short paragraphs that a biller can paste into an appeal: facts first, then who asks for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bhi_fhir.domain.decision import Candidate, Finding, Line, NotCounted
from bhi_fhir.domain.record import ANYBODY, Consent, Program, Visit
from bhi_fhir.jobs.advice import to_settle
from bhi_fhir.jobs.telling import (
    Told,
    cited,
    count,
    day,
    entries,
    in_words,
    label,
    moment,
    only_chosen_against,
    people,
    plain,
    sentence,
    time_of_piece,
)
from bhi_fhir.policy import Code
from bhi_fhir.policy.trace import asked, sentences
from bhi_fhir.rules.track import BHI_KINDS

_PARAGRAPHS = (
    ("", ("line", "against", "open")),
    ("A person must decide", ("decide",)),
    ("What was done", ("days", "work", "minutes")),
    ("Time not counted", ("not_counted",)),
    ("Documented", ("elements", "consultant")),
    ("Scale", ("scale",)),
    ("Consent", ("consent",)),
    ("Visit", ("visit",)),
    ("Diagnosis", ("diagnosis",)),
    ("Team", ("team",)),
    ("Episode", ("episode",)),
    ("Also", ("also",)),
)
"""The label of each paragraph, and its sentences."""
_WORK = ("minutes", "follow-up-call", "performer")
"""Findings whose evidence is the work itself, the first that there is."""
_TEAM = {"billing-practitioner", "care-team", "continuity", "performer"}
_TOLD_APART = _TEAM | {
    *("minutes", "consent", "initiating-visit", "rating-scale", "psychiatric-review", "episode-month"),
    "eligible-condition",
}
_CLASSES = {
    "initiating-visit-psychiatric": "a psychiatric diagnostic evaluation",
    "initiating-visit": "with a code that qualifies",
    "initiating-visit-undecided": "with a code that may qualify",
}


@dataclass(frozen=True, slots=True)
class RequiredBy:
    """Which requirement in our words, where CMS asks for it, and by which sentences of policy/booklet.toml."""

    requirement: str
    outcome: str
    cite: str
    rule: str
    booklet: tuple[str, ...]

    def __str__(self) -> str:
        said = f"{label(self.requirement)} — {self.cite}"
        return f"{said}: {self.rule}" if self.rule else said


@dataclass(frozen=True, slots=True)
class LineTold:
    """One code explained; `sentences` by what they speak of, without the label of their paragraph."""

    code: str
    title: str
    status: str
    units: int
    practitioner: str | None
    date_of_service: str | None
    sentences: dict[str, str]
    required_by: tuple[RequiredBy, ...]

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """ "Consent: Given on …", in the order of an appeal."""
        found = ((name, [self.sentences[key] for key in keys if key in self.sentences]) for name, keys in _PARAGRAPHS)
        return tuple(f"{name}: {' '.join(said)}" if name else " ".join(said) for name, said in found if said)

    @property
    def text(self) -> str:
        """All of it to paste: a line for each paragraph, then one for each requirement."""
        return "\n".join((*self.paragraphs, "Required by:", *(f"- {r}" for r in self.required_by)))


def tell_line(told: Told, candidate: Candidate) -> LineTold:
    """Explain a code, drafted or not."""
    line = next((x for x in told.decision.lines if x.code == candidate.code), None)
    parts: dict[str, Callable[[], str]] = {
        "line": lambda: _line(told, candidate, line),
        "against": lambda: _against(candidate),
        "days": lambda: _days(line),
        "work": lambda: _work(told, candidate),
        "open": lambda: _open(candidate),
        "decide": lambda: _decide(told, candidate),
        "minutes": lambda: _minutes(candidate),
        "not_counted": lambda: _not_counted(told, candidate),
        "elements": lambda: _elements(told, candidate),
        "consultant": lambda: _consultant(told, candidate),
        "scale": lambda: _scale(told, candidate),
        "consent": lambda: _consent(told, candidate),
        "visit": lambda: _visit(told, candidate),
        "episode": lambda: _episode(told, candidate),
        "diagnosis": lambda: _in_own_words(candidate, {"eligible-condition"}),
        "team": lambda: _in_own_words(candidate, _TEAM),
        "also": lambda: _also(candidate),
    }
    code = told.code(candidate)
    return LineTold(
        code=code.code,
        title=code.title,
        status=candidate.status,
        units=candidate.units,
        practitioner=line.practitioner if line else None,
        date_of_service=str(line.date_of_service) if line else None,
        sentences={name: said for name, tell in parts.items() if (said := tell())},
        required_by=tuple(_required(told, code, f) for f in candidate.findings),
    )


def _required(told: Told, code: Code, f: Finding) -> RequiredBy:
    known = told.rules.requirements.get(f.requirement)
    booklet = tuple(s.id for s in asked(code, f.requirement, sentences()))
    return RequiredBy(f.requirement, f.outcome, f.cite, known.rule if known else "", booklet)


def _met(candidate: Candidate, requirement: str) -> Finding | None:
    return next((f for f in candidate.findings if f.requirement == requirement and f.outcome == "met"), None)


def _found(candidate: Candidate, requirement: str) -> Finding | None:
    return next((f for f in candidate.findings if f.requirement == requirement), None)


# -- what was done ----------------------------------------------------------------------------------


def _line(told: Told, candidate: Candidate, line: Line | None) -> str:
    what = f"{candidate.code} ({told.code(candidate).title})"
    for_whom = f"for {told.decision.patient} in {told.month}"
    if line is None and candidate.charged_by:
        said = f"{what} is charged already {for_whom}, by {candidate.charged_by}"
        return sentence(f"{said}; what the record says of its requirements stands below")
    if line is None:
        return sentence(f"{what} is not charged {for_whom}")
    under = f"under {line.practitioner or 'a practitioner whom the record does not settle'}"
    stands = {
        "billable": "the record supports the line",
        "needs-review": "the line waits for a person, who decides what is open",
    }[line.status]
    return sentence(f"{what} × {line.units} {for_whom}, {under}, date of service {line.date_of_service}: {stands}")


def _days(line: Line | None) -> str:
    if line is None or not line.days:
        return ""
    days = [f"{count(units, 'unit')} on {on}" for on, units in line.days]
    return sentence(f"by day: {', '.join(days)}")


def _work(told: Told, candidate: Candidate) -> str:
    """The counted entries: kind, times, people with their roles."""
    said = entries(told, _sources(told, candidate))
    return f"Counted work, in the time of {told.zone.key}. {said}" if said else ""


def _sources(told: Told, candidate: Candidate) -> tuple[str, ...]:
    """What was counted for this code; where its minutes are unknown, what the month's count holds."""
    found = next((f for name in _WORK if (f := _found(candidate, name))), None)
    if found is None:
        return ()
    if found.outcome == "unknown" and told.shares_count(candidate):
        return told.decision.minutes.sources
    return found.evidence


def _minutes(candidate: Candidate) -> str:
    """The finding's sentence, unless it was said already that it blocks."""
    found = _found(candidate, "minutes")
    return "" if found is None or found.blocks else sentence(found.because)


def _not_counted(told: Told, candidate: Candidate) -> str:
    if not told.shares_count(candidate):
        return ""
    pieces = told.decision.minutes.not_counted
    return sentence("; ".join(_left_out(told, piece) for piece in pieces)) if pieces else "No time was left out."


def _left_out(told: Told, piece: NotCounted) -> str:
    """ "20 minutes of Encounter/x on 2026-09-15 (it lies before the consent)"."""
    unmapped = piece.reason == "unreadable" and told.is_unmapped(piece.source)
    return f"{time_of_piece(told, piece)} ({'its code is in no map' if unmapped else piece.because})"


def _elements(told: Told, candidate: Candidate) -> str:
    """Kinds of work that the code asks for, each with its days."""
    met = [f for f in candidate.findings if f.outcome == "met" and f.requirement in BHI_KINDS]
    said = [f"{plain(f.requirement)} on {_on(told, f.evidence)}{cited(f.evidence)}" for f in met]
    return sentence("; ".join(said)) if said else ""


def _on(told: Told, refs: tuple[str, ...]) -> str:
    days = dict.fromkeys(day(a.when, told.zone) for a in told.activities(refs))
    return ", ".join(days) or "a day that cannot be read"


def _consultant(told: Told, candidate: Candidate) -> str:
    """The consultant's review, where the code asks for it and where one is on file."""
    if told.code(candidate).program != Program.COCM:
        return ""
    found = _found(candidate, "psychiatric-review")
    if found and found.outcome != "met":
        return ""
    refs = found.evidence if found else tuple(
        a.ref for a in told.chart.activities
        if "psychiatric-review" in a.kinds and a.state == "done" and told.month.holds(a.when)
    )  # fmt: skip
    reviews = told.activities(refs)
    said = [f"on {day(a.when, told.zone)} by {people(told, a)} ({a.ref})" for a in reviews]
    return sentence(f"the psychiatric consultant's review: {'; '.join(said)}") if said else ""


# -- what must be on file ---------------------------------------------------------------------------


def _scale(told: Told, candidate: Candidate) -> str:
    found = _met(candidate, "rating-scale")
    mine = [s for s in told.chart.screenings if found and s.ref in found.evidence and s.complete]
    mine.sort(key=lambda s: (s.when.earliest.isoformat() if s.when else "", s.ref))
    said = [
        f"{s.scale.upper()} {f'with a score of {s.total}' if s.total is not None else 'without a readable score'} "
        f"on {day(s.when, told.zone)} ({s.ref})"
        for s in mine
    ]
    return sentence("; ".join(said)) if said else ""


def _consent(told: Told, candidate: Candidate) -> str:
    found = _met(candidate, "consent")
    given = {c.ref: c for c in told.chart.consents if found and c.permits and c.ref in found.evidence}
    said = [_permission(told, given[ref]) for ref in sorted(given)]
    return sentence("; ".join(said)) if said else ""


def _permission(told: Told, consent: Consent) -> str:
    named = consent.names if consent.names is not None else consent.organizations
    whom = "whoever bills" if ANYBODY in named else " and ".join(sorted(named)) or "nobody named"
    form = (
        "in a form that tells of specialists, cost sharing and supplemental insurance"
        if consent.terms
        else "in a form that no map knows"
    )
    return f"given on {moment(consent.given, told.zone)} for {whom}, {form} ({consent.ref})"


def _visit(told: Told, candidate: Candidate) -> str:
    found = _met(candidate, "initiating-visit")
    mine = {v.ref: v for v in told.chart.visits if found and v.ref in found.evidence}
    said = [
        f"on {day(v.when, told.zone)} with {' and '.join(sorted(v.people)) or 'nobody named'}, {_kind(told, v)} ({ref})"
        for ref, v in sorted(mine.items())
    ]
    return sentence("; ".join(said)) if said else ""


def _kind(told: Told, visit: Visit) -> str:
    said = next((said for group, said in _CLASSES.items() if group in visit.groups), "with a code that may qualify")
    named = visit.codes & {opens for code in told.rules.codes.values() for opens in code.opened_by}
    return f"{said} ({' and '.join(sorted(named))})" if named else said


def _episode(told: Told, candidate: Candidate) -> str:
    found = _found(candidate, "episode-month")
    if found:
        return sentence(found.because) if found.outcome == "met" else ""
    episode = told.decision.episode
    if episode is None or told.code(candidate).program != Program.COCM:
        return ""
    which = "" if episode.kind == "initial" else f", {told.month} a later one"
    return sentence(f"{episode.first_month} is the episode's first calendar month{which}")


def _in_own_words(candidate: Candidate, requirements: set[str]) -> str:
    """What of these requirements is met, in their findings' words."""
    met = [f for f in candidate.findings if f.outcome == "met" and f.requirement in requirements]
    return " ".join(sentence(f"{f.because}{cited(f.evidence)}") for f in met)


def _also(candidate: Candidate) -> str:
    """Every other requirement that is met."""
    return _in_own_words(candidate, {f.requirement for f in candidate.findings} - _TOLD_APART - BHI_KINDS)


# -- what is open -----------------------------------------------------------------------------------


def _against(candidate: Candidate) -> str:
    """What blocks; another line that was chosen counts only where nothing else does."""
    stops = [f for f in candidate.findings if f.blocks]
    real = [f for f in stops if not only_chosen_against(f)]
    said = "; ".join(f"{in_words(f)}{_evidence(f)}" for f in real or stops)
    return sentence(f"Not billable: {said}") if said else ""


def _evidence(finding: Finding) -> str:
    """The count's own entries are listed with the work."""
    return "" if finding.requirement == "minutes" else cited(finding.evidence)


def _open(candidate: Candidate) -> str:
    """What else a code that is blocked leaves open."""
    if candidate.status != "not-billable":
        return ""
    said = "; ".join(map(_unsettled, _to_decide(candidate)))
    return sentence(f"Open besides: {said}") if said else ""


def _decide(told: Told, candidate: Candidate) -> str:
    """What a line waits for: one question for all that the same answer settles."""
    if candidate.status == "not-billable":
        return ""
    by: dict[str, list[str]] = {}
    for f in _to_decide(candidate):
        by.setdefault(to_settle(told, f, candidate.status), []).append(_unsettled(f))
    return " ".join(f"{sentence('; '.join(open_))} To settle it: {answer}." for answer, open_ in by.items())


def _to_decide(candidate: Candidate) -> list[Finding]:
    return [f for f in candidate.findings if f.open and not f.blocks]


def _unsettled(finding: Finding) -> str:
    unsure = "unknown: " if finding.outcome == "unknown" else ""
    return f"{unsure}{in_words(finding)}{cited(finding.evidence)}"
