"""A real HTTP server on this machine whose every byte a test decides."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

Answering = Callable[[str, asyncio.StreamWriter], Awaitable[None]]
"""Told the request line and where to write."""


@dataclass
class Hostile:
    """`requests`: the request lines so far; `connections`: how many there were."""

    port: int
    requests: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"


@asynccontextmanager
async def hostile(answering: Answering, tls: ssl.SSLContext | None = None) -> AsyncIterator[Hostile]:
    """Serves until the block ends, whatever the connections are doing."""
    writers: set[asyncio.StreamWriter] = set()
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        writers.add(writer)
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = next((int(h[15:]) for h in head.lower().split("\r\n") if h.startswith("content-length:")), 0)
                here.bodies.append(await reader.readexactly(length))
                here.requests.append(head.partition("\r\n")[0])
                here.headers.append(head)
                await answering(here.requests[-1], writer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    here = Hostile(server.sockets[0].getsockname()[1])
    try:
        yield here
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def http(body: bytes, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    """A whole answer; `length` instead of the body's own."""
    size = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {size}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


JSON = "Content-Type: application/fhir+json"


def saying(*answers: bytes) -> Answering:
    """These answers in turn, the last one for ever."""
    left = list(answers)

    async def answering(_: str, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return answering


@dataclass(frozen=True)
class Certificates:
    """PEM files: an authority of our own, a server at 127.0.0.1 and a client, both signed by it."""

    authority: Path
    server: Path
    client: Path


def certificates(folder: Path) -> Certificates:
    """Writes them; each file but the authority's holds the key too."""
    now = datetime.datetime.now(datetime.UTC)
    root = ec.generate_private_key(ec.SECP256R1())
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])

    def certificate(name: str, key: ec.EllipticCurvePrivateKey, *, is_authority: bool) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(root_name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
            )
        )
        return builder.sign(root, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def written(name: str) -> Path:
        key = ec.generate_private_key(ec.SECP256R1())
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        path = folder / f"{name}.pem"
        path.write_bytes(pem + certificate(name, key, is_authority=False))
        return path

    authority = folder / "authority.pem"
    authority.write_bytes(certificate("authority", root, is_authority=True))
    return Certificates(authority, written("server"), written("client"))
