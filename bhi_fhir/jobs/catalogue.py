"""The whole catalogue for a month: every code that is modelled, as policy has it, under default switches."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.telling import TIME_OF
from bhi_fhir.policy import Code, Rules, Switches, policy
from bhi_fhir.policy.loader import in_force
from bhi_fhir.policy.model import FOREVER, RULESET, Reading
from bhi_fhir.policy.trace import Sentence, codes_of
from bhi_fhir.rules import thresholds


@dataclass(frozen=True, slots=True)
class Entry:
    """One code in one month; months are "YYYY-MM", `until` is None for a code without end."""

    code: str
    system: str
    title: str
    in_force: bool
    since: str
    until: str | None
    drafted: bool
    minutes: str
    """What it takes under default switches; "" where no time is asked for or the code is not in force."""
    switches: dict[str, str]
    """What another reading makes of it: "g2214_min = 30" -> "30 minutes"."""
    time_of: str
    billers: tuple[str, ...]
    block: tuple[str, ...]
    review: tuple[str, ...]
    excludes: tuple[str, ...]
    adds_to: tuple[str, ...]
    cite: str
    cite_minutes: str
    source: str
    verified_from: str
    verified_through: str
    file: str


@dataclass(frozen=True, slots=True)
class Catalogue:
    month: str
    entries: tuple[Entry, ...]
    unverified: tuple[str, ...]


def catalogue(text: str) -> Catalogue:
    """Every code of the shipped policy as it stands in a month, "2026-03". UsageError for what is no month."""
    try:
        month = ServiceMonth.parse(text, ZoneInfo("UTC"))
    except ValueError as error:
        raise UsageError(f"--month: {error}") from error
    rules = in_force(month.index, policy())
    entries = [_entry(rules.codes.get(code.code), code, rules, month) for code, _ in policy().codes]
    return Catalogue(str(month), tuple(entries), rules.unverified)


def _entry(now: Code | None, code: Code, rules: Rules, month: ServiceMonth) -> Entry:
    def said(index: int) -> str:
        return str(ServiceMonth(index, month.zone))

    return Entry(
        code=code.code,
        system=code.system,
        title=code.title,
        in_force=now is not None,
        since=said(code.valid[0]),
        until=said(code.valid[1]) if code.valid[1] != FOREVER else None,
        drafted=code.drafted,
        minutes=_minutes(now, rules, policy().defaults()) if now else "",
        switches=_other_readings(now, rules) if now else {},
        time_of=TIME_OF[code.time_of],
        billers=tuple(sorted(code.billers)),
        block=code.block,
        review=code.review,
        excludes=tuple(sorted(code.excludes)),
        adds_to=code.adds_to,
        cite=code.cite,
        cite_minutes=now.minutes.cite if now and now.minutes else "",
        source=code.source,
        verified_from=said(code.verified[0]),
        verified_through=said(code.verified[1]),
        file=code.file,
    )


# -- minutes ----------------------------------------------------------------------------------------


def _minutes(code: Code, rules: Rules, switches: Switches) -> str:
    """ "36 minutes", "86 beside 99492, then each 30", "5 to 10 minutes of one day"."""
    if code.minutes is None:
        return ""
    if code.adds_to:
        return _add_on(code, rules, switches)
    at, rule = thresholds.needed(code, switches), code.minutes.rule
    if rule == "any-work":
        return f"{at} minutes" if at > 1 else "any counted work, no threshold"
    if rule == "band":
        return f"{at} to {code.minutes.through} minutes" if code.minutes.through else f"{at} minutes or more"
    if rule == "each-strict-or-midpoint":
        return f"{at} minutes, then a unit at each further {code.minutes.full}"
    return f"{at} minutes"


def _add_on(code: Code, rules: Rules, switches: Switches) -> str:
    """Where the first unit beside each base begins; both kinds of add-on go on in steps of their own time."""
    assert code.minutes is not None
    bases = [rules.codes[base] for base in code.adds_to if base in rules.codes]
    starts = [f"{_first_unit(base, code, switches)} minutes beside {base.code}" for base in bases]
    return f"{' and '.join(starts)}, then a unit at each further {code.minutes.full}"


def _first_unit(base: Code, add_on: Code, switches: Switches) -> int:
    if base.program:
        return thresholds.unit_at(base, add_on, 1, switches)
    assert base.minutes is not None
    return base.minutes.full + thresholds.needed(add_on, switches)  # as rules.services.digital counts it


def _other_readings(code: Code, rules: Rules) -> dict[str, str]:
    """Every other reading of a switch that changes the minutes of this code."""
    usual = _minutes(code, rules, policy().defaults())
    found = {}
    for reading in policy().switches.values():
        for choice in _choices(reading):
            other = _minutes(code, rules, policy().defaults(**{reading.name: choice}))
            if other != usual:
                found[f"{reading.name} = {str(choice).lower()}"] = other
    return found


def _choices(reading: Reading) -> tuple[Any, ...]:
    return (not reading.default,) if isinstance(reading.default, bool) else reading.choices


# -- out --------------------------------------------------------------------------------------------


def json(found: Catalogue) -> bytes:
    return msgspec.json.encode({"month": found.month, "ruleset": RULESET, "codes": [asdict(e) for e in found.entries]})


def trace_json(booklet: tuple[Sentence, ...]) -> bytes:
    """Every sentence with the codes that it binds, by requirement."""
    sentences = [{**asdict(s), "requirements": codes_of(s, policy())} for s in booklet]
    return msgspec.json.encode({"ruleset": RULESET, "sentences": sentences})


def page(found: Catalogue, width: int) -> str:
    """The catalogue as text: one line for each code, then all that is known of each."""
    lines = [f"Codes in {found.month}, under default switches (ruleset {RULESET})", ""]
    lines[1:1] = _before_verified(found)
    title = max(len(e.title) for e in found.entries) + 2
    lines += [_line(e, title) for e in found.entries]
    for entry in found.entries:
        lines += ["", f"{entry.code}  {entry.title}{_mark(entry)}", *_details(entry, width)]
    return "\n".join(lines)


def _mark(entry: Entry) -> str:
    if not entry.in_force:
        return "  [not in force]"
    return "" if entry.drafted else "  [history only, never drafted]"


def _before_verified(found: Catalogue) -> list[str]:
    """For a month before the policy was verified, which months are: nothing is there to re-read."""
    first = max(e.verified_from for e in found.entries)
    last = min(e.verified_through for e in found.entries)
    return [f"This month is not verified: verified {first} to {last}"] if found.month < first else []


def _line(entry: Entry, title: int) -> str:
    return f"{entry.code:<7}{entry.title:<{title}}{entry.minutes}{_mark(entry)}".rstrip()


def _details(entry: Entry, width: int) -> Iterator[str]:
    until = f" until {entry.until}" if entry.until else ""
    rows = [
        ("in force", f"since {entry.since}{until}"),
        ("minutes", "; ".join(filter(None, (entry.minutes, entry.cite_minutes)))),
        *(("by switch", f"{switch}: {minutes}") for switch, minutes in entry.switches.items()),
        ("time of", entry.time_of),
        ("billed by", ", ".join(entry.billers)),
        ("beside", " or ".join(entry.adds_to)),
        ("must have", ", ".join(entry.block)),
        ("review", ", ".join(entry.review)),
        ("never with", ", ".join(entry.excludes)),
        ("citation", entry.cite),
        ("source", f"{entry.source}; {entry.file}, verified {entry.verified_from} to {entry.verified_through}"),
    ]
    for name, text in rows:
        if text:
            yield textwrap.fill(
                text, width, initial_indent=f"  {name:<12}", subsequent_indent=" " * 14, break_on_hyphens=False
            )
