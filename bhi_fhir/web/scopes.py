"""SMART App Launch 2.2 system scopes: what a caller may, and whether that covers what a route wants."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field

_SCOPE = re.compile(r"system/(\*|[A-Z][A-Za-z]{2,39})\.(c?r?u?d?s?|read|write|\*)")
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}


@dataclass(frozen=True)
class Scopes:
    """Letters of `cruds` by type, "*" for every type.

    Scopes of version 1 count as the letters that they stand for. One that is narrowed by a query
    (`system/Observation.rs?category=…`) counts nothing: a month cannot be decided on part of a type.
    """

    letters: dict[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Scopes:
        found: dict[str, set[str]] = defaultdict(set)
        for scope in text.split():
            if match := _SCOPE.fullmatch(scope):
                found[match[1]] |= set(_V1.get(match[2], match[2]))
        return cls({kind: frozenset(letters) for kind, letters in found.items()})

    def cover(self, wanted: Scopes) -> bool:
        everything = self.letters.get("*", frozenset())
        return all(
            letters <= self.letters.get(kind, frozenset()) | everything for kind, letters in wanted.letters.items()
        )


EVERYTHING = Scopes({"*": frozenset("cruds")})
