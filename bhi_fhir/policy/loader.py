"""The strict reader of policy files. Every error names file and key.

It refuses duplicates (TOML does), unknown and missing keys, wrong types, values without a citation,
and gaps, overlaps or disorder in time.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

from bhi_fhir.errors import PolicyError
from bhi_fhir.policy.model import (
    FOREVER,
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
_DAY = (date,)
_TEXT = (str,)
_LIST = (list,)
_CODE_KEYS: dict[str, tuple[type, ...]] = {
    "code": _TEXT, "system": _TEXT, "title": _TEXT, "cite": _TEXT, "source": _TEXT,
    "valid_from": _DAY, "verified_from": _DAY, "verified_through": _DAY,
    "billers": _LIST, "block": _LIST, "review": _LIST, "excludes": _LIST,
}  # fmt: skip
_CODE_OPTIONAL: dict[str, tuple[type, ...]] = {
    "program": _TEXT, "time_of": _TEXT, "episode_month": _TEXT, "adds_to": _LIST, "wants_apcm": (bool,),
    "activity": _LIST, "drafted": (bool,), "valid_to": _DAY, "minutes": _LIST,
}  # fmt: skip
_PARAMETER_KEYS = {
    "title": _TEXT,
    "unit": _TEXT,
    "verified_from": _DAY,
    "verified_through": _DAY,
    "value": _LIST,
}
_RULES = {"midpoint", "switch", "any-work", "band", "full", "strict-or-midpoint", "each-strict-or-midpoint"}
_TIMES = {"", "care-manager", "clinical-staff", "billing-practitioner", "performer"}


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
        for other in (*code.excludes, *code.adds_to):
            if other not in known:
                raise PolicyError(f"{code.file}: names {other}, which no file describes")
    parameters = tuple(_parameter(file) for file in sorted((home / "parameters").glob("*.toml")))
    return Policy(codes, parameters, requirements, switches)


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


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, OSError, UnicodeDecodeError) as error:
        raise PolicyError(f"{_name(file)}: {error}") from error


def _name(file: Path) -> str:
    """The file as somebody finds it in the package."""
    return f"bhi_fhir/policy/{file.relative_to(HOME)}" if file.is_relative_to(HOME) else str(file)


def _check(
    file: Path, table: dict[str, Any], required: dict[str, tuple[type, ...]], optional: Iterable[str] = ()
) -> None:
    for key in required:
        if key not in table:
            raise PolicyError(f"{_name(file)}: {key} is missing")
    for key, value in table.items():
        if key not in required and key not in optional:
            raise PolicyError(f"{_name(file)}: {key} is not a known key")
        wanted = required.get(key) or _CODE_OPTIONAL.get(key)
        if wanted and type(value) not in wanted:
            raise PolicyError(f"{_name(file)}: {key} has the wrong type")
        if isinstance(value, str) and not value.strip():
            raise PolicyError(f"{_name(file)}: {key} is empty")


def _code(
    file: Path, requirements: dict[str, Requirement], switches: dict[str, Reading]
) -> tuple[Code, tuple[tuple[int, Threshold], ...]]:
    table = _read(file)
    _check(file, table, _CODE_KEYS, _CODE_OPTIONAL)
    if table["code"] != file.stem:
        raise PolicyError(f"{_name(file)}: code must be {file.stem}, as the file is called")
    for requirement in (*table["block"], *table["review"]):
        if requirement not in requirements:
            raise PolicyError(f"{_name(file)}: {requirement} is not in requirements.toml")
    if set(table["block"]) & set(table["review"]):
        raise PolicyError(f"{_name(file)}: a requirement cannot both block and be for review")
    if table.get("time_of", "") not in _TIMES:
        raise PolicyError(f"{_name(file)}: time_of is not one of {', '.join(sorted(filter(None, _TIMES)))}")
    thresholds = _thresholds(file, table.get("minutes", []), switches)
    start = _index(table["valid_from"])
    if thresholds and thresholds[0][0] > start:
        raise PolicyError(f"{_name(file)}: minutes begin after valid_from: there is a gap")
    if "minutes" in table["block"] and not thresholds:
        raise PolicyError(f"{_name(file)}: minutes are required, and no [[minutes]] says how many")
    code = Code(
        code=table["code"],
        system=table["system"],
        title=table["title"],
        cite=table["cite"],
        source=table["source"],
        program=table.get("program", ""),
        time_of=table.get("time_of", ""),
        episode_month=table.get("episode_month", ""),
        adds_to=tuple(table.get("adds_to", ())),
        wants_apcm=table.get("wants_apcm", False),
        activity=tuple(table.get("activity", ())),
        drafted=table.get("drafted", True),
        billers=frozenset(table["billers"]),
        block=tuple(table["block"]),
        review=tuple(table["review"]),
        excludes=frozenset(table["excludes"]),
        valid=_span(file, table["valid_from"], table.get("valid_to"), "valid"),
        verified=_span(file, table["verified_from"], table["verified_through"], "verified"),
        minutes=None,
        file=_name(file),
    )
    return code, thresholds


def _thresholds(
    file: Path, tables: list[dict[str, Any]], switches: dict[str, Reading]
) -> tuple[tuple[int, Threshold], ...]:
    found: list[tuple[int, Threshold]] = []
    for table in tables:
        _check(file, table, {"from": _DAY, "full": (int,), "rule": _TEXT, "cite": _TEXT}, ("through", "switch"))
        if table["rule"] not in _RULES:
            raise PolicyError(f"{_name(file)}: minutes.rule {table['rule']!r} is not a known rule")
        if table["full"] < 1:
            raise PolicyError(f"{_name(file)}: minutes.full must be 1 or more")
        switch = table.get("switch", "")
        if (table["rule"] == "switch") != (switch in switches):
            raise PolicyError(f"{_name(file)}: minutes.switch must name a switch if, and only if, the rule is one")
        found.append(
            (
                _index(table["from"]),
                Threshold(table["full"], table["rule"], table["cite"], table.get("through"), switch),
            )
        )
    _in_order(file, [start for start, _ in found], "minutes")
    return tuple(found)


def _parameter(file: Path) -> Parameter:
    table = _read(file)
    _check(file, table, dict(_PARAMETER_KEYS))
    values = []
    for entry in table["value"]:
        _check(file, entry, {"from": _DAY, "value": (int,), "cite": _TEXT})
        values.append(Dated(_index(entry["from"]), entry["value"], entry["cite"]))
    _in_order(file, [v.start for v in values], "value")
    verified = _span(file, table["verified_from"], table["verified_through"], "verified")
    if not values or values[0].start > verified[0]:
        raise PolicyError(f"{_name(file)}: value leaves a gap before its first date")
    return Parameter(file.stem, table["title"], table["unit"], tuple(values), verified, _name(file))


def _in_order(file: Path, starts: list[int], key: str) -> None:
    if starts != sorted(set(starts)):
        raise PolicyError(f"{_name(file)}: {key} must stand in order of time, one for each month at most")


def _requirements(file: Path) -> dict[str, Requirement]:
    found = {}
    for name, table in _read(file).items():
        _check(file, table, {"rule": _TEXT, "cite": _TEXT})
        found[name] = Requirement(name, table["rule"], table["cite"])
    return found


def _switches(file: Path) -> dict[str, Reading]:
    found = {}
    for name, table in _read(file).items():
        if (
            not {"letter", "default", "readings"}
            <= set(table)
            <= {"letter", "default", "readings", "choices", "minimum"}
        ):
            raise PolicyError(f"{_name(file)}: {name} must have letter, default, readings, and choices or minimum")
        reading = Reading(
            name,
            table["letter"],
            table["default"],
            tuple(table.get("choices", ())),
            table.get("minimum"),
            table["readings"],
        )
        if reading.check(reading.default):
            raise PolicyError(f"{_name(file)}: {name}.default {reading.check(reading.default)}")
        if len(reading.readings) < 2:
            raise PolicyError(f"{_name(file)}: {name} must give both readings with their sources")
        found[name] = reading
    if set(found) != set(Switches.names()):
        odd = sorted(set(found) ^ set(Switches.names()))
        raise PolicyError(f"{_name(file)}: {', '.join(odd)} must stand both here and in Switches")
    return found


def _index(day: date) -> int:
    return day.year * 12 + day.month - 1


def _span(file: Path, start: date, end: date | None, key: str) -> tuple[int, int]:
    span = (_index(start), _index(end) if end else FOREVER)
    if span[1] < span[0]:
        raise PolicyError(f"{_name(file)}: {key} ends before it begins")
    return span
