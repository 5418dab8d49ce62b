"""What became of one draft."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["created", "unchanged", "left-alone", "refused"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """`reference` is `Type/id` where the draft now stands, None where nothing says it.

    `reason` is one sentence without patient data: always there for left-alone and refused.
    """

    resource_type: str
    identifier: str
    outcome: Outcome
    reference: str | None = None
    reason: str = ""
