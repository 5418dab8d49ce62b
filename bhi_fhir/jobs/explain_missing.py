"""For the care manager: what is missing, until when, and what would mend it."""

from __future__ import annotations

from dataclasses import dataclass

from bhi_fhir.domain.decision import Candidate, Finding
from bhi_fhir.jobs.advice import HELP, REMEDY
from bhi_fhir.jobs.explain_line import piece_left_out
from bhi_fhir.jobs.telling import TIME_OF, Told, cited, count, sentence, stopped
from bhi_fhir.rules.track import BHI_KINDS

ELEMENTS = BHI_KINDS | {"psychiatric-review", "continuity", "rating-scale"}
"""What a team documents month by month."""


@dataclass(frozen=True, slots=True)
class Missing:
    """Sentences by what they speak of; `until` is the last day of the month, "YYYY-MM-DD"."""

    codes: tuple[str, ...]
    until: str
    minutes: str
    blocks: tuple[str, ...]
    elements: tuple[str, ...]
    unclear: tuple[str, ...]
    not_counted: tuple[str, ...]
    notes: tuple[str, ...]


def tell_missing(told: Told, candidates: list[Candidate]) -> Missing:
    """What stands between these codes and a line in order."""
    opened = _open(candidates)
    last = str(told.month.last_day)
    minutes_short = [f for f in opened if f.requirement == "minutes" and f.outcome == "not-met"]
    elements = [f for f in opened if f.requirement in ELEMENTS and f.outcome == "not-met"]
    unclear = [f for f in opened if f.outcome == "unknown"]
    blocks = [f for f in opened if f not in minutes_short + elements + unclear]
    return Missing(
        codes=tuple(c.code for c in candidates),
        until=last,
        minutes=_minutes(told, minutes_short),
        blocks=tuple(map(_mend, blocks)),
        elements=tuple(_mend(f, f"do it until {last}, or ") for f in elements),
        unclear=tuple(map(_mend, unclear)),
        not_counted=tuple(
            sentence(f"{piece_left_out(told, piece)}: {REMEDY[piece.reason]}")
            for piece in told.decision.minutes.not_counted
        ),
        notes=tuple(
            map(sentence, (*(f"withheld: {r}" for r in told.decision.withheld), *told.decision.warnings)),
        ),
    )


def _open(candidates: list[Candidate]) -> list[Finding]:
    """Every open finding once, though several codes may share it."""
    found = {(f.requirement, f.because): f for c in candidates for f in c.findings if f.open}
    return list(found.values())


def _mend(finding: Finding, first: str = "") -> str:
    """What is open, on which evidence, and what would settle it."""
    what = f"{finding.requirement}: {finding.because}{cited(finding.evidence)}"
    return stopped(f"{what}; {first}{HELP[finding.requirement]}")


def _minutes(told: Told, short: list[Finding]) -> str:
    """How far it is to the next tier, by when, and whose minutes they must be."""
    counted, following = told.decision.minutes.counted, told.decision.minutes.next
    if following is None:
        said = short[0].because if short else f"{count(counted, 'minute')} counted; more of them reach no further code"
        return sentence(said)
    code = told.rules.codes[following.code]
    wanted = count(following.missing, "more minute")
    reaches = "reaches" if following.missing == 1 else "reach"
    return (
        f"{count(counted, 'minute')} counted. Until {told.month.last_day}, {wanted} of {TIME_OF[code.time_of]} "
        f"{reaches} {code.code} ({code.title}) at {following.at}."
    )
