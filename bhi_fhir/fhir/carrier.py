"""What carries the bytes: one pool of connections for each client, by httpx or by aiohttp.

aiohttp is several times faster (tests/benchmarks/wire.py): httpx's pool looks at all connections for each request.
httpx's stays for tests, because respx sees it. PyPI's httpx-aiohttp 0.2 is not used: it calls a connection that broke
after sending a ConnectTimeout, so that a charge that may stand would count as not sent; it rewrites the opaque URLs
of paging links; and it leaves on aiohttp's silent second PUT.
"""

from __future__ import annotations

import io
import ssl
import zlib
from collections.abc import AsyncIterable, Mapping
from typing import Protocol

import aiohttp
import httpx
from yarl import URL

from bhi_fhir.domain.value import Value
from bhi_fhir.fhir.connection import Connection, proxy_for, tls_context
from bhi_fhir.fhir.gate import Gate

# aiohttp warns of bodies that it has to write in one piece from this size on.
_LARGE_BODY = 2**20


class Answer(Value, frozen=True):
    """What the server said: the status, the headers by name in any case, and the whole body, decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class TooLarge(Exception):
    """The body is larger than the limit."""


class BadCompression(Exception):
    """The body is not compressed in the way that its header says."""


class Carrier(Protocol):
    """One pool. Errors are those of httpx, ConnectError and ConnectTimeout only if nothing was sent.

    Their texts speak of host, port and certificate, or are not to be shown.
    """

    async def carry(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        """Raises httpx.TransportError, TooLarge, BadCompression."""

    async def aclose(self) -> None:
        """Closes all connections."""


class HttpxCarrier:
    """httpx's own pool. Raises UsageError for a proxy that cannot be used."""

    def __init__(self, connection: Connection) -> None:
        gate = Gate(connection.base_url, connection.aliases)
        self._limit = connection.max_body_bytes
        self._transport = httpx.AsyncHTTPTransport(
            verify=_tls(connection, gate) or False,
            trust_env=False,  # what the environment says is in `verify` and `proxy`
            proxy=proxy_for(gate.base_url, loopback=gate.loopback),
            limits=httpx.Limits(
                max_connections=connection.concurrency, max_keepalive_connections=connection.concurrency
            ),
        )
        silence = connection.timeout_s
        self._timeout = {"connect": min(10.0, silence), "read": silence, "write": silence, "pool": None}

    async def carry(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        request = httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": self._timeout})
        response = await self._transport.handle_async_request(request)
        try:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = await _whole(response.stream, response.headers.get("content-encoding", ""), self._limit)
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, body)

    async def aclose(self) -> None:
        await self._transport.aclose()


class AiohttpCarrier:
    """aiohttp's pool. Raises UsageError for a proxy that cannot be used."""

    def __init__(self, connection: Connection) -> None:
        gate = Gate(connection.base_url, connection.aliases)
        self._limit = connection.max_body_bytes
        self._connection = connection
        self._proxy = proxy_for(gate.base_url, loopback=gate.loopback)
        self._tls = _tls(connection, gate) or True
        self._session: aiohttp.ClientSession | None = None

    async def carry(self, method: str, url: str, headers: Mapping[str, str], content: bytes | None) -> Answer:
        session = self._session or self._open()
        try:
            response = await session.request(
                method,
                URL(url, encoded=True),  # as it is: paging links are opaque
                headers=headers,
                data=io.BytesIO(content) if content and len(content) > _LARGE_BODY else content,
                allow_redirects=False,
                proxy=self._proxy,
            )
            try:
                encoding = response.headers.get("Content-Encoding", "")
                body = await _whole(response.content.iter_any(), encoding, self._limit)
            finally:
                response.close()  # a connection whose answer was read to the end is back in the pool by then
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error) from None
        return Answer(response.status, response.headers, body)

    def _open(self) -> aiohttp.ClientSession:
        """At the first request, because aiohttp binds a session to the running loop."""
        silence = self._connection.timeout_s
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connection.concurrency, ssl=self._tls),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=min(10.0, silence), sock_read=silence),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # it would unpack without a limit
            trust_env=False,  # it would read passwords from .netrc
        )
        # aiohttp sends a PUT or DELETE a second time when the connection breaks, and has no public switch for it.
        self._session._retry_connection = False
        return self._session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


def _tls(connection: Connection, gate: Gate) -> ssl.SSLContext | None:
    """None where the address is http; else the authorities, which take 20 ms to read."""
    return connection.tls or tls_context() if gate.base_url.startswith("https:") else None


def _translated(error: Exception) -> httpx.TransportError:
    match error:
        case aiohttp.ClientConnectorError():  # name, connection or TLS; the proxy's too
            return httpx.ConnectError(str(error))
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout("")
        case aiohttp.ClientHttpProxyError():
            return httpx.ConnectError(f"the proxy answered {error.status}")
        case TimeoutError():
            return httpx.ReadTimeout("")
        case _:
            return httpx.ReadError("")


async def _whole(chunks: AsyncIterable[bytes], encoding: str, limit: int) -> bytes:
    """The decompressed body; never much more than `limit` bytes in memory, whatever a chunk unpacks to."""
    inflate = _inflater(encoding)
    body = bytearray()
    async for chunk in chunks:
        try:
            body += inflate.decompress(chunk, limit + 1 - len(body)) if inflate else chunk
        except zlib.error:
            raise BadCompression from None
        if len(body) > limit:
            raise TooLarge
    if inflate and body and not inflate.eof:
        raise BadCompression
    return bytes(body)


def _inflater(encoding: str) -> zlib._Decompress | None:
    if not encoding or encoding == "identity":
        return None
    if encoding.lower() not in {"gzip", "x-gzip", "deflate"}:  # only gzip is asked for
        raise BadCompression
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
