"""A door through which drafts leave. One file per kind; doors.py orders those of a site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from bhi_fhir.delivery.line import Draft, Line, Receipt, Seen
from bhi_fhir.errors import Conflict, Refused, ServerError, Unreachable


class Sink(Protocol):
    """One kind of destination.

    No method raises for what the destination does: that is a Receipt. Each is given the lines of one patient
    and month, whose only writer the caller is, and is never called twice for the same send: whoever calls it
    has written `sending` down first.
    """

    name: str
    """As in `[delivery] sink`."""
    keyed: bool
    """Sending the same draft again cannot make a second one."""
    drafts: bool
    """It takes drafts; else only what a named person approved may be sent."""

    def takes(self, draft: Draft) -> bool:
        """Whether this kind of resource goes through this door at all."""

    async def look(self, line: Line) -> Seen:
        """What stands there. ServerError where that cannot be found out now."""

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        """Hand over lines that do not stand there yet; one receipt each, in their order."""

    async def change(self, line: Line, draft: Draft) -> Receipt:
        """Replace what `line` says was handed over by `draft`: an update, an approval, a withdrawal.

        A withdrawal has the status of `WITHDRAWN`; an approval that of `APPROVED`.
        """


def failure(error: ServerError) -> Receipt:
    """What a failed send means: an answer that says no, or none that says anything."""
    said = str(error)
    match error:
        case Conflict():
            return Receipt("conflict", reason=said)
        case Refused(status=429):
            return Receipt("unsent", reason=said, status=429)
        case Refused(status=status) if status // 100 in (3, 4) and status != 408:
            return Receipt("refused", reason=said, status=status)
        case Unreachable(sent=False):
            return Receipt("unsent", reason=said)
    # A 5xx may come from a proxy after the server has carried it out; so may a broken or half an answer.
    return Receipt("unknown", reason=said)
