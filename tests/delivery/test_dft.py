"""Charges to a real MLLP listener and to a folder: what is confirmed, refused, unsent, and unknown."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import hl7
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from delivery.charges import APPROVED, CLAIM, PLANNED, TWO_DAYS, TWO_UNITS, WITHDRAWN
from delivery.test_dft_message import DOCTOR, INTERFACE, MARIA, NOW, parsed
from hl7.mllp import HL7StreamReader, HL7StreamWriter, start_hl7_server

from bhi_fhir.delivery.dft import DftSink, MessageFolder, Transport
from bhi_fhir.delivery.dft_message import Identifier, Person
from bhi_fhir.delivery.line import Line, Receipt, Unseen
from bhi_fhir.delivery.mllp import Mllp, read_answer
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.errors import Unreachable

Answer = Callable[[HL7StreamWriter, str], Awaitable[None]]
PEOPLE = {"Patient/maria": MARIA, "Practitioner/pcp": DOCTOR}


class Listener:
    """A receiver in this process. `answer` gets the writer and the control id of what came."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.answer: Answer = acknowledging("AA")
        self.port = 0

    async def connected(self, reader: HL7StreamReader, writer: HL7StreamWriter) -> None:
        try:
            message = await reader.readmessage()
            self.messages.append(str(message))
            await self.answer(writer, str(message.segment("MSH")[10]))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def acknowledgment(code: str, control_id: str, more: str = "") -> bytes:
    return f"MSH|^~\\&|R|H|B|E|20260402||ACK^P03^ACK|1|T|2.5.1\rMSA|{code}|{control_id}\r{more}".encode()


def acknowledging(code: str, control_id: str = "", more: str = "") -> Answer:
    async def answer(writer: HL7StreamWriter, received: str) -> None:
        writer.writeblock(acknowledgment(code, control_id or received, more))
        await writer.drain()

    return answer


def raw(*pieces: bytes) -> Answer:
    async def answer(writer: HL7StreamWriter, received: str) -> None:
        for piece in pieces:
            writer.write(piece.replace(b"%", received.encode()))
            await writer.drain()
            await asyncio.sleep(0.01)

    return answer


@asynccontextmanager
async def listening(tls: ssl.SSLContext | None = None) -> AsyncIterator[Listener]:
    listener = Listener()
    server = await start_hl7_server(listener.connected, "127.0.0.1", 0, encoding="utf-8", ssl=tls)
    listener.port = server.sockets[0].getsockname()[1]
    try:
        yield listener
    finally:
        server.close()
        await server.wait_closed()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    async with listening() as listener:
        yield listener


async def known(reference: str) -> Person:
    return PEOPLE[reference]


def sink(transport: Transport, identify: Callable[[str], Awaitable[Person]] = known, **kind: bool) -> DftSink:
    agreed = {"review": False, "replays": False, **kind}
    return DftSink(transport, INTERFACE, identify, lambda: NOW, **agreed)


def to(listener: Listener, **kind: bool) -> DftSink:
    return sink(Mllp("127.0.0.1", listener.port, 2), **kind)


async def created(listener: Listener, line: Line = APPROVED) -> Receipt:
    (receipt,) = await to(listener).create([line])
    return receipt


def kinds(message: str) -> list[tuple[str, str, str]]:
    """Kind, day and units of each FT1."""
    found = [s for s in hl7.parse(message) if str(s[0]) == "FT1"]
    return [(str(s[6]), str(s[4]), str(s[10])) for s in found]


def test_it_is_a_sink(tmp_path: Path) -> None:
    door: Sink = sink(MessageFolder(tmp_path), review=True, replays=True)
    assert (door.name, door.keyed, door.drafts) == ("dft", True, True)
    assert (door.takes(PLANNED.draft), door.takes(CLAIM.draft)) == (True, False)


async def test_nothing_can_be_looked_at(tmp_path: Path) -> None:
    assert await sink(MessageFolder(tmp_path)).look(APPROVED) == Unseen()


# -- what is sent ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["AA", "CA"])
async def test_an_acknowledged_message_is_confirmed(listener: Listener, code: str) -> None:
    listener.answer = acknowledging(code)
    receipt = await created(listener, TWO_DAYS)
    (message,) = listener.messages
    assert parsed(message).validate()
    assert kinds(message) == [("CG", "20260303", "1"), ("CG", "20260317", "2")]
    assert receipt == Receipt("confirmed", reference=str(hl7.parse(message).segment("MSH")[10]))


async def test_a_replay_has_the_same_control_id(listener: Listener) -> None:
    first, second = await created(listener), await created(listener)
    assert first.reference == second.reference
    changed = await created(listener, replace(APPROVED, revision=2))
    assert changed.reference != first.reference


async def test_each_line_has_its_own_message_and_its_own_receipt(listener: Listener) -> None:
    receipts = await to(listener).create([APPROVED, PLANNED, TWO_DAYS])
    assert [receipt.outcome for receipt in receipts] == ["confirmed", "refused", "confirmed"]
    assert len(listener.messages) == 2


async def test_a_correction_credits_what_was_sent_and_charges_anew(listener: Listener) -> None:
    receipt = await to(listener).change(replace(APPROVED, revision=2), TWO_UNITS)
    (message,) = listener.messages
    assert receipt.outcome == "confirmed"
    assert parsed(message).validate()
    assert kinds(message) == [("CD", "20260331", "1"), ("CG", "20260331", "2")]


async def test_a_withdrawal_credits_every_day(listener: Listener) -> None:
    await to(listener).change(TWO_DAYS, WITHDRAWN)
    assert kinds(listener.messages[0]) == [("CD", "20260303", "1"), ("CD", "20260317", "2")]


async def test_an_approval_changes_nothing_in_a_review_queue(listener: Listener) -> None:
    receipt = await to(listener, review=True).change(replace(PLANNED, reference="ABC"), APPROVED.draft)
    assert (receipt.outcome, receipt.reference, listener.messages) == ("sent", "ABC", [])


@pytest.mark.parametrize(
    ("line", "review", "outcome"),
    [
        (PLANNED, False, "refused"),
        (PLANNED, True, "confirmed"),
        (replace(PLANNED, approved_by="Jo"), False, "confirmed"),
        (APPROVED, False, "confirmed"),
        (replace(PLANNED, draft=WITHDRAWN), True, "refused"),
    ],
)
async def test_only_what_is_approved_is_sent_unless_somebody_reviews_it(
    listener: Listener, line: Line, review: bool, outcome: str
) -> None:
    (receipt,) = await to(listener, review=review).create([line])
    assert receipt.outcome == outcome
    assert len(listener.messages) == (outcome == "confirmed")


async def test_a_correction_must_be_approved_too(listener: Listener) -> None:
    planned = replace(TWO_UNITS, content={**TWO_UNITS.content, "status": "planned"})
    receipt = await to(listener).change(APPROVED, planned)
    assert (receipt.outcome, listener.messages) == ("refused", [])


async def test_a_patient_who_cannot_be_named_is_never_sent(listener: Listener) -> None:
    async def nameless(reference: str) -> Person:
        return replace(PEOPLE[reference], family="")

    async def unknown(reference: str) -> Person:
        return replace(PEOPLE[reference], identifiers=(Identifier("urn:elsewhere", "1"),))

    async def unread(reference: str) -> Person:
        raise Unreachable(f"GET {reference}")

    outcomes = []
    for identify in (nameless, unknown, unread):
        (receipt,) = await sink(Mllp("127.0.0.1", listener.port, 2), identify).create([APPROVED])
        assert "maria" not in receipt.reason.lower()
        outcomes.append((receipt.outcome, receipt.status))
    assert outcomes == [("refused", 422), ("refused", 422), ("unsent", 0)]
    assert listener.messages == []


# -- what the answer means ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["AE", "AR", "CE", "CR"])
async def test_a_refusal_repeats_codes_and_no_words(listener: Listener, code: str) -> None:
    listener.answer = acknowledging(code, more="ERR||PID^1^5|204^Unknown MARIA^HL70357|E||||MARIA NUNEZ\r")
    receipt = await created(listener)
    assert receipt.outcome == "refused"
    assert receipt.reason.endswith(f"({code}, 204).")
    assert "MARIA" not in receipt.reason


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ("", "AE"),
        ("ERR|||MARIA^NUNEZ|E\r", "AE"),
        ("ERR|||E4711000|E\r", "AE"),
        ("ERR|||E22|E\r", "AE, E22"),
        ("ERR\r", "AE"),
    ],
)
def test_what_is_no_code_is_not_repeated(more: str, codes: str) -> None:
    assert read_answer(acknowledgment("AE", "X", more), "X").reason.endswith(f"({codes}).")


def test_before_version_2_5_the_code_stands_in_the_msa() -> None:
    answer = b"MSH|^~\\&|R|H|B|E|20260402||ACK|1|T|2.3\rMSA|AE|X|Maria is unknown|||207^Maria\r"
    assert read_answer(answer, "X").reason.endswith("(AE, 207).")


ODD = {
    "another's": acknowledging("AA", "SOMEBODY-ELSES"),
    "no code": acknowledging("ZZ"),
    "no MSA": raw(b"\x0bMSH|^~\\&|R|H|B|E|20260402||ACK|1|T|2.5.1\r\x1c\r"),
    "short MSA": raw(b"\x0bMSH|^~\\&|R|H|B|E|20260402||ACK|1|T|2.5.1\rMSA|AA\r\x1c\r"),
    "garbage": raw(b"\x0b\xff\xfe nothing of HL7\x1c\r"),
    "a broken escape": raw(b"\x0bMSH|^~\\&|R|H|B|E|20260402||ACK|1|T|2.5.1\rMSA|\\\\AA|%\r\x1c\r"),
    "no start": raw(b"MSA|AA|%\x1c\r"),
    "an HTTP server": raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "dropped": raw(),
    "dropped in the middle": raw(b"\x0bMSH|^~\\&|R|H|B|E|20260402||ACK|1|T|2.5.1\rMSA|AA|%"),
    "too long": raw(b"\x0b" + b"x" * 200_000 + b"\x1c\r"),
    "endless": raw(b"\x0b" + b"x" * 200_000),
}


@pytest.mark.parametrize("what", ODD)
async def test_whatever_else_is_answered_it_may_have_arrived(listener: Listener, what: str) -> None:
    listener.answer = ODD[what]
    receipt = await created(listener)
    assert receipt.outcome == "unknown"
    assert receipt.reason
    assert len(listener.messages) == 1


async def test_no_answer_in_time_is_unknown(listener: Listener) -> None:
    answered = asyncio.Event()

    async def never(writer: HL7StreamWriter, received: str) -> None:
        await answered.wait()

    listener.answer = never
    (receipt,) = await sink(Mllp("127.0.0.1", listener.port, 0.1)).create([APPROVED])
    answered.set()
    assert (receipt.outcome, len(listener.messages)) == ("unknown", 1)


async def test_an_answer_may_come_in_pieces(listener: Listener) -> None:
    whole = b"\x0b" + acknowledgment("AA", "%") + b"\x1c\r"
    listener.answer = raw(*(whole[at : at + 7] for at in range(0, len(whole), 7)))
    assert (await created(listener)).outcome == "confirmed"


async def test_without_a_connection_nothing_was_sent() -> None:
    async with listening() as closed:
        port = closed.port
    (receipt,) = await sink(Mllp("127.0.0.1", port, 2)).create([APPROVED])
    assert (receipt.outcome, receipt.reason) == ("unsent", "No connection to the HL7 listener.")


async def test_with_tls_only_a_known_receiver_gets_the_message(tmp_path: Path) -> None:
    theirs, ours = certified(tmp_path)
    async with listening(theirs) as listener:
        trusting = Mllp("localhost", listener.port, 2, ours)
        assert [r.outcome for r in await sink(trusting).create([APPROVED])] == ["confirmed"]
        doubting = Mllp("localhost", listener.port, 2, ssl.create_default_context())
        assert [r.outcome for r in await sink(doubting).create([APPROVED])] == ["unsent"]
    assert len(listener.messages) == 1


def certified(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The contexts of a server named localhost, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "receiver.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    return server, ssl.create_default_context(cafile=str(pem))


# -- as files -------------------------------------------------------------------------------------------


async def test_a_message_is_one_file_readable_by_its_owner_only(tmp_path: Path) -> None:
    (receipt,) = await sink(MessageFolder(tmp_path / "out")).create([APPROVED])
    (file,) = (tmp_path / "out").iterdir()
    assert file.name == f"{receipt.reference}.hl7"
    assert file.stat().st_mode & 0o777 == 0o600
    assert parsed(file.read_bytes().decode()).validate()
    assert receipt.outcome == "sent"


async def test_a_message_is_never_written_over(tmp_path: Path) -> None:
    door = sink(MessageFolder(tmp_path))
    (receipt,) = await door.create([APPROVED])
    file = tmp_path / f"{receipt.reference}.hl7"
    file.write_text("the first")
    assert await door.create([APPROVED]) == [receipt]
    assert file.read_text() == "the first"


async def test_a_folder_that_cannot_be_written_has_nothing(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("no folder")
    (receipt,) = await sink(MessageFolder(tmp_path / "out")).create([APPROVED])
    assert receipt.outcome == "unsent"
