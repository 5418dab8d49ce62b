"""What carries the bytes: one pool of connections for each client, by httpx or by aiohttp.

`pooled` is aiohttp under httpx's transport interface: tests/benchmarks/wire.py measures it beside httpx's own, whose
pool looks at all connections for each request. PyPI's httpx-aiohttp 0.2 is not used: it calls a connection that
broke after sending a ConnectTimeout, so that a charge that may stand would count as not sent; it rewrites the
opaque URLs of paging links; and it leaves on aiohttp's silent second PUT.
"""

import io
from collections.abc import AsyncIterator, Callable

import aiohttp
import httpx
from yarl import URL

from bhi_fhir.fhir.connection import Connection, proxy_for
from bhi_fhir.fhir.gate import Gate

# aiohttp warns of bodies that it has to write in one piece from this size on.
_LARGE_BODY = 2**20


def plain(connection: Connection) -> httpx.AsyncBaseTransport:
    """httpx's own transport. Raises UsageError for a proxy that cannot be used."""
    gate = Gate(connection.base_url, connection.aliases)
    proxy = proxy_for(gate.base_url, loopback=gate.loopback)
    return httpx.AsyncHTTPTransport(
        verify=connection.tls or httpx.create_ssl_context(trust_env=not gate.loopback),
        trust_env=False,  # what the environment says is in `proxy` and `verify`
        proxy=proxy,
        limits=httpx.Limits(
            max_connections=connection.concurrency, max_keepalive_connections=connection.concurrency
        ),
    )


def pooled(connection: Connection) -> httpx.AsyncBaseTransport:
    """aiohttp's pool. Raises UsageError for a proxy that cannot be used."""
    gate = Gate(connection.base_url, connection.aliases)
    return _Aiohttp(connection, proxy_for(gate.base_url, loopback=gate.loopback))


class _Aiohttp(httpx.AsyncBaseTransport):
    """Raises httpx.ConnectError and ConnectTimeout only if nothing of the request was sent."""

    def __init__(self, connection: Connection, proxy: str | None) -> None:
        self._connection = connection
        self._proxy = proxy
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        session = self._session or self._open()
        content = request.content
        try:
            response = await session.request(
                request.method,
                URL(str(request.url), encoded=True),  # as it is: paging links are opaque
                headers=request.headers,
                data=io.BytesIO(content) if len(content) > _LARGE_BODY else content or None,
                allow_redirects=False,
                proxy=self._proxy,
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error) from None
        return httpx.Response(response.status, headers=response.raw_headers, stream=_Body(response))

    def _open(self) -> aiohttp.ClientSession:
        """At the first request, because aiohttp binds a session to the running loop."""
        facts = self._connection
        tls = facts.tls or httpx.create_ssl_context() if facts.base_url.lower().startswith("https") else True
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=facts.concurrency, ssl=tls),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=min(10.0, facts.timeout_s), sock_read=facts.timeout_s
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # the client does it, under its limit of bytes
            trust_env=False,  # it would read passwords from .netrc
        )
        # aiohttp sends a PUT or DELETE a second time when the connection breaks, and has no public switch for it.
        session._retry_connection = False
        self._session = session
        return session

    async def aclose(self) -> None:
        if self._session is not None:
            await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_any():
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise _translated(error) from None

    async def aclose(self) -> None:
        self._response.close()  # a connection whose answer was read to the end is back in the pool by then


def _translated(error: Exception) -> httpx.TransportError:
    """httpx's name for it; a text is kept only where it speaks of host, port and certificate."""
    kind: Callable[[str], httpx.TransportError]
    match error:
        case aiohttp.ClientConnectorError():  # name, connection, TLS; the proxy's too
            kind, text = httpx.ConnectError, str(error)
        case aiohttp.ConnectionTimeoutError():
            kind, text = httpx.ConnectTimeout, ""
        case aiohttp.ClientHttpProxyError():
            kind, text = httpx.ConnectError, f"the proxy answered {error.status}"
        case TimeoutError():
            kind, text = httpx.ReadTimeout, ""
        case _:
            kind, text = httpx.ReadError, ""
    return kind(text)
