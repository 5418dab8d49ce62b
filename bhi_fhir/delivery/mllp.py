"""One message over MLLP, and what the answer means.

The receiver answers in original mode (AA, AE, AR) or, with a commit, in enhanced mode (CA, CE, CR). Of its texts
only a code is repeated: ERR and MSA-3 quote the patient on real systems.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from asyncio import IncompleteReadError, StreamWriter
from contextlib import suppress
from dataclasses import dataclass

import hl7
from hl7.mllp import InvalidBlockError, open_hl7_connection

from bhi_fhir.delivery.line import Receipt

_ACK_BYTES = 65_536
_CLOSING_S = 2.0
_ERROR_CODE = re.compile(r"[A-Z]{0,4}\d{1,4}(?!\w)")
_REFUSALS = {
    "AE": "found an error in it",
    "CE": "found an error in it",
    "AR": "rejects such messages",
    "CR": "rejects such messages",
}


@dataclass(frozen=True, slots=True)
class Mllp:
    """A listener. A new connection for each message: an answer can then belong to no other.

    `timeout_s`: to connect, and again to be answered. `tls`: None sends in the clear.
    """

    host: str
    port: int
    timeout_s: float
    tls: ssl.SSLContext | None = None

    async def send(self, control_id: str, message: str) -> Receipt:
        try:
            async with asyncio.timeout(self.timeout_s):
                reader, writer = await open_hl7_connection(self.host, self.port, ssl=self.tls, limit=_ACK_BYTES)
        except OSError:  # TimeoutError and ssl.SSLError are OSErrors too
            return Receipt("unsent", reason="No connection to the HL7 listener.")
        try:
            async with asyncio.timeout(self.timeout_s):
                writer.writeblock(message.encode())
                await writer.drain()
                block = await reader.readblock()
        except TimeoutError:
            return _unknown("did not answer in time")
        except (OSError, IncompleteReadError):
            return _unknown("broke the connection before it answered")
        except (InvalidBlockError, ValueError):  # ValueError: longer than the limit
            return _unknown("answered with something that is no MLLP block")
        finally:
            await _close(writer)
        return read_answer(block, control_id)


def read_answer(block: bytes, control_id: str) -> Receipt:
    """What an acknowledgment says of the message that we sent as `control_id`."""
    text = block.decode("utf-8", "replace")
    try:
        answer = hl7.parse(text)
        said = answer.segment("MSA")
        code, answers = str(said[1]), str(said[2])
    except (hl7.HL7Exception, LookupError, AssertionError):
        return _unknown("answered with something that is no acknowledgment")
    if answers != control_id:
        return _unknown("acknowledged another message")
    if code in ("AA", "CA"):
        return Receipt("confirmed", reference=control_id)
    if code in _REFUSALS:
        return Receipt("refused", reason=f"The receiver {_REFUSALS[code]} ({', '.join([code, *_errors(answer)])}).")
    return _unknown("acknowledged it with a code that HL7 does not know")


def _errors(answer: hl7.Message) -> list[str]:
    """ERR-3 (since v2.5) and MSA-6 (before), where they begin with a code."""
    found = [_ERROR_CODE.match(_raw(answer, name, number)) for name, number in (("ERR", 3), ("MSA", 6))]
    return [code[0] for code in found if code]


def _raw(answer: hl7.Message, segment: str, field: int) -> str:
    """Not by the library's extract_field, which logs a field whose escapes are broken."""
    with suppress(LookupError):
        return str(answer.segment(segment)[field])
    return ""


def _unknown(what: str) -> Receipt:
    return Receipt("unknown", reason=f"The receiver {what}: it may have the message.")


async def _close(writer: StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        async with asyncio.timeout(_CLOSING_S):
            await writer.wait_closed()
