"""Policy as frozen values. Months are `ServiceMonth.index` (year * 12 + month - 1), both ends included."""

from __future__ import annotations

from typing import Any, Literal

from bhi_fhir.domain.value import Value
from bhi_fhir.errors import PolicyError

FOREVER = 10**6
ROLES = ("base", "short", "apcm", "add-on")
"""What a monthly code is to its siblings: the timed code of a month, that of a month short of it, what takes their
place where APCM is billed, and what more time adds. In the order in which they are tried and shown."""
RULESET = "2026.1"


class Switches(Value, frozen=True):
    """A site's choice where the sources differ; `switches.toml` holds readings, sources and defaults."""

    cocm_threshold: str
    g2214_min: int
    gen_bhi_min: int
    max_99494: int
    apcm_path: str
    addon_minute_gate: bool
    count_consultant_solo_time: bool
    count_inpatient_minutes: bool
    episode_gap_months: int
    initiating_visit_scope: str
    psych_eval_qualifies_for: str
    allow_99484_with_g0323: bool
    consent_cutoff: str
    date_of_service: str
    fallback_to_99484: str
    strict_time_related: bool

    @classmethod
    def names(cls) -> tuple[str, ...]:
        return cls.__struct_fields__


class Reading(Value, frozen=True):
    """One switch: its letter in the rules, its default, what it may be, and the source of each reading."""

    name: str
    letter: str
    default: Any
    choices: tuple[Any, ...]
    minimum: int | None
    readings: dict[str, str]

    def check(self, value: Any) -> str:
        """Why `value` is not allowed; "" if it is."""
        if type(value) is not type(self.default):
            return f"must be {_KIND[type(self.default)]}"
        if self.choices and value not in self.choices:
            return f"must be one of {', '.join(map(str, self.choices))}"
        if self.minimum is not None and value < self.minimum:
            return f"must be {self.minimum} or more"
        return ""


_KIND = {str: "text", int: "a whole number", bool: "true or false"}


class Threshold(Value, frozen=True):
    """Minutes of a code. `rule` says how a unit is reached: see `rules.thresholds`.

    `switch`: the one that decides; under `any-work` it asks for `full`, which is else not asked for.
    """

    full: int
    rule: Literal["midpoint", "switch", "any-work", "band", "full", "strict-or-midpoint", "each-strict-or-midpoint"]
    cite: str
    through: int | None = None
    switch: str = ""


class Code(Value, frozen=True):
    """One billing code as it is in force in a month."""

    code: str
    system: str
    title: str
    cite: str
    source: str
    program: str
    siblings: str
    """Of a monthly code: codes with the same word bill the same work, and one of them stands for a month."""
    role: str
    """Which of its siblings it is, one of ROLES; an add-on stands beside another."""
    fallback_for: str
    """The program whose month it may bill where that falls short (switch A21)."""
    opened_by: frozenset[str]
    """Of the psychiatric evaluations, those that open it; empty: any initiating visit does."""
    time_of: str
    episode_month: str
    adds_to: tuple[str, ...]
    apcm_bases: tuple[str, ...]
    """Of an add-on: the base codes of which one is charged in the month."""
    activity: tuple[str, ...]
    drafted: bool
    billers: frozenset[str]
    block: tuple[str, ...]
    review: tuple[str, ...]
    excludes: frozenset[str]
    valid: tuple[int, int]
    verified: tuple[int, int]
    minutes: Threshold | None
    file: str


class Requirement(Value, frozen=True):
    name: str
    rule: str
    cite: str


class Rules(Value, frozen=True):
    """What is in force in one calendar month."""

    month: int
    codes: dict[str, Code]
    values: dict[str, int]
    requirements: dict[str, Requirement]
    programs: dict[str, str]
    """code -> cocm | general-bhi | "", also for codes that are no longer in force but stand in the history."""
    unverified: tuple[str, ...]
    """Files whose source nobody has re-read for this month: nothing is drafted while there is one."""

    def cite(self, requirement: str) -> str:
        return self.requirements[requirement].cite


class Dated(Value, frozen=True):
    """A value from a month on, until the next one of its file takes over."""

    start: int
    value: Any
    cite: str


class Parameter(Value, frozen=True):
    name: str
    title: str
    unit: str
    values: tuple[Dated, ...]
    verified: tuple[int, int]
    file: str

    def at(self, month: int) -> int:
        found = [v.value for v in self.values if v.start <= month]
        if not found:
            raise PolicyError(f"{self.file}: no value is in force yet; add one with its citation")
        return int(found[-1])


class Policy(Value, frozen=True):
    """All of policy, over all time."""

    codes: tuple[tuple[Code, tuple[tuple[int, Threshold], ...]], ...]
    parameters: tuple[Parameter, ...]
    requirements: dict[str, Requirement]
    switches: dict[str, Reading]

    def defaults(self, **changes: Any) -> Switches:
        return Switches(**{**{name: r.default for name, r in self.switches.items()}, **changes})
