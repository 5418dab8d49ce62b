"""For the care manager: what blocks, what is missing, by when, and what would mend it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bhi_fhir.domain.decision import Candidate, Finding, Level, NextTier, Status
from bhi_fhir.jobs.advice import to_count, to_settle
from bhi_fhir.jobs.explain_tiers import tiers
from bhi_fhir.jobs.telling import (
    TIME_OF,
    Told,
    cited,
    count,
    counted,
    in_words,
    only_chosen_against,
    sentence,
)
from bhi_fhir.rules.track import BHI_KINDS

ELEMENTS = BHI_KINDS | {"psychiatric-review", "continuity", "rating-scale"}
"""What a team documents month by month."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Sentences by what they speak of, in the order in which they are mended.

    `codes` are the lines (or the code that is nearest or asked for) and the tiers; `by` is the month's last day.
    """

    codes: tuple[str, ...]
    by: str
    month_is_over: bool
    blocks: tuple[str, ...]
    """What no minutes can cure."""
    minutes: str
    tiers: tuple[NextTier, ...]
    elements: tuple[str, ...]
    unclear: tuple[str, ...]
    not_counted: tuple[str, ...]
    notes: tuple[str, ...]
    nothing_else: bool
    """Nothing but minutes is missing, and no time is unread."""


@dataclass(frozen=True, slots=True)
class _Open:
    """An open finding, and the codes that share it."""

    finding: Finding
    codes: tuple[str, ...]
    status: Status
    """needs-review if one of the codes waits only for a person."""


def tell_missing(told: Told, candidates: list[Candidate], asked: str = "") -> Missing:
    """What stands between these codes, or the ones that more minutes reach, and a line in order."""
    above = tuple(t for t in tiers(told) if not asked or t.code == asked)
    named = _named(told, candidates, above)
    opened = [o for o in _opened(named) if not only_chosen_against(o.finding) and not _is_short(o.finding)]
    blocks = _said(told, named, opened, lambda f: f.blocks)
    unclear = _said(told, named, opened, _is_unclear)
    elements = _said(told, named, opened, lambda f: not f.blocks and not _is_unclear(f))
    pieces = told.decision.minutes.not_counted
    return Missing(
        codes=tuple(c.code for c in named),
        by=str(told.month.last_day),
        month_is_over=told.is_over,
        blocks=blocks,
        minutes=_minutes(told, above) if above or not asked else _asked_for(candidates),
        tiers=above,
        elements=elements,
        unclear=unclear,
        not_counted=tuple(to_count(told, piece) for piece in pieces),
        notes=tuple(map(sentence, _notes(told, candidates))),
        nothing_else=not (blocks or elements or unclear or any(p.reason == "unreadable" for p in pieces)),
    )


def _named(told: Told, candidates: list[Candidate], above: Iterable[NextTier]) -> list[Candidate]:
    """The lines (or what is nearest or asked for) and the tiers, each once."""
    reached = [c for t in above if (c := told.candidate(t.code))]
    return list({c.code: c for c in [*candidates, *reached]}.values())


def _is_short(finding: Finding) -> bool:
    return finding.requirement == "minutes" and finding.outcome == "not-met"


def _is_unclear(finding: Finding) -> bool:
    """Unknown, or for a person to look at, without being work to document."""
    return finding.outcome == "unknown" or (not finding.blocks and finding.requirement not in ELEMENTS)


def _opened(named: list[Candidate]) -> list[_Open]:
    """Every open finding once, though several codes may share it."""
    found: dict[tuple[str, str, Level], list[tuple[Finding, Candidate]]] = {}
    for candidate in named:
        for f in candidate.findings:
            if f.open:
                found.setdefault((f.requirement, f.because, f.level), []).append((f, candidate))
    return [_Open(same[0][0], tuple(c.code for _, c in same), _status(c for _, c in same)) for same in found.values()]


def _status(candidates: Iterable[Candidate]) -> Status:
    waits = any(c.status == "needs-review" for c in candidates)
    return "needs-review" if waits else "not-billable"


def _said(
    told: Told, named: list[Candidate], opened: list[_Open], wanted: Callable[[Finding], bool]
) -> tuple[str, ...]:
    return tuple(_mend(told, o, len(named)) for o in opened if wanted(o.finding))


def _mend(told: Told, opened: _Open, named: int) -> str:
    """What is open, for which of the codes, on which evidence, and what would settle it."""
    f = opened.finding
    which = f"{', '.join(opened.codes)}: " if len(opened.codes) < named else ""
    can_be_done = f.requirement in ELEMENTS and f.outcome == "not-met" and not told.is_over
    first = f"do it by {told.month.last_day}, or " if can_be_done else ""
    return sentence(f"{which}{in_words(f)}{cited(f.evidence)}; {first}{to_settle(told, f, opened.status)}")


# -- minutes ----------------------------------------------------------------------------------------


def _minutes(told: Told, above: tuple[NextTier, ...]) -> str:
    """How far it is to each tier, by when, and whose minutes they must be."""
    said = counted(told.decision.minutes.counted)
    if not above:
        return sentence(f"{said}; more of them reach no further code")
    whose = TIME_OF[told.rules.codes[above[0].code].time_of]
    by = "" if told.is_over else f" by {told.month.last_day}"
    return f"{sentence(said)} With more time of {whose}{by}: {'; '.join(_steps(told, above))}."


def _asked_for(candidates: list[Candidate]) -> str:
    """Of a code that more minutes do not lift: its own finding."""
    found = [f.because for c in candidates for f in c.findings if f.requirement == "minutes"]
    return sentence(found[0]) if found else f"{candidates[0].code} asks for no minutes."


def _steps(told: Told, above: tuple[NextTier, ...]) -> list[str]:
    """ "1 more minute: G2214 (CoCM, short month)", "16 more: 99493 (…)"."""
    wanted = [count(above[0].missing, "more minute"), *(f"{t.missing} more" for t in above[1:])]
    return [f"{more}: {t.code} ({told.rules.codes[t.code].title})" for more, t in zip(wanted, above, strict=True)]


# -- notes ------------------------------------------------------------------------------------------


def _notes(told: Told, candidates: list[Candidate]) -> Iterable[str]:
    """What was chosen instead, what was withheld, and the warnings of the decision."""
    for c in candidates:
        stops = [f for f in c.findings if f.blocks]
        if stops and all(map(only_chosen_against, stops)):
            yield f"{c.code}: {stops[0].because}"
    yield from (f"withheld: {reason}" for reason in told.decision.withheld)
    yield from told.decision.warnings
