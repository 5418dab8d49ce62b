"""SMART App Launch 2.2 scopes, of version 2 or 1: what is granted, and whether that covers what is wanted."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

_SCOPE = re.compile(r"(system|user|patient)/(\*|[A-Z][A-Za-z]{2,39})\.(c?r?u?d?s?|read|write|\*)")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True)
class Scopes:
    """Letters of `cruds` by type, "*" for every type.

    Scopes of version 1 count as the letters that they stand for. One that is narrowed by a query
    (`system/Observation.rs?category=…`) counts nothing: a month cannot be decided on part of a type.
    """

    letters: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str, *contexts: str) -> Scopes:
        """Those of these contexts, taken together; of "system" if none is named."""
        found: dict[str, set[str]] = defaultdict(set)
        for scope in text.split():
            if (match := _SCOPE.fullmatch(scope)) and match[1] in (contexts or ("system",)):
                found[match[2]] |= set(_V1.get(match[3], match[3]))
        return cls({kind: frozenset(letters) for kind, letters in found.items()})

    def allows(self, kind: str, letters: str) -> bool:
        return set(letters) <= self.letters.get(kind, frozenset()) | self.letters.get("*", frozenset())

    def cover(self, wanted: Scopes) -> bool:
        return all(self.allows(kind, "".join(letters)) for kind, letters in wanted.letters.items())


EVERYTHING = Scopes({"*": frozenset("cruds")})


def covers(granted: str, asked: str) -> bool:
    """Whether one granted scope holds one that was asked: `system/*.rs` holds `system/Encounter.read`."""
    match = _SCOPE.fullmatch(asked)
    if match is None:
        return granted == asked
    return Scopes.read(granted, match[1]).cover(Scopes.read(asked, match[1]))
