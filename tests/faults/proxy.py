"""An HTTP proxy on loopback that stands in front of any FHIR server and does to requests what networks do.

    async with proxy("http://127.0.0.1:8080/fhir", Plan([Rule(Fault.LOST_ANSWER, 0.3, "writes")], seed=1)) as front:
        ...  # a client of front.base_url
        await front.settle()  # what was held back is delivered, what is under way is at its end
        front.injected  # {"lost-answer POST": 3}

The server's own base is rewritten to the proxy's in answers, and back in requests.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import socket
import struct
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from enum import StrEnum
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
import yarl
from aiohttp import web

MEBIBYTE = 2**20
SECONDS_LATE = (0.3, 3.0)
DRIP_S = 1.5


class Fault(StrEnum):
    """What can happen to one request."""

    LOST_REQUEST = "lost-request"
    """The connection breaks before the server hears of it."""
    LOST_ANSWER = "lost-answer"
    """The server carries it out, the connection breaks without an answer."""
    DELAYED = "delayed"
    """The connection breaks, and the server carries it out seconds later: the client may have asked again."""
    TWICE = "twice"
    """Carried out twice, one after the other; one of the answers is passed on."""
    AT_ONCE = "at-once"
    """The same at the same time."""
    LATE = "late"
    """Answered, and delivered again seconds later."""
    AFTERWARDS = "afterwards"
    """Answered, and delivered again when the run is over (`settle`)."""
    TOO_MANY = "429-seconds"
    TOO_MANY_DATE = "429-date"
    FAILED_BEFORE = "500-before"
    FAILED_AFTER = "500-after"
    UNAVAILABLE_BEFORE = "503-before"
    UNAVAILABLE_AFTER = "503-after"
    TRUNCATED = "truncated"
    """The connection ends in the middle of the body."""
    SHORTENED = "shortened"
    """Half of the body, with a Content-Length that fits it."""
    RESET = "reset"
    """A TCP reset in the middle of the body."""
    DRIP = "drip"
    """The body comes in small pieces."""
    HALF_ERROR = "half-error"
    """Of a transaction only the first entries are carried out; 500."""
    HALF_SILENCE = "half-silence"
    """The same, and the connection breaks."""


ONLY_TRANSACTIONS = {Fault.HALF_ERROR, Fault.HALF_SILENCE}
_REFUSED = {
    Fault.TOO_MANY: 429,
    Fault.TOO_MANY_DATE: 429,
    Fault.FAILED_BEFORE: 500,
    Fault.UNAVAILABLE_BEFORE: 503,
}
_DENIED = {Fault.FAILED_AFTER: 500, Fault.UNAVAILABLE_AFTER: 503, Fault.HALF_ERROR: 500}
_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}

Which = Literal["writes", "reads", "all"]
Stage = Literal["arrived", "carried-out", "answered"]


@dataclass(frozen=True)
class Asked:
    """One request as it came, with the server's own base in its body."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def writes(self) -> bool:
        return self.method not in {"GET", "HEAD", "OPTIONS"} and not urlsplit(self.path).path.endswith("/_search")


@dataclass(frozen=True)
class Rule:
    """A fault, how often (0 to 1) and to which requests; at most `most` times."""

    fault: Fault
    rate: float
    on: Which = "all"
    most: int = 10**9


@dataclass
class Plan:
    """Draws the fault of each request: the first rule whose turn it is."""

    rules: Sequence[Rule] = ()
    seed: int = 0
    random: random.Random = field(init=False)
    used: Counter[Rule] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)

    def fault_of(self, asked: Asked) -> Fault | None:
        for rule in self.rules:
            fits = rule.on == "all" or (rule.on == "writes") == asked.writes
            if fits and self.random.random() < rule.rate and self.used[rule] < rule.most:
                if rule.fault in ONLY_TRANSACTIONS and _first_half(asked, 1) is None:
                    continue
                self.used[rule] += 1
                return rule.fault
        return None


@dataclass
class Write:
    """One write as the proxy saw it: monotonic times, 0 where it did not come to that."""

    arrived: float
    carried_out: float = 0.0
    answered: float = 0.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Proxy:
    """`watch` is told of each stage of each write, at that moment.

    `blind`: the server seems to know no conditional create (Oracle): the condition is taken out of each write.
    """

    server: str
    plan: Plan = field(default_factory=Plan)
    blind: bool = False
    base_url: str = ""
    requests: int = 0
    injected: Counter[str] = field(default_factory=Counter)
    writes: list[Write] = field(default_factory=list)
    watch: Callable[[Stage], None] = lambda stage: None
    _http: aiohttp.ClientSession = field(init=False)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _held: list[Asked] = field(default_factory=list)
    _under_way: int = 0

    async def settle(self) -> None:
        """Deliver what was held back for the end, and wait until nothing is under way."""
        while self._held or self._tasks or self._under_way:
            held, self._held = self._held, []
            for asked in held:
                await self._forward(asked)
            await asyncio.gather(*self._tasks)
            await asyncio.sleep(0.01)

    async def serve(self, request: web.Request) -> web.StreamResponse:
        self._under_way += 1
        try:
            return await self._serve(request)
        finally:
            self._under_way -= 1

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        body = (await request.read()).replace(self.base_url.encode(), self.server.encode())
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP | {"accept-encoding"}}
        asked = Asked(request.method, request.raw_path, headers, body)
        if self.blind:
            asked = _without_condition(asked)
        write = Write(time.monotonic())
        if asked.writes:
            self.writes.append(write)
            self.watch("arrived")
        fault = self.plan.fault_of(asked)
        if fault:
            self.injected[f"{fault} {asked.method}"] += 1
        reply = await self._carried_out(asked, fault)
        if asked.writes and reply:
            write.carried_out = time.monotonic()
            self.watch("carried-out")
        response = await self._answer(request, reply, fault)
        if asked.writes:
            write.answered = time.monotonic()
            self.watch("answered")
        return response

    async def _carried_out(self, asked: Asked, fault: Fault | None) -> Reply | None:
        """What the server said, or a refusal of our own; None if it does not hear of it now."""
        if fault in _REFUSED:
            return _refusal(fault)
        if fault == Fault.LOST_REQUEST:
            return None
        if fault == Fault.DELAYED:
            self._later(asked)
            return None
        if fault in ONLY_TRANSACTIONS:
            await self._forward(_first_half(asked, self.plan.random.random()) or asked)
            return Reply(500, {}, b"")
        if fault == Fault.TWICE:
            return self.plan.random.choice([await self._forward(asked), await self._forward(asked)])
        if fault == Fault.AT_ONCE:
            return self.plan.random.choice(await asyncio.gather(self._forward(asked), self._forward(asked)))
        reply = await self._forward(asked)
        if fault == Fault.LATE:
            self._later(asked)
        elif fault == Fault.AFTERWARDS:
            self._held.append(asked)
        return reply

    def _later(self, asked: Asked) -> None:
        async def deliver() -> None:
            await asyncio.sleep(self.plan.random.uniform(*SECONDS_LATE))
            await self._forward(asked)

        self._spawn(deliver())

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, asked: Asked) -> Reply:
        origin = urlsplit(self.server)
        url = yarl.URL(f"{origin.scheme}://{origin.netloc}{asked.path}", encoded=True)
        headers = {**asked.headers, "Accept-Encoding": "identity"}
        try:
            async with self._http.request(
                asked.method, url, headers=headers, data=asked.body or None, allow_redirects=False
            ) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, OSError) as error:
            return Reply(502, {}, f"the server behind the proxy: {type(error).__name__}".encode())
        kept = {k: self._ours(v) for k, v in answer.headers.items() if k.lower() not in _HOP}
        if self.blind and urlsplit(asked.path).path.endswith("/metadata"):
            body = re.sub(rb'"(conditionalCreate|updateCreate)"\s*:\s*true', rb'"\1":false', body)
        return Reply(answer.status, kept, body.replace(self.server.encode(), self.base_url.encode()))

    def _ours(self, value: str) -> str:
        return value.replace(self.server, self.base_url)

    async def _answer(self, request: web.Request, reply: Reply | None, fault: Fault | None) -> web.StreamResponse:
        if reply is None or fault in {Fault.LOST_ANSWER, Fault.HALF_SILENCE}:
            return _hung_up(request)
        if fault in _DENIED:
            reply = Reply(_DENIED[fault], {}, b"")
        half = len(reply.body) // 2
        if fault == Fault.SHORTENED:
            reply = Reply(reply.status, reply.headers, reply.body[:half])
        response = web.StreamResponse(status=reply.status, headers=reply.headers)
        response.content_length = len(reply.body)
        with suppress(ConnectionError):
            await response.prepare(request)
            if fault in {Fault.TRUNCATED, Fault.RESET}:
                await response.write(reply.body[:half])
                await asyncio.sleep(0.02)  # the half must be on its way before the end overtakes it
                return _hung_up(request, reset=fault == Fault.RESET)
            for piece in _pieces(reply.body, 12 if fault == Fault.DRIP else 1):
                await response.write(piece)
                await asyncio.sleep(DRIP_S / 12 if fault == Fault.DRIP else 0)
            await response.write_eof()
        return response


@asynccontextmanager
async def proxy(server: str, plan: Plan | None = None, *, blind: bool = False) -> AsyncIterator[Proxy]:
    """In front of the server at this base URL, until the end of the block."""
    front = Proxy(server.rstrip("/"), plan or Plan(), blind)
    application = web.Application(client_max_size=256 * MEBIBYTE)
    application.router.add_route("*", "/{tail:.*}", front.serve)
    runner = web.AppRunner(application, access_log=None)
    # No connection is used twice: aiohttp would send a PUT again by itself when a kept one has closed.
    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as http:
        front._http = http
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        front.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}{urlsplit(front.server).path}"
        try:
            yield front
            await front.settle()
        finally:
            for task in front._tasks:
                task.cancel()
            await runner.cleanup()


def _refusal(fault: Fault) -> Reply:
    headers = {}
    if fault == Fault.TOO_MANY:
        headers["Retry-After"] = "1"
    elif fault == Fault.TOO_MANY_DATE:
        headers["Retry-After"] = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
    return Reply(_REFUSED[fault], headers, b"")


def _first_half(asked: Asked, part: float) -> Asked | None:
    """The transaction with only its first entries: at least one, never all. None for any other request."""
    if asked.method != "POST" or b'"transaction"' not in asked.body:
        return None
    with suppress(ValueError):
        bundle = json.loads(asked.body)
        if isinstance(bundle, dict) and bundle.get("type") == "transaction" and len(bundle["entry"]) > 1:
            kept = min(1 + int(part * (len(bundle["entry"]) - 1)), len(bundle["entry"]) - 1)
            short = bundle | {"entry": bundle["entry"][:kept]}
            return Asked(asked.method, asked.path, asked.headers, json.dumps(short).encode())
    return None


def _without_condition(asked: Asked) -> Asked:
    headers = {k: v for k, v in asked.headers.items() if k.lower() != "if-none-exist"}
    body = asked.body
    if b'"ifNoneExist"' in body:
        bundle = json.loads(body)
        for entry in bundle["entry"]:
            entry["request"].pop("ifNoneExist", None)
        body = json.dumps(bundle).encode()
    return Asked(asked.method, asked.path, headers, body)


def _pieces(body: bytes, number: int) -> list[bytes]:
    size = max(1, -(-len(body) // number))
    return [body[i : i + size] for i in range(0, len(body), size)]


def _hung_up(request: web.Request, *, reset: bool = False) -> web.StreamResponse:
    """Ends the connection; what is returned reaches nobody."""
    if request.transport is not None:
        if reset:
            wire = request.transport.get_extra_info("socket")
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort() if reset else request.transport.close()
    return web.Response()
