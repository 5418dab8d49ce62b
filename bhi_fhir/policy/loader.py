"""The strict reader of policy files. Every error names file and key.

It refuses duplicates (TOML does), unknown and missing keys, wrong types, values without a citation,
and gaps, overlaps or disorder in time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import tomli

from bhi_fhir.domain.value import replace
from bhi_fhir.errors import PolicyError
from bhi_fhir.policy.model import (
    FOREVER,
    ROLES,
    Code,
    Dated,
    Parameter,
    Policy,
    Reading,
    Requirement,
    Rules,
    Switches,
    Threshold,
)

HOME = Path(__file__).parent
Check = Callable[[Any], bool]
Keys = Mapping[str, Check]
"""The keys of a table, and what each value must be."""


def text(value: Any) -> bool:
    return type(value) is str


def texts(value: Any) -> bool:
    return type(value) is list and all(type(v) is str and v.strip() for v in value)


def tables(value: Any) -> bool:
    return type(value) is list and all(type(v) is dict for v in value)


def _day(value: Any) -> bool:
    return type(value) is date


def _whole(value: Any) -> bool:
    return type(value) is int


def _yes_no(value: Any) -> bool:
    return type(value) is bool


def _list(value: Any) -> bool:
    return type(value) is list


def _readings(value: Any) -> bool:
    return type(value) is dict and all(type(v) is str and v.strip() for v in value.values())


def _anything(_: Any) -> bool:
    return True


_CODE_KEYS: Keys = {
    "code": text, "system": text, "title": text, "cite": text, "source": text,
    "valid_from": _day, "verified_from": _day, "verified_through": _day,
    "billers": texts, "block": texts, "review": texts, "excludes": texts,
}  # fmt: skip
_CODE_OPTIONAL: Keys = {
    "program": text, "siblings": text, "role": text, "fallback_for": text, "opened_by": texts, "time_of": text,
    "episode_month": text, "adds_to": texts, "apcm_bases": texts, "activity": texts, "drafted": _yes_no,
    "valid_to": _day, "minutes": tables,
}  # fmt: skip
_MINUTES_KEYS: Keys = {"from": _day, "full": _whole, "rule": text, "cite": text}
_MINUTES_OPTIONAL: Keys = {"through": _whole, "switch": text}
_PARAMETER_KEYS: Keys = {
    "title": text, "unit": text, "verified_from": _day, "verified_through": _day, "value": tables,
}  # fmt: skip
_VALUE_KEYS: Keys = {"from": _day, "value": _whole, "cite": text}
_SWITCH_KEYS: Keys = {"letter": text, "default": _anything, "readings": _readings}
_SWITCH_OPTIONAL: Keys = {"choices": _list, "minimum": _whole}
_BY_SWITCH: dict[str, Callable[[int, Reading], bool]] = {
    "switch": lambda full, switch: full in switch.choices,
    "any-work": lambda _, switch: type(switch.default) is bool,
}
"""Rules that a switch decides, and whether it can."""
_RULES = {"midpoint", "switch", "any-work", "band", "full", "strict-or-midpoint", "each-strict-or-midpoint"}
_WORDS = {
    "program": {"cocm", "general-bhi"},
    "role": set(ROLES),
    "fallback_for": {"cocm", "general-bhi"},
    "time_of": {"care-manager", "clinical-staff", "billing-practitioner", "performer"},
    "episode_month": {"initial", "later"},
}
"""Keys of a code that are one of a few words."""


@cache
def policy() -> Policy:
    """The policy that ships with this version."""
    return load(HOME)


def load(home: Path) -> Policy:
    """Read a policy folder; PolicyError for anything that is not exactly right."""
    requirements = _requirements(home / "requirements.toml")
    switches = _switches(home / "switches.toml")
    codes = tuple(_code(file, requirements, switches) for file in sorted((home / "codes").glob("*.toml")))
    known = {code.code for code, _ in codes}
    for code, _ in codes:
        for key, others in (("excludes", code.excludes), ("adds_to", code.adds_to)):
            for other in sorted(set(others) - known):
                raise PolicyError(f"{code.file}: {key} names {other}, which no file describes")
    _same_billers({code.code: code for code, _ in codes})
    _siblings_fit([code for code, _ in codes])
    parameters = tuple(_parameter(file) for file in sorted((home / "parameters").glob("*.toml")))
    return Policy(codes, parameters, requirements, switches)


def _same_billers(codes: dict[str, Code]) -> None:
    """An add-on is billed by whoever bills its base, which is a sibling."""
    for code in codes.values():
        for base in code.adds_to:
            if codes[base].billers != code.billers:
                raise PolicyError(f"{code.file}: billers must be those of {base}, to which it adds")
            if codes[base].siblings != code.siblings:
                raise PolicyError(f"{code.file}: siblings must be those of {base}, to which it adds")


def _siblings_fit(codes: list[Code]) -> None:
    """Whoever has siblings has a base code among them, of the same program and the same people's time."""
    bases = {code.siblings: code for code in codes if code.role == "base"}
    for code in codes:
        base = bases.get(code.siblings, None if code.siblings else code)
        if base is None:
            raise PolicyError(f"{code.file}: siblings names {code.siblings}, of which no code is the base")
        if (base.program, base.time_of) != (code.program, code.time_of):
            raise PolicyError(f"{code.file}: siblings have program and time_of in common, and {base.code} has others")


@cache
def rules_of(month: int) -> Rules:
    """The shipped rules of one calendar month (`ServiceMonth.index`)."""
    return in_force(month, policy())


def in_force(month: int, whole: Policy) -> Rules:
    """The rules of one calendar month of a policy."""
    codes: dict[str, Code] = {}
    for code, thresholds in whole.codes:
        if code.valid[0] <= month <= code.valid[1]:
            started = [t for start, t in thresholds if start <= month]
            codes[code.code] = replace(code, minutes=started[-1] if started else None)
    stale = [c.file for c, _ in whole.codes if not c.verified[0] <= month <= c.verified[1]]
    stale += [p.file for p in whole.parameters if not p.verified[0] <= month <= p.verified[1]]
    values = {p.name: p.at(month) for p in whole.parameters}
    programs = {code.code: code.program for code, _ in whole.codes}
    return Rules(month, codes, values, whole.requirements, programs, tuple(stale))


# -- files ------------------------------------------------------------------------------------------


def read(file: Path) -> dict[str, Any]:
    """A TOML file; PolicyError if it cannot be read, duplicate keys included."""
    try:
        return tomli.loads(file.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{shown(file)}: {error}") from error


def shown(file: Path) -> str:
    """The file as somebody finds it in the package."""
    return f"bhi_fhir/policy/{file.relative_to(HOME)}" if file.is_relative_to(HOME) else str(file)


def check(file: Path, table: Any, required: Keys, optional: Keys | None = None, *, inside: str = "") -> None:
    """PolicyError naming file and key (after `inside`) unless the table has these keys, of these types."""
    known = {**required, **(optional or {})}
    if type(table) is not dict:
        raise PolicyError(f"{shown(file)}: {inside.rstrip('.')} must be a table")
    for key in required:
        if key not in table:
            raise PolicyError(f"{shown(file)}: {inside}{key} is missing")
    for key, value in table.items():
        if key not in known:
            raise PolicyError(f"{shown(file)}: {inside}{key} is not a known key")
        if not known[key](value):
            raise PolicyError(f"{shown(file)}: {inside}{key} has the wrong type")
        if isinstance(value, str) and not value.strip():
            raise PolicyError(f"{shown(file)}: {inside}{key} is empty")
        if known[key] is texts and len(set(value)) < len(value):
            raise PolicyError(f"{shown(file)}: {inside}{key} names something twice")


def _code(
    file: Path, requirements: dict[str, Requirement], switches: dict[str, Reading]
) -> tuple[Code, tuple[tuple[int, Threshold], ...]]:
    table = read(file)
    check(file, table, _CODE_KEYS, _CODE_OPTIONAL)
    if table["code"] != file.stem:
        raise PolicyError(f"{shown(file)}: code must be {file.stem}, as the file is called")
    for key in ("block", "review"):
        for requirement in table[key]:
            if requirement not in requirements:
                raise PolicyError(f"{shown(file)}: {key} names {requirement}, which is not in requirements.toml")
    if set(table["block"]) & set(table["review"]):
        raise PolicyError(f"{shown(file)}: what stands in block cannot also stand in review")
    for key, words in _WORDS.items():
        if key in table and table[key] not in words:
            raise PolicyError(f"{shown(file)}: {key} is not one of {', '.join(sorted(words))}")
    _has_its_role(file, table)
    thresholds = _thresholds(file, table.get("minutes", []), switches)
    start = _first(file, "valid_from", table["valid_from"])
    if thresholds and thresholds[0][0] > start:
        raise PolicyError(f"{shown(file)}: minutes begin after valid_from: there is a gap")
    if "minutes" in table["block"] and not thresholds:
        raise PolicyError(f"{shown(file)}: minutes are required, and no [[minutes]] says how many")
    code = Code(
        code=table["code"],
        system=table["system"],
        title=table["title"],
        cite=table["cite"],
        source=table["source"],
        program=table.get("program", ""),
        siblings=table.get("siblings", ""),
        role=table.get("role", ""),
        fallback_for=table.get("fallback_for", ""),
        opened_by=frozenset(table.get("opened_by", ())),
        time_of=table.get("time_of", ""),
        episode_month=table.get("episode_month", ""),
        adds_to=tuple(table.get("adds_to", ())),
        apcm_bases=tuple(table.get("apcm_bases", ())),
        activity=tuple(table.get("activity", ())),
        drafted=table.get("drafted", True),
        billers=frozenset(table["billers"]),
        block=tuple(table["block"]),
        review=tuple(table["review"]),
        excludes=frozenset(table["excludes"]),
        valid=_span(file, table, "valid_from", "valid_to"),
        verified=_span(file, table, "verified_from", "verified_through"),
        minutes=None,
        file=shown(file),
    )
    return code, thresholds


def _has_its_role(file: Path, table: dict[str, Any]) -> None:
    """A monthly code says whose sibling it is and which one, and has what belongs to that."""
    monthly = "program" in table and table.get("drafted", True)
    for key in ("siblings", "role"):
        if (key in table) != monthly:
            raise PolicyError(f"{shown(file)}: {key} must stand in a monthly code that is drafted, and in no other")
    for role, key in (("add-on", "adds_to"), ("apcm", "apcm_bases")):
        if monthly and (table["role"] == role) != bool(table.get(key)):
            raise PolicyError(f"{shown(file)}: {key} must stand where the role is {role}, and nowhere else")


def _thresholds(
    file: Path, entries: list[dict[str, Any]], switches: dict[str, Reading]
) -> tuple[tuple[int, Threshold], ...]:
    found: list[tuple[int, Threshold]] = []
    for table in entries:
        check(file, table, _MINUTES_KEYS, _MINUTES_OPTIONAL, inside="minutes.")
        if table["rule"] not in _RULES:
            raise PolicyError(f"{shown(file)}: minutes.rule {table['rule']!r} is not a known rule")
        if table["full"] < 1:
            raise PolicyError(f"{shown(file)}: minutes.full must be 1 or more")
        if ("through" in table) and (table["rule"] != "band" or table["through"] < table["full"]):
            raise PolicyError(f"{shown(file)}: minutes.through ends a band, and not before it begins")
        switch = table.get("switch", "")
        if (table["rule"] in _BY_SWITCH) != (switch in switches):
            raise PolicyError(f"{shown(file)}: minutes.switch must name a switch if, and only if, the rule goes by one")
        if switch and not _BY_SWITCH[table["rule"]](table["full"], switches[switch]):
            raise PolicyError(f"{shown(file)}: minutes.full is no reading of {switch}, which decides")
        found.append(
            (
                _first(file, "minutes.from", table["from"]),
                Threshold(table["full"], table["rule"], table["cite"], table.get("through"), switch),
            )
        )
    _in_order(file, [start for start, _ in found], "minutes")
    return tuple(found)


def _parameter(file: Path) -> Parameter:
    table = read(file)
    check(file, table, _PARAMETER_KEYS)
    values = []
    for entry in table["value"]:
        check(file, entry, _VALUE_KEYS, inside="value.")
        values.append(Dated(_first(file, "value.from", entry["from"]), entry["value"], entry["cite"]))
    _in_order(file, [v.start for v in values], "value")
    verified = _span(file, table, "verified_from", "verified_through")
    if not values or values[0].start > verified[0]:
        raise PolicyError(f"{shown(file)}: value leaves a gap before its first date")
    return Parameter(file.stem, table["title"], table["unit"], tuple(values), verified, shown(file))


def _in_order(file: Path, starts: list[int], key: str) -> None:
    if starts != sorted(set(starts)):
        raise PolicyError(f"{shown(file)}: {key} must stand in order of time, one for each month at most")


def _requirements(file: Path) -> dict[str, Requirement]:
    found = {}
    for name, table in read(file).items():
        check(file, table, {"rule": text, "cite": text}, inside=f"{name}.")
        found[name] = Requirement(name, table["rule"], table["cite"])
    return found


def _switches(file: Path) -> dict[str, Reading]:
    found = {}
    for name, table in read(file).items():
        check(file, table, _SWITCH_KEYS, _SWITCH_OPTIONAL, inside=f"{name}.")
        reading = Reading(
            name,
            table["letter"],
            table["default"],
            tuple(table.get("choices", ())),
            table.get("minimum"),
            table["readings"],
        )
        if reading.check(reading.default):
            raise PolicyError(f"{shown(file)}: {name}.default {reading.check(reading.default)}")
        unread = [c for c in reading.choices if str(c) not in reading.readings]
        if len(reading.readings) < 2 or unread:
            raise PolicyError(f"{shown(file)}: {name}.readings must give both readings with their sources")
        found[name] = reading
    if set(found) != set(Switches.names()):
        odd = sorted(set(found) ^ set(Switches.names()))
        raise PolicyError(f"{shown(file)}: {', '.join(odd)} must stand both here and in Switches")
    return found


def _first(file: Path, key: str, day: date) -> int:
    """The month that begins on this day: policy changes at the border of two months."""
    if day.day != 1:
        raise PolicyError(f"{shown(file)}: {key} must be the first day of a month")
    return day.year * 12 + day.month - 1


def _last(file: Path, key: str, day: date) -> int:
    """The month that ends on this day."""
    if (day + timedelta(days=1)).day != 1:
        raise PolicyError(f"{shown(file)}: {key} must be the last day of a month")
    return day.year * 12 + day.month - 1


def _span(file: Path, table: dict[str, Any], start: str, end: str) -> tuple[int, int]:
    """From the month of the key `start` to that of the key `end`, or for ever where there is none."""
    span = (_first(file, start, table[start]), _last(file, end, table[end]) if end in table else FOREVER)
    if span[1] < span[0]:
        raise PolicyError(f"{shown(file)}: {end} lies before {start}")
    return span
