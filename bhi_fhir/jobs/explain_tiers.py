"""Which codes more minutes of the month would reach, and at how many."""

from __future__ import annotations

from bhi_fhir.domain.decision import Candidate, NextTier
from bhi_fhir.domain.record import Program
from bhi_fhir.jobs.telling import Told
from bhi_fhir.policy import Code
from bhi_fhir.rules import thresholds


def tiers(told: Told) -> tuple[NextTier, ...]:
    """Every code of the month's count that is not reached yet, the nearest first."""
    done, nearest = told.decision.minutes.counted, told.nearest
    if nearest is None or not told.code(nearest).program:
        return ()
    found = _of_cocm(told, done) if _is_timed_cocm(told.code(nearest)) else _of_one(told, nearest)
    return tuple(NextTier(code, at, at - done) for at, code in sorted(found) if at > done)


def _is_timed_cocm(code: Code) -> bool:
    return code.program == Program.COCM and code.role != "apcm"


def _of_one(told: Told, candidate: Candidate) -> list[tuple[int, str]]:
    return [(thresholds.needed(told.code(candidate), told.switches), candidate.code)]


def _of_cocm(told: Told, done: int) -> list[tuple[int, str]]:
    """The short month and the month's base code; where the base is reached, the next unit of its add-on."""
    bases = [c for c in told.decision.candidates if _is_of_this_month(told, told.code(c))]
    found = [tier for base in bases for tier in _of_one(told, base)]
    reached = [told.code(c) for c in bases if told.code(c).role == "base" and _of_one(told, c)[0][0] <= done]
    return found + [tier for base in reached for tier in _next_unit(told, base, done)]


def _is_of_this_month(told: Told, code: Code) -> bool:
    kind = told.decision.episode.kind if told.decision.episode else "initial"
    return _is_timed_cocm(code) and not code.adds_to and code.episode_month in ("", kind)


def _next_unit(told: Told, base: Code, done: int) -> list[tuple[int, str]]:
    """Within the site's limit."""
    limit, found = told.switches.max_99494, []
    for candidate in told.decision.candidates:
        code = told.code(candidate)
        if code.program == base.program and base.code in code.adds_to:
            unit = thresholds.units(base, code, done, told.switches) + 1
            if not limit or unit <= limit:
                found.append((thresholds.unit_at(base, code, unit, told.switches), code.code))
    return found
