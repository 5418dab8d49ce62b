"""BhiClient: fhirpy's queries on one pool of connections."""

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple, Self
from urllib.parse import quote, urlencode

import httpx
import msgspec
import tenacity
from fhirpy import AsyncFHIRClient
from fhirpy.base.utils import AttrDict

from bhi_fhir.errors import Conflict, Incomplete, Refused, ServerError, Unreachable
from bhi_fhir.fhir.carrier import AiohttpCarrier, Answer, BadCompression, Carrier, HttpxCarrier, TooLarge
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.gate import Gate
from bhi_fhir.fhir.manners import Breaker, Clock, Pace, Sleep
from bhi_fhir.fhir.outcome import issue_codes

Params = Mapping[str, str | Sequence[str]]
Pairs = Sequence[tuple[str, str]]

ATTEMPTS = 4
LONGEST_PAUSE_S = 120.0
FHIR_JSON = "application/fhir+json"
_FORM = "application/x-www-form-urlencoded"

# httpx logs every URL at INFO, and a FHIR query holds patient ids.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# msgspec writes a Decimal as a string unless told otherwise; FHIR decimals are numbers.
_encode = msgspec.json.Encoder(decimal_format="number").encode


class _Request(NamedTuple):
    method: str
    url: str
    content: bytes | None
    headers: dict[str, str]


Heard = Callable[[str, str, int | None], None]
"""Told of each request when it is over: method, what was asked relative to the base with its query (it may name
a patient), and the status, None where no whole answer came."""


class BhiClient(AsyncFHIRClient):
    """One FHIR server. Use as `async with BhiClient(connection) as client`.

    Every request, also those that fhirpy makes, passes the gate, the manners and then the pool. `sleep` waits
    between attempts and for the site's pace, `clock` gives seconds. Raises UsageError if the connection's
    addresses are wrong.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        heard: Heard | None = None,
        sleep: Sleep = asyncio.sleep,
        clock: Clock = time.monotonic,
    ) -> None:
        self._heard = heard
        self.asked = self.repeated = 0  # requests in all, and those that were sent again
        self.gate = Gate(connection.base_url, connection.aliases)
        super().__init__(self.gate.base_url)
        self.search_by_post = connection.search_by_post
        self._max_body_bytes = connection.max_body_bytes
        # What the authorisation signs, for all requests: it sets the header and yields at once, so that nobody else
        # is between, and parsing each address would cost as much as all else together.
        self._signed = httpx.Request("GET", self.gate.base_url)
        self._deadline_s = connection.deadline_s
        self.auth = connection.auth
        self._sleep = sleep
        self._places = asyncio.Semaphore(connection.concurrency)
        self._pace = Pace(connection.requests_per_second, clock, sleep)
        self._breaker = Breaker(clock)
        self._carrier: Carrier = (AiohttpCarrier if connection.fast else HttpxCarrier)(connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._carrier.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        data: object = None,
        form: Pairs | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends one request and reads the whole answer.

        `url`: relative to the base, or any link of the server. `data`: a resource, as JSON; `form`: the
        parameters of a POST _search. Only what reads (GET and `form`) is repeated: after a broken connection
        and on 408, 425, 429 and 5xx. Raises Unreachable, Refused, Conflict, Incomplete; after Unreachable with
        `sent`, or Incomplete, it is unknown what a write did.
        """
        target = self.gate.admit(url)
        method = method.upper()
        what = _what(method, target[len(self.gate.base_url) :])
        reads = method == "GET" or form is not None
        request = _Request(method, target, *_content(data, form, headers))
        status: int | None = None
        try:
            answer = await (self._repeatedly(request, what) if reads else self._once(request, what))
            status = answer.status
        finally:
            if self._heard is not None:
                searched = f"?{urlencode(form)}" if form is not None else ""
                self._heard(method, target[len(self.gate.base_url) + 1 :] + searched, status)
        if answer.status // 100 == 2 or answer.status == 304:
            return answer
        raise refusal(what, answer.status, answer.body)

    async def search_page(self, resource_type: str, params: Params, headers: Mapping[str, str]) -> Answer:
        """The first page of a search: by GET, or by POST _search where the site wants no parameter in a URL."""
        if self.search_by_post:
            form = _pairs(params)
            return await self.ask("POST", f"{resource_type}/_search", form=form, headers=headers)
        return await self.ask("GET", _searched(resource_type, params), headers=headers)

    def search_url(self, path: str, params: Params) -> str:
        """The address of a search. Raises Incomplete if the path leads elsewhere."""
        return self.gate.admit(_searched(path, params))

    @property
    def left_alone_s(self) -> float:
        """Seconds for which the server is left alone because it failed again and again; 0 if it is not."""
        return self._breaker.left_s

    async def _repeatedly(self, request: _Request, what: str) -> Answer:
        """The first attempt by itself, which is cheaper; only what may pass is handed to the retrying library."""
        first: list[Answer | Unreachable] = [await self._tried(request, what)]
        if not _may_pass(first[0]):
            return _settled(first[0])

        async def attempt() -> Answer:
            return _settled(first.pop() if first else await self._tried(request, what))

        retrying = tenacity.AsyncRetrying(
            sleep=self._paused,
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause,
            retry=tenacity.retry_if_exception(_may_pass) | tenacity.retry_if_result(_may_pass),
            retry_error_callback=_last,
        )
        answer: Answer = await retrying(attempt)
        return answer

    async def _tried(self, request: _Request, what: str) -> Answer | Unreachable:
        try:
            return await self._once(request, what, reads=True)
        except Unreachable as error:
            return error

    async def _paused(self, seconds: float) -> None:
        self.repeated += 1
        await self._sleep(seconds)

    async def _once(self, request: _Request, what: str, *, reads: bool = False) -> Answer:
        """One attempt, in its place of the site's concurrency and at the site's pace."""
        async with self._places:
            self.asked += 1
            trying = self._breaker.enter(what)
            alive: bool | None = None
            try:
                await self._pace.turn()
                answer = await self._timely(request, what, reads)
                alive = answer.status < 500 or answer.status == 501
                return answer
            except Unreachable as error:
                # A credential that is not accepted says nothing of the server.
                alive = False if error.sent or error.passing else None
                raise
            except Incomplete:
                alive = True
                raise
            finally:
                self._breaker.leave(trying, alive)

    async def _timely(self, request: _Request, what: str, reads: bool) -> Answer:
        doubt = "" if reads else ", and it is unknown whether the server carried it out"
        try:
            async with asyncio.timeout(self._deadline_s):
                return await self._authorised(request, what)
        # Not chained: h11 quotes a bad header, credentials included, and httpx holds the URL.
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            # Before the first byte is sent: the text speaks of name, port and certificate only.
            said = f"{what}: no connection to {self.gate.base_url} ({error or 'timed out'})."
            raise Unreachable(said, sent=False) from None
        except httpx.ProxyError:
            raise Unreachable(f"{what}: the proxy gives no connection.", sent=False) from None
        except httpx.TransportError as error:
            kind = "timed out" if isinstance(error, httpx.TimeoutException) else "broke"
            raise Unreachable(f"{what}: the connection {kind}{doubt}.") from None
        except TimeoutError:
            said = f"{what}: the whole answer took longer than {self._deadline_s:g} s{doubt}."
            raise Unreachable(said, passing=False) from None

    async def _authorised(self, request: _Request, what: str) -> Answer:
        """Sends it once, and after a 401 as often as the authorisation has something else to show."""
        if self.auth is None:
            return await self._carried(request, what, None)
        flow = self.auth.async_auth_flow(self._signed)
        try:
            signed = await anext(flow)
            while True:
                answer = await self._carried(request, what, signed.headers.get("authorization"))
                if answer.status != 401:
                    return answer
                try:
                    signed = await flow.asend(httpx.Response(401))
                except StopAsyncIteration:
                    return answer
        finally:
            await flow.aclose()

    async def _carried(self, request: _Request, what: str, authorization: str | None) -> Answer:
        headers = {**request.headers, "Authorization": authorization} if authorization else request.headers
        try:
            return await self._carrier.carry(request.method, request.url, headers, request.content)
        except TooLarge:
            raise Incomplete(f"{what}: the answer is larger than {self._max_body_bytes} bytes.") from None
        except BadCompression:
            raise Incomplete(f"{what}: the answer is badly compressed.") from None

    def _build_request_url(self, path: str, params: Mapping[str, Any] | None) -> str:
        """fhirpy's own accepts any absolute URL that contains the base URL somewhere."""
        return self.search_url(path, params or {})

    async def _do_request(
        self,
        method: str,
        path: str,
        data: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        extra_headers: dict[str, str] | None = None,
        *,
        returning_status: bool = False,
    ) -> Any:
        """What fhirpy calls for everything that it does."""
        if self.search_by_post and params and method.upper() == "GET" and re.fullmatch(r"[A-Za-z]+", path):
            answer = await self.search_page(path, params, extra_headers or {})
        else:
            answer = await self.ask(method, self._build_request_url(path, params), data=data, headers=extra_headers)
        content = _attributes(_what(method, path), answer) if answer.body else None
        return (content, answer.status) if returning_status else content


def refusal(what: str, status: int, body: bytes | msgspec.Raw) -> ServerError:
    """The error for a status that is no success; `what` names method and type."""
    said = ", ".join([str(status), *issue_codes(body)])
    if status in {409, 412}:  # Oracle answers a stale If-Match with 409, others with 412
        return Conflict(f"{what}: it changed since it was read, or its condition matches several ({said}).")
    return Refused(f"{what} was refused ({said}): {_advice(status)}.", status)


def not_whole(what: str, answer: Answer) -> Incomplete:
    """The error for a success whose body is not the FHIR JSON that it should be."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    shown = kind if re.fullmatch(r"[a-z]+/[a-z0-9.+-]{1,40}", kind) else "no content type"
    return Incomplete(f"{what}: the server answered {answer.status}, but not with whole FHIR JSON ({shown}).")


_ADVICE = {
    400: "the server does not understand the request; compare it with /metadata",
    401: "the credentials are not accepted; check [fhir.auth]",
    403: "the credentials do not allow this; ask for the scope",
    404: "there is nothing at this address; check [fhir] base_url, or it was never there",
    405: "the server does not offer this; see its /metadata",
    410: "it was deleted",
    422: "the content breaks a rule of the server",
    429: "too many requests; lower [fhir] concurrency or come back later",
}


def _advice(status: int) -> str:
    if status // 100 == 3:
        return "the server redirects; put its final address into [fhir] base_url"
    if status // 100 == 5:
        return "the server failed; try again later"
    return _ADVICE.get(status, "see the server's log")


def _what(method: str, path: str) -> str:
    """Method and type, never an id or a query: `GET Encounter`."""
    named = re.match(r"/?(metadata|[A-Z][A-Za-z]{2,39})(?=[/?]|$)", path)
    other = "request" if path else "Bundle"  # a transaction goes to the base itself
    return f"{method.upper()} {named[1] if named else other}"


_HEADERS = {"Accept": FHIR_JSON, "Accept-Encoding": "gzip", "User-Agent": "bhi-fhir"}


def _content(
    data: object, form: Pairs | None, headers: Mapping[str, str] | None
) -> tuple[bytes | None, dict[str, str]]:
    """Body and headers of a request."""
    if form is not None:
        return urlencode(form).encode(), {**_HEADERS, "Content-Type": _FORM, **(headers or {})}
    if data is not None:
        return _encode(data), {**_HEADERS, "Content-Type": FHIR_JSON, **(headers or {})}
    return None, {**_HEADERS, **(headers or {})}


def _searched(path: str, params: Mapping[str, Any]) -> str:
    query = "&".join([f"{quote(name, ':,')}={quote(value, ':,')}" for name, value in _pairs(params)])
    return f"{path}?{query}" if query else path


def _pairs(params: Mapping[str, Any]) -> Pairs:
    return [(name, one) for name, value in params.items() for one in _listed(value)]


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def _attributes(what: str, answer: Answer) -> Any:
    try:
        return json.loads(answer.body, object_hook=AttrDict)
    except (ValueError, RecursionError):
        raise not_whole(what, answer) from None


def _may_pass(said: Answer | BaseException) -> bool:
    if isinstance(said, Answer):
        return said.status in {408, 425, 429} or (said.status >= 500 and said.status != 501)
    return isinstance(said, Unreachable) and said.passing


def _settled(said: Answer | Unreachable) -> Answer:
    if isinstance(said, Unreachable):
        raise said
    return said


def _last(state: tenacity.RetryCallState) -> Any:
    assert state.outcome is not None
    return state.outcome.result()


_backoff = tenacity.wait_random_exponential(multiplier=0.5, max=20.0)


def _pause(state: tenacity.RetryCallState) -> float:
    """Seconds before the next attempt: jittered and doubling, or longer if the server asks for it."""
    asked = 0.0
    if state.outcome is not None and not state.outcome.failed:
        asked = _retry_after(state.outcome.result().headers)
    return min(max(_backoff(state), asked), LONGEST_PAUSE_S)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds from a Retry-After header in either form, 0 without a readable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        # Both dates by the server's clock, where it tells its own.
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0
