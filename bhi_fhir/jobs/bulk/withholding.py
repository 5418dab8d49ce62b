"""What is withheld from everybody. A million patients cannot each be told of a million torn lines."""

from __future__ import annotations

from collections.abc import Sequence

from bhi_fhir.domain.record import Withheld

TOLD = 100


def shortened(held: Sequence[Withheld]) -> list[Withheld]:
    """The first hundred; of the others, for each type, the one that reaches furthest back: it decides the same."""
    if len(held) <= TOLD:
        return list(held)
    others: dict[str, Withheld] = {}
    for each in held[TOLD:]:
        known = others.get(each.part)
        if known is None or each.began < known.began:
            others[each.part] = each
    return [*held[:TOLD], *others.values()]
