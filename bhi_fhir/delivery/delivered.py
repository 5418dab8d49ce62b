"""What became of one draft, for the report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal[
    "created", "updated", "withdrawn", "unchanged", "approved", "waiting", "held", "left-alone", "unknown", "refused"
]
"""created     handed over for the first time
updated     ours and changed
withdrawn   ours and no longer supported
unchanged   it stands there as wanted
approved    a named person has released it, and the record still says the same
waiting     for a named person's approval, without which this destination takes nothing
held        not now: something must become clear first
left-alone  somebody has changed, moved on or deleted it; never touched
unknown     a send was not answered
refused     no destination took it
"""

OUTCOMES: tuple[Outcome, ...] = Outcome.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Delivered:
    """`reference` is `Type/id` where the draft stands, None where nothing says it; `sink` the door it went by.

    `reason` is one sentence without patient data, always there where a person has to do something.
    """

    resource_type: str
    identifier: str
    outcome: Outcome
    reference: str | None = None
    reason: str = ""
    code: str = ""
    month: str = ""
    sink: str = ""
