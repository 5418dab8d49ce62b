"""How many minutes a code wants, under a site's switches.

CPT time rule: a unit is attained when its midpoint is passed, so a base of B minutes at B/2 + 1 and
add-on k at B + 30(k - 1) + 16.
"""

from __future__ import annotations

from bhi_fhir.domain.value import Value
from bhi_fhir.policy import Code, Rules, Switches, Threshold, policy


class Asked(Value, frozen=True):
    """What a code asks of the month's minutes."""

    minutes: int
    how: str
    """How CMS's number comes to the number that is asked for, and by which switch."""
    base_at: tuple[int | None, int | None]
    """Of the short month: from how many minutes the base code takes its place, in a first month and in a later one."""


def asked(code: Code, rules: Rules, switches: Switches) -> Asked:
    at = needed(code, switches)
    if code.role != "short":
        return Asked(at, _how(code, at, switches), (None, None))
    base_at = (_base_at(code, "initial", rules, switches), _base_at(code, "later", rules, switches))
    return Asked(at, _how(code, at, switches), base_at)


def _how(code: Code, at: int, switches: Switches) -> str:
    threshold = _threshold(code)
    if threshold.rule == "any-work":
        return " (the code has no time threshold)" if at == 1 else f" (site policy {threshold.switch} = true)"
    name = threshold.switch or "cocm_threshold"
    switch, chosen = policy().switches[name], getattr(switches, name)
    if chosen != switch.default:
        return f" (site policy {name} = {str(chosen).lower()}, switch {switch.letter})"
    return (
        f" ({threshold.full} at its midpoint: CPT time rules, switch {switch.letter})" if at != threshold.full else ""
    )


def _base_at(short: Code, month: str, rules: Rules, switches: Switches) -> int | None:
    """The minutes at which the base code of an initial or a later month is reached."""
    for code in rules.codes.values():
        if code.siblings == short.siblings and code.role == "base" and code.episode_month in ("", month):
            return needed(code, switches)
    return None


def midpoint(full: int) -> int:
    """The first whole minute after half of `full`."""
    return full // 2 + 1


def needed(code: Code, switches: Switches) -> int:
    """Minutes at which one unit of a base or single code is reached."""
    return _needed(_threshold(code), switches)


def _threshold(code: Code) -> Threshold:
    assert code.minutes is not None, code.code  # the loader refuses a timed code without minutes
    return code.minutes


def _needed(threshold: Threshold, switches: Switches) -> int:
    rule = threshold.rule
    if rule == "midpoint":
        return threshold.full if switches.cocm_threshold == "full" else midpoint(threshold.full)
    if rule == "switch":
        return int(getattr(switches, threshold.switch))
    if rule == "any-work":
        return threshold.full if getattr(switches, threshold.switch) else 1
    if rule in ("strict-or-midpoint", "each-strict-or-midpoint") and not switches.strict_time_related:
        return midpoint(threshold.full)
    return threshold.full


def unit_at(base: Code, add_on: Code, unit: int, switches: Switches) -> int:
    """Minutes at which add-on `unit` (1, 2, …) is reached above its base."""
    full, step = _threshold(base).full, _threshold(add_on).full
    if switches.cocm_threshold == "full":
        return full + step * unit
    return full + step * (unit - 1) + midpoint(step)


def units(base: Code, add_on: Code, minutes: int, switches: Switches) -> int:
    """Units of the add-on that `minutes` reach, before any limit of the site."""
    count = 0
    while minutes >= unit_at(base, add_on, count + 1, switches):
        count += 1
    return count


def each(code: Code, minutes: int, switches: Switches) -> int:
    """Units of a service that is charged per full (or per begun half of) `full` minutes."""
    full = _threshold(code).full
    at = needed(code, switches)
    return (minutes - at) // full + 1 if minutes >= at else 0


def breakpoints(rules: Rules, program: str, first_month: bool, switches: Switches, up_to: int) -> set[int]:
    """Every number of minutes up to `up_to` at which some code of the program, in such a month, changes."""
    month = ("", "initial" if first_month else "later")
    codes = [c for c in rules.codes.values() if c.program == program and c.minutes and c.episode_month in month]
    bases = [c for c in codes if not c.adds_to]
    found = {1, *(needed(base, switches) for base in bases)}
    for add_on in codes:
        for base in bases:
            if base.code in add_on.adds_to:
                reached = units(base, add_on, up_to, switches)
                found |= {unit_at(base, add_on, unit, switches) for unit in range(1, reached + 1)}
    return {at for at in found if at <= up_to}
