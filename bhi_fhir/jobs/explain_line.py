"""One line as a paragraph that a biller can paste into an appeal: facts first, then who asks for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bhi_fhir.domain.decision import Candidate, Finding, Line, NotCounted
from bhi_fhir.domain.record import ANYBODY, Consent, Program, Visit
from bhi_fhir.jobs.advice import HELP
from bhi_fhir.jobs.telling import Told, cited, count, day, entries, moment, people, plain, sentence
from bhi_fhir.policy.trace import asked, sentences
from bhi_fhir.rules.track import BHI_KINDS

BOOKLET = "MLN909432, "
_WORK = ("minutes", "follow-up-call", "performer")
"""Findings whose evidence is the work itself, the first that there is."""
_TOLD_APART = {"minutes", "consent", "initiating-visit", "rating-scale", "psychiatric-review", "episode-month"}
_CLASSES = {
    "90791": "a psychiatric diagnostic evaluation (90791)",
    "initiating-visit-psychiatric": "a psychiatric diagnostic evaluation",
    "initiating-visit": "with a code that qualifies",
    "initiating-visit-undecided": "with a code that may qualify",
}


@dataclass(frozen=True, slots=True)
class RequiredBy:
    """Which requirement, where CMS asks for it, and by which sentences of policy/booklet.toml."""

    requirement: str
    outcome: str
    cite: str
    booklet: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LineTold:
    """One code explained; `sentences` by what they speak of, in the order of the paragraph."""

    code: str
    title: str
    status: str
    units: int
    practitioner: str | None
    date_of_service: str | None
    sentences: dict[str, str]
    required_by: tuple[RequiredBy, ...]

    @property
    def paragraph(self) -> str:
        return " ".join(self.sentences.values())


def tell_line(told: Told, candidate: Candidate) -> LineTold:
    """Explain a code, drafted or not."""
    line = next((x for x in told.decision.lines if x.code == candidate.code), None)
    parts: dict[str, Callable[[], str]] = {
        "line": lambda: _line(told, candidate, line),
        "against": lambda: _against(candidate),
        "days": lambda: _days(line),
        "work": lambda: _work(told, candidate),
        "minutes": lambda: _minutes(candidate),
        "not_counted": lambda: _not_counted(told, candidate),
        "elements": lambda: _elements(told, candidate),
        "consultant": lambda: _consultant(told, candidate),
        "scale": lambda: _scale(told, candidate),
        "consent": lambda: _consent(told, candidate),
        "visit": lambda: _visit(told, candidate),
        "episode": lambda: _episode(told, candidate),
        "also": lambda: _also(candidate),
        "cms": lambda: _cms(candidate),
        "decide": lambda: _decide(candidate),
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
        required_by=tuple(
            RequiredBy(f.requirement, f.outcome, f.cite, tuple(s.id for s in asked(code, f.requirement, sentences())))
            for f in candidate.findings
        ),
    )


def _met(candidate: Candidate, requirement: str) -> Finding | None:
    return next((f for f in candidate.findings if f.requirement == requirement and f.outcome == "met"), None)


def _found(candidate: Candidate, requirement: str) -> Finding | None:
    return next((f for f in candidate.findings if f.requirement == requirement), None)


# -- what was done ----------------------------------------------------------------------------------


def _line(told: Told, candidate: Candidate, line: Line | None) -> str:
    what = f"{candidate.code} ({told.code(candidate).title})"
    for_whom = f"for {told.decision.patient} in {told.month}"
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
    if found.outcome == "unknown" and _is_counted_for(told, candidate):
        return told.decision.minutes.sources
    return found.evidence


def _is_counted_for(told: Told, candidate: Candidate) -> bool:
    """Are the decision's minutes this code's? They are of the leading code and of those that share its count."""
    shown = told.nearest
    if shown is None or not told.code(candidate).program:
        return False
    mine, led = told.code(candidate), told.code(shown)
    return (mine.program, mine.time_of) == (led.program, led.time_of)


def _minutes(candidate: Candidate) -> str:
    """The finding's sentence; "50 of 36 minutes are counted" reads better for a line that stands."""
    found = _found(candidate, "minutes")
    if found is None:
        return ""
    numbers = re.fullmatch(r"(\d+) of (\d+) minutes are counted(.*)", found.because)
    if found.outcome != "met" or numbers is None:
        return sentence(found.because)
    entry = count(len(found.evidence), "entry", "entries")
    return sentence(f"{numbers[1]} minutes are counted, from {entry}; the code asks for {numbers[2]}{numbers[3]}")


def _not_counted(told: Told, candidate: Candidate) -> str:
    if not _is_counted_for(told, candidate):
        return ""
    pieces = told.decision.minutes.not_counted
    if not pieces:
        return "No time was left out."
    return sentence(f"not counted: {'; '.join(piece_left_out(told, piece) for piece in pieces)}")


def piece_left_out(told: Told, piece: NotCounted) -> str:
    """ "20 minutes of Encounter/x on 2026-09-15 (it lies before the consent)"."""
    found = told.activities([piece.source])
    on = f" on {day(found[0].when, told.zone)}" if found and found[0].when else ""
    time = "time that cannot be read" if piece.minutes is None else count(piece.minutes, "minute")
    return f"{time} of {piece.source}{on} ({piece.because})"


def _elements(told: Told, candidate: Candidate) -> str:
    """Kinds of work that the code asks for, each with its days."""
    met = [f for f in candidate.findings if f.outcome == "met" and f.requirement in BHI_KINDS]
    said = [f"{plain(f.requirement)} on {_on(told, f.evidence)}{cited(f.evidence)}" for f in met]
    return sentence(f"documented: {'; '.join(said)}") if said else ""


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
    return sentence(f"rating scale: {'; '.join(said)}") if said else ""


def _consent(told: Told, candidate: Candidate) -> str:
    found = _met(candidate, "consent")
    given = {c.ref: c for c in told.chart.consents if found and c.permits and c.ref in found.evidence}
    said = [_permission(told, given[ref]) for ref in sorted(given)]
    return sentence(f"consent: {'; '.join(said)}") if said else ""


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
        f"on {day(v.when, told.zone)} with {' and '.join(sorted(v.people)) or 'nobody named'}, {_class(v)} ({ref})"
        for ref, v in sorted(mine.items())
    ]
    return sentence(f"initiating visit: {'; '.join(said)}") if said else ""


def _class(visit: Visit) -> str:
    return next((said for group, said in _CLASSES.items() if group in visit.groups), "with a code that may qualify")


def _episode(told: Told, candidate: Candidate) -> str:
    found = _found(candidate, "episode-month")
    if found:
        return sentence(found.because) if found.outcome == "met" else ""
    episode = told.decision.episode
    if episode is None or told.code(candidate).program != Program.COCM:
        return ""
    which = "" if episode.kind == "initial" else f", {told.month} a later one"
    return sentence(f"{episode.first_month} is the episode's first calendar month{which}")


def _also(candidate: Candidate) -> str:
    """Every other requirement that is met, in its finding's own words."""
    met = [f for f in candidate.findings if f.outcome == "met" and f.requirement not in _TOLD_APART | BHI_KINDS]
    return " ".join(sentence(f"{f.because}{cited(f.evidence)}") for f in met)


# -- who asks for it, and what is open --------------------------------------------------------------


def _cms(candidate: Candidate) -> str:
    """Citation by citation, with the requirements that rest on it."""
    by: dict[str, list[str]] = {}
    for f in candidate.findings:
        by.setdefault(f.cite.removeprefix(BOOKLET), []).append(f.requirement)
    said = "; ".join(f"{cite} ({', '.join(dict.fromkeys(names))})" for cite, names in by.items())
    return sentence(f"CMS asks for this in {BOOKLET}{said}") if said else ""


def _against(candidate: Candidate) -> str:
    """Why there is no line."""
    said = "; ".join(f"{f.requirement}: {f.because}" for f in candidate.findings if f.blocks)
    return sentence(f"It is not billable: {said}") if said else ""


def _decide(candidate: Candidate) -> str:
    """What is open without blocking: one question for all that the same answer settles."""
    by: dict[str, list[str]] = {}
    for f in candidate.findings:
        if f.open and not f.blocks:
            unsure = " (unknown)" if f.outcome == "unknown" else ""
            by.setdefault(HELP[f.requirement], []).append(f"{f.requirement}{unsure}: {f.because}{cited(f.evidence)}")
    said = " ".join(f"{sentence('; '.join(open_))} To settle it: {help_}." for help_, open_ in by.items())
    return f"A person must decide. {said}" if said else ""
