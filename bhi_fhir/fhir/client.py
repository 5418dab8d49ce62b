"""BhiClient: fhirpy's queries on one pooled httpx client."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Self
from urllib.parse import quote, urlencode

import httpx
import msgspec
import tenacity
from fhirpy import AsyncFHIRClient
from fhirpy.base.utils import AttrDict

from bhi_fhir.errors import Conflict, Incomplete, Refused, ServerError, Unreachable
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.gate import Gate
from bhi_fhir.fhir.outcome import issue_codes

Params = Mapping[str, str | Sequence[str]]

ATTEMPTS = 4
LONGEST_PAUSE_S = 120.0
FHIR_JSON = "application/fhir+json"

# httpx logs every URL at INFO, and a FHIR query holds patient ids.
for _name in ("httpx", "httpcore"):
    logging.getLogger(_name).setLevel(logging.WARNING)

# msgspec writes a Decimal as a string unless told otherwise; FHIR decimals are numbers.
_encode = msgspec.json.Encoder(decimal_format="number").encode


@dataclass(frozen=True)
class Answer:
    """What the server said: a status of 2xx or 304, and the whole body."""

    status: int
    headers: httpx.Headers
    body: bytes


class BhiClient(AsyncFHIRClient):
    """One FHIR server. Use as `async with BhiClient(connection) as client`.

    Every request, also those that fhirpy makes, passes the gate and then the pool. `sleep` waits between
    attempts. Raises UsageError if the connection's addresses are wrong.
    """

    def __init__(self, connection: Connection, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self.gate = Gate(connection.base_url, connection.aliases)
        super().__init__(self.gate.base_url)
        self._max_body_bytes = connection.max_body_bytes
        self._sleep = sleep
        self._http = httpx.AsyncClient(
            auth=connection.auth,
            headers={"Accept": FHIR_JSON, "User-Agent": "bhi-fhir"},
            # Requests queue for a connection as long as it takes: those before them have their own timeouts.
            timeout=httpx.Timeout(connection.timeout_s, connect=min(10.0, connection.timeout_s), pool=None),
            limits=httpx.Limits(
                max_connections=connection.concurrency, max_keepalive_connections=connection.concurrency
            ),
            # A redirect would carry the credentials past the gate.
            follow_redirects=False,
            # A hospital's proxy and CA come by environment; a server on this machine is not behind the proxy.
            trust_env=not self.gate.loopback,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        *,
        data: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends one request and reads the whole answer.

        `url`: relative to the base, or any link of the server. Only GET is repeated: after a broken
        connection and on 408, 425, 429 and 5xx. Raises Unreachable, Refused, Conflict, Incomplete; after
        Unreachable or Incomplete it is unknown what a write did.
        """
        target = self.gate.admit(url)
        what = _what(method, target.removeprefix(self.gate.base_url))
        request = self._http.build_request(method.upper(), target, **_content(data, headers))
        if request.method == "GET":
            answer = await self._repeatedly(request, what)
        else:
            answer = await self._once(request, what)
        if answer.status // 100 == 2 or answer.status == 304:
            return answer
        raise refusal(what, answer.status, answer.body)

    async def _repeatedly(self, request: httpx.Request, what: str) -> Answer:
        retrying = tenacity.AsyncRetrying(
            sleep=self._sleep,
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=_pause,
            retry=tenacity.retry_if_exception_type(Unreachable) | tenacity.retry_if_result(_may_pass),
            retry_error_callback=_last,
        )
        answer: Answer = await retrying(self._once, request, what)
        return answer

    async def _once(self, request: httpx.Request, what: str) -> Answer:
        try:
            return await self._exchange(request, what)
        # Not chained: h11 quotes a bad header, credentials included, and httpx holds the URL.
        except httpx.DecodingError:
            raise Incomplete(f"{what}: the answer's compression is broken.") from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            # Before the first byte is sent: the text speaks of name, port and certificate only.
            raise Unreachable(f"{what}: no connection to {self.gate.base_url} ({error or 'timed out'}).") from None
        except httpx.TransportError as error:
            kind = "timed out" if isinstance(error, httpx.TimeoutException) else "broke"
            doubt = "" if request.method == "GET" else ", and it is unknown whether the server carried it out"
            raise Unreachable(f"{what}: the connection {kind}{doubt}.") from None

    async def _exchange(self, request: httpx.Request, what: str) -> Answer:
        response = await self._http.send(request, stream=True)
        try:
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._max_body_bytes:
                    raise Incomplete(f"{what}: the answer is larger than {self._max_body_bytes} bytes.")
            return Answer(response.status_code, response.headers, bytes(body))
        finally:
            await response.aclose()

    def _build_request_url(self, path: str, params: Mapping[str, Any] | None) -> str:
        """fhirpy's own accepts any absolute URL that contains the base URL somewhere."""
        pairs = [(name, one) for name, value in (params or {}).items() for one in _listed(value)]
        query = urlencode(pairs, safe=":,", quote_via=quote)
        return self.gate.admit(f"{path}?{query}" if query else path)

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
        url = self._build_request_url(path, params)
        answer = await self.ask(method, url, data=data, headers=extra_headers)
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


def _content(data: object, headers: Mapping[str, str] | None) -> dict[str, Any]:
    if data is None:
        return {"headers": headers}
    return {"content": _encode(data), "headers": {"Content-Type": FHIR_JSON, **(headers or {})}}


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else [str(value)]


def _attributes(what: str, answer: Answer) -> Any:
    try:
        return json.loads(answer.body, object_hook=AttrDict)
    except (ValueError, RecursionError):
        raise not_whole(what, answer) from None


def _may_pass(answer: Answer) -> bool:
    return answer.status in {408, 425, 429} or (answer.status >= 500 and answer.status != 501)


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


def _retry_after(headers: httpx.Headers) -> float:
    """Seconds from a Retry-After header in either form, 0 without a readable one."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        until = parsedate_to_datetime(text)
        # Both dates by the server's clock, where it tells its own.
        now = parsedate_to_datetime(headers["date"]) if "date" in headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    except (ValueError, TypeError):
        return 0.0
