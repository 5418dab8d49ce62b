"""HL7 v2 DFT^P03, over MLLP or as files: one message for each line.

A DFT is no draft: it charges. So it carries what a named person approved, unless it feeds a charge-review queue.
Nothing of ours can be changed there: a correction is a credit and a new charge in one message, a withdrawal a credit.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from bhi_fhir.delivery.charged import charged
from bhi_fhir.delivery.dft_message import (
    Interface,
    Person,
    Transaction,
    control_id,
    message,
    patient_identifier,
    transactions,
)
from bhi_fhir.delivery.folder import write_whole
from bhi_fhir.delivery.line import APPROVED, PLANNED, WITHDRAWN, Draft, Line, Receipt, Seen, Unseen
from bhi_fhir.errors import ServerError

_KIND = "ChargeItem"
_UNNAMEABLE = 422
"""What HTTP says of content that cannot be processed: another door may take the line."""
_NOT_APPROVED = Receipt("refused", reason="A DFT charges: only what a named person approved is sent.")
_NO_IDENTIFIER = Receipt(
    "refused",
    reason="The patient has not exactly one identifier of the system that [delivery.dft] names.",
    status=_UNNAMEABLE,
)
_NO_NAME = Receipt("refused", reason="The patient has no family name, which PID-5 must have.", status=_UNNAMEABLE)
_NOT_READ = Receipt("unsent", reason="The FHIR server does not say now who the patient or practitioner is.")


class Transport(Protocol):
    async def send(self, control_id: str, message: str) -> Receipt: ...


@dataclass(frozen=True, slots=True)
class MessageFolder:
    """One file for each message, `<control id>.hl7`; none is ever written over."""

    folder: Path

    async def send(self, control_id: str, message: str) -> Receipt:
        file = self.folder / f"{control_id}.hl7"
        try:
            if not file.exists():  # else it is the same message, sent before
                write_whole(file, message.encode())
        except OSError as error:
            return Receipt("unsent", reason=f"The folder for messages cannot be written ({error.strerror}).")
        return Receipt("sent", reference=control_id)


class DftSink:
    """`identify` reads a Patient or Practitioner by reference, ServerError where it cannot.

    `review`: it feeds a charge-review queue. `replays`: the receiver knows a message again by its MSH-10.
    `clock` tells now, aware, in the site's zone.
    """

    name = "dft"

    def __init__(
        self,
        transport: Transport,
        interface: Interface,
        identify: Callable[[str], Awaitable[Person]],
        clock: Callable[[], datetime],
        *,
        review: bool,
        replays: bool,
    ) -> None:
        self.keyed = replays
        self.drafts = review
        self._transport = transport
        self._interface = interface
        self._identify = identify
        self._clock = clock

    def takes(self, draft: Draft) -> bool:
        return draft.resource_type == _KIND

    async def look(self, line: Line) -> Seen:
        return Unseen()

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        """Each by itself: a message that is refused must not keep back the others."""
        return [await self._create(line) for line in lines]

    async def change(self, line: Line, draft: Draft) -> Receipt:
        before = charged(line.draft)
        credit = transactions("CD", line.identifier, before)
        if draft.content["status"] == WITHDRAWN[_KIND]:
            return await self._send(line.revision, credit, draft)
        if not self._may_leave(line, draft):
            return _NOT_APPROVED
        charge = transactions("CG", line.identifier, charged(draft))
        if charge == transactions("CG", line.identifier, before):
            return Receipt("sent", line.reference, reason="Nothing was sent: the receiver has this charge already.")
        return await self._send(line.revision, credit + charge, draft)

    async def _create(self, line: Line) -> Receipt:
        if not self._may_leave(line, line.draft):
            return _NOT_APPROVED
        return await self._send(line.revision, transactions("CG", line.identifier, charged(line.draft)), line.draft)

    def _may_leave(self, line: Line, draft: Draft) -> bool:
        status = draft.content["status"]
        return status == APPROVED[_KIND] or (status == PLANNED[_KIND] and bool(self.drafts or line.approved_by))

    async def _send(self, revision: int, sent: tuple[Transaction, ...], draft: Draft) -> Receipt:
        number = control_id(revision, sent)
        written = await self._written(number, sent, draft)
        if isinstance(written, Receipt):
            return written
        return await self._transport.send(number, written)

    async def _written(self, number: str, sent: tuple[Transaction, ...], draft: Draft) -> str | Receipt:
        """The message, or why there is none."""
        charge = charged(draft)
        try:
            patient = await self._identify(charge.patient)
            performers = {ref: await self._identify(ref) for ref in {each.performer for each in sent} if ref}
        except ServerError:
            return _NOT_READ
        known_as = patient_identifier(patient, self._interface.patient_identifier_system)
        if known_as is None:
            return _NO_IDENTIFIER
        if not patient.family:
            return _NO_NAME
        visit = charge.encounter.removeprefix("Encounter/")
        return message(number, sent, patient, known_as, performers, visit, self._interface, self._clock())
