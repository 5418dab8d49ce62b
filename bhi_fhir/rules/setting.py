"""What is the same for every patient of a run: month, rules, the switches of the site, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import Program
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import Value
from bhi_fhir.policy import ROLES, Code, Rules, Switches
from bhi_fhir.rules.requirements import Check, Checks
from bhi_fhir.rules.thresholds import asked
from bhi_fhir.rules.track import Track


class Siblings(Value, frozen=True, eq=False):
    """Codes that bill the same work, by role: one of them stands for a month, and what adds to it beside it."""

    program: str
    base: tuple[str, ...]
    short: tuple[str, ...]
    apcm: tuple[str, ...]
    add_on: tuple[str, ...]

    @classmethod
    def of(cls, codes: list[Code]) -> Siblings:
        return cls(codes[0].program, *(tuple(c.code for c in codes if c.role == role) for role in ROLES))


class Asked(Value, frozen=True, eq=False):
    """One monthly code of a patient's programs, and what is asked for it."""

    code: Code
    track: Track
    first: tuple[Check, ...]
    """What no code before it asks."""
    block: tuple[Check, ...]
    review: tuple[Check, ...]


class Setting:
    """Made once for a run and shared by its patients; nothing in it changes."""

    def __init__(self, month: ServiceMonth, rules: Rules, switches: Switches) -> None:
        self.month, self.rules, self.switches = month, rules, switches
        self.start, self.end = month.span
        codes = sorted((c for c in rules.codes.values() if c.role), key=_in_order)
        self.place = {c.code: place for place, c in enumerate(codes)}
        """Of a monthly code: where it stands in the order in which they are tried and shown."""
        by_name = {c.siblings: Siblings.of([s for s in codes if s.siblings == c.siblings]) for c in codes}
        self.siblings = {c.code: by_name[c.siblings] for c in codes}
        self.ways = {p: [s for s in by_name.values() if s.program == p] for p in Program}
        """The ways to bill a program's month."""
        self.add_ons = [c for c in codes if c.role == "add-on"]
        self._monthly = [c for c in codes if c.role != "add-on"]
        self._checks = Checks(rules)
        self.services = [(c, self._checks.of_code(c, None)) for c in rules.codes.values() if not c.program]
        self.minutes = {c.code: asked(c, rules, switches) for c in self._monthly}
        """What each monthly code asks of the minutes."""
        self.excluded = {c.code: self._excluded(c) for c in rules.codes.values()}
        self._asked: dict[tuple[Program, ...], list[Asked]] = {}

    def asked(self, programs: list[Program]) -> list[Asked]:
        """The codes of the patient's programs; a CoCM patient is also asked for general BHI, as advice (A21)."""
        key = tuple(programs)
        if key not in self._asked:
            wanted = set(programs) | ({Program.GENERAL} if Program.COCM in programs else set())
            codes = [c for c in self._monthly if c.program in wanted]
            self._asked[key] = list(self._in_turn(codes, programs))
        return self._asked[key]

    def _in_turn(self, codes: list[Code], programs: list[Program]) -> Iterator[Asked]:
        known: set[Check] = set()
        for code in codes:
            track = _track(code, programs)
            checks = self._checks.of_code(code, track)
            first = tuple(check for check in checks if check not in known)
            known.update(checks)
            block = tuple(check for check in checks if check.level == "block")
            yield Asked(code, track, first, block, tuple(check for check in checks if check.level == "review"))

    def _excluded(self, code: Code) -> set[str]:
        both = {c.code for c in self._monthly if c.program == Program.GENERAL and c.role == "base"}
        allowed = self.switches.allow_99484_with_g0323 and code.code in both
        return set(code.excludes) - both if allowed else set(code.excludes)


def _in_order(code: Code) -> tuple[bool, int, bool, bool, str]:
    """CoCM before general BHI, then by role, the team's before a professional's, the initial month before a later."""
    is_own = code.time_of == "billing-practitioner"
    return code.program != Program.COCM, ROLES.index(code.role), is_own, code.episode_month == "later", code.code


def _track(code: Code, programs: list[Program]) -> Track:
    fallback = code.program == Program.GENERAL and Program.GENERAL not in programs
    return Track.of(code, Program.COCM if fallback else None)
