"""What is the same for every patient of a run: month, rules, the switches of the site, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import Program
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import Value
from bhi_fhir.policy import Code, Rules, Switches
from bhi_fhir.rules.requirements import Check, Checks
from bhi_fhir.rules.thresholds import asked
from bhi_fhir.rules.track import Track

ORDER = ("99492", "99493", "G2214", "G0568", "G0569", "99494", "99484", "G0323", "G0570")
"""Monthly codes in the order in which they are tried and shown."""


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
        codes = [rules.codes[c] for c in ORDER if c in rules.codes]
        self._monthly = [c for c in codes if not c.adds_to and c.drafted]
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
        both = {"99484", "G0323"}
        allowed = self.switches.allow_99484_with_g0323 and code.code in both
        return set(code.excludes) - both if allowed else set(code.excludes)


def _track(code: Code, programs: list[Program]) -> Track:
    fallback = code.program == Program.GENERAL and Program.GENERAL not in programs
    return Track.of(code, Program.COCM if fallback else None)
