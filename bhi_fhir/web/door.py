"""Around every request: how much may come in, how long it may take, what every answer carries, what is noted.

The last stop for an exception that nobody took: it is told by its kind and place only.
"""

from __future__ import annotations

import asyncio
import secrets
import time

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bhi_fhir.fhir.gate import is_this_machine
from bhi_fhir.settings import Serve
from bhi_fhir.web import logs, metrics
from bhi_fhir.web.problems import Problem, answer, bad, of_status

_HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
}
_GONE = 499
"""The caller went away before there was an answer (nginx's number); only in log and metrics."""


class Door:
    """`is_open`: then only callers that name this machine are answered, for a web page may rebind its own name."""

    def __init__(self, app: ASGIApp, *, serve: Serve, is_open: bool) -> None:
        self._app = app
        self._most = serve.max_body_mib << 20
        self._limit_s = serve.time_limit_s
        self._is_open = is_open
        secure = {"strict-transport-security": "max-age=31536000"} if serve.public_url.startswith("https:") else {}
        self._headers = [(name.encode(), value.encode()) for name, value in {**_HEADERS, **secure}.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = _Visit(scope, receive, send, self._most, self._headers)
        try:
            async with asyncio.timeout(self._limit_s):
                self._admit(scope, visit)
                await self._app(scope, visit.receive, visit.send)
        except Problem as problem:
            await visit.refuse(problem)
        except TimeoutError:
            await visit.refuse(of_status(504))
        except ClientDisconnect:
            visit.status = visit.status or _GONE
        except Exception as error:  # noqa: BLE001  # a fault of ours: never its text, which may hold patient data
            logs.event("fault", "error", request_id=visit.id, **logs.place(error))
            await visit.refuse(of_status(500))
        finally:
            visit.note()

    def _admit(self, scope: Scope, visit: _Visit) -> None:
        headers = dict(scope["headers"])
        said = headers.get(b"content-length", b"")
        if said.isdigit() and int(said) > self._most:
            raise too_large(self._most)
        if self._is_open and not _names_this_machine(headers.get(b"host", b"").decode("latin-1")):
            raise bad("security", "This service is open and answers only to the name of this machine.", status=421)


class _Visit:
    """One request on its way through."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, most: int, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.id = secrets.token_hex(8)
        self.status = 0
        self._scope, self._receive, self._send = scope, receive, send
        self._most, self._headers = most, headers
        self._began = time.perf_counter()
        self._in = self._out = 0
        # Who is connected, whomever a proxy of `forwarded_proxies` then names as the client.
        peer = scope["client"][0] if scope.get("client") else ""
        scope.setdefault("state", {}).update(request_id=self.id, peer=peer)

    async def receive(self) -> Message:
        message = await self._receive()
        self._in += len(message.get("body", b""))
        if self._in > self._most:
            raise too_large(self._most)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            given = {name.lower() for name, _ in message["headers"]}
            always = [each for each in self._headers if each[0] not in given]
            message["headers"] = [*message["headers"], *always, (b"x-request-id", self.id.encode())]
        else:
            self._out += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, problem: Problem) -> None:
        """Answers, unless an answer has begun: then the connection ends without its end."""
        if not self.status:
            await answer(Request(self._scope), problem)(self._scope, self._receive, self.send)

    def note(self) -> None:
        seconds = time.perf_counter() - self._began
        route = getattr(self._scope.get("route"), "path", "other")
        method = self._scope["method"] if self._scope["method"] in _METHODS else "other"
        metrics.seen(method, route, self.status, seconds)
        if route not in _QUIET:
            logs.event(
                "request",
                request_id=self.id,
                method=method,
                route=route,
                status=self.status,
                ms=round(seconds * 1000, 1),
                bytes_in=self._in,
                bytes_out=self._out,
                caller=self._scope["state"].get("caller"),
            )


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})


def too_large(most: int) -> Problem:
    return bad("too-long", f"The body is longer than {most >> 20} MiB.", status=413)


def _names_this_machine(host: str) -> bool:
    return is_this_machine(host.rpartition("]")[0].lstrip("[") if host.startswith("[") else host.partition(":")[0])
