"""What delivery speaks of: a draft that is wanted, the line that the ledger remembers, what stands at the destination.

Content is FHIR JSON as plain data. The business identifier (drafts/identity.py) is the key of a line: the same
site, patient, month, code and kind always have the same one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Content = dict[str, Any]

State = Literal["prepared", "sending", "unknown", "sent", "confirmed", "conflict", "withdrawn", "left"]
"""prepared   written down, nothing sent yet
sending    a send was begun; after a crash nobody knows whether it arrived
unknown    a send was not answered: it may have arrived
sent       handed over; this destination never says what became of it
confirmed  the destination answered, or was seen to hold it
conflict   the destination holds something else under its identifier
withdrawn  it stood there and we took it back
left       a person has changed, moved on or deleted it: never touched again
"""

PLANNED = {"ChargeItem": "planned", "Claim": "draft"}
WITHDRAWN = {"ChargeItem": "aborted", "Claim": "cancelled"}
APPROVED = {"ChargeItem": "billable", "Claim": "draft"}


@dataclass(frozen=True, slots=True)
class Draft:
    """One resource as it is wanted now. `code` is the charge's code, of a Claim its billing practitioner.

    `served` (ISO date, units) and `diagnoses` (ICD-10-CM) of a charge are for doors that want them beside the
    resource: R4's ChargeItem holds neither a day within its month nor a diagnosis.
    """

    identifier: str
    resource_type: str
    code: str
    content: Content
    served: tuple[tuple[str, int], ...] = ()
    diagnoses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Line:
    """What the ledger remembers of one draft.

    `draft` is what was last handed to the destination, or is about to be; `replaces` what it takes the place of
    while that is not answered. `revision` counts the hand-overs. `witnessed`: its Provenance stands. `reason`: one
    sentence without patient data.
    """

    draft: Draft
    month: str
    state: State
    sink: str = ""
    reference: str = ""
    version: str = ""
    revision: int = 0
    replaces: Draft | None = None
    approved_by: str = ""
    approved_at: datetime | None = None
    witnessed: bool = False
    reason: str = ""
    changed_at: datetime | None = None

    @property
    def identifier(self) -> str:
        return self.draft.identifier

    @property
    def content(self) -> Content:
        return self.draft.content

    @property
    def unanswered(self) -> bool:
        return self.state in ("sending", "unknown")


@dataclass(frozen=True, slots=True)
class Standing:
    """What the destination holds under a draft's identifier now."""

    reference: str
    version: str
    content: Content


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing stands there. `deleted`: something did, and somebody took it away."""

    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Several:
    """More than one resource carries the identifier."""

    count: int


@dataclass(frozen=True, slots=True)
class Unseen:
    """The destination cannot be looked into: what was handed over is all that is known."""


Seen = Standing | Nothing | Several | Unseen


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one hand-over.

    confirmed  the destination has it, as `reference` and `version` where it says so
    sent       it took it and says no more
    unsent     certainly nothing reached it: it may be tried again
    unknown    no answer: it may have arrived
    conflict   something else stands there, or it changed since it was read
    refused    it said no; `status` is the HTTP status, 0 where there is none
    """

    outcome: Literal["confirmed", "sent", "unsent", "unknown", "conflict", "refused"]
    reference: str = ""
    version: str = ""
    reason: str = ""
    status: int = 0
    existed: bool = False
    """It was there already: another writer's, or an earlier send of ours."""
