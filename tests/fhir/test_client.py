"""One request: errors, retries, limits, and what never leaves."""

import gzip
import logging
from collections.abc import AsyncIterator
from decimal import Decimal

import httpx
import pytest
import respx
from fhirpy.base.exceptions import ResourceNotFound

from bhi_fhir.errors import Conflict, Incomplete, Refused, Unreachable, UsageError
from bhi_fhir.fhir.client import ATTEMPTS, LONGEST_PAUSE_S, BhiClient
from bhi_fhir.fhir.connection import Connection, basic, bearer

PATIENT = {"resourceType": "Patient", "id": "maria"}


async def test_a_request_carries_fhir_json_and_the_token(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{base}/Claim").respond(201, json=PATIENT)
    answer = await client.ask("POST", "Claim", data={"value": Decimal("20.10")})
    sent = route.calls.last.request
    assert (answer.status, sent.content) == (201, b'{"value":20.10}')
    assert sent.headers["accept"] == sent.headers["content-type"] == "application/fhir+json"
    assert sent.headers["authorization"] == "Bearer SECRET"


async def test_basic_sign_in_is_sent_with_each_request(base: str, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.get(f"{base}/metadata").respond(200, json={})
    async with BhiClient(Connection(base, auth=basic("user", "pass"))) as client:
        await client.ask("GET", "metadata")
    assert route.calls.last.request.headers["authorization"] == "Basic dXNlcjpwYXNz"


@pytest.mark.parametrize("token", ["", "SECRET\n", "SEC RET", "SECRÉT"])
def test_a_token_that_cannot_stand_in_a_header_is_refused_without_repeating_it(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        bearer(token)
    assert "SEC" not in str(caught.value)


@pytest.mark.parametrize(("user", "password"), [("a:b", "x"), ("a", "SECRET\r\n"), ("a\n", "x")])
def test_a_password_that_cannot_stand_in_a_header_is_refused_without_repeating_it(user: str, password: str) -> None:
    with pytest.raises(UsageError) as caught:
        basic(user, password)
    assert "SECRET" not in str(caught.value)


def test_a_connection_does_not_show_its_secret(base: str) -> None:
    assert "SECRET" not in repr(Connection(base, auth=bearer("SECRET")))


@pytest.mark.parametrize(
    "url",
    ["https://evil.example/fhir/Patient", "//evil.example/Patient", "https://ehr.example@evil.example/"],
)
async def test_the_token_never_goes_to_another_origin(
    client: BhiClient, respx_mock: respx.MockRouter, url: str
) -> None:
    with pytest.raises(Incomplete):
        await client.ask("GET", url)
    with pytest.raises(Incomplete):
        await client.execute(url, method="get")
    assert not respx_mock.calls


async def test_a_redirect_is_not_followed(client: BhiClient, base: str, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{base}/Patient/maria").respond(302, headers={"location": "https://evil.example/"})
    with pytest.raises(Refused, match="redirects") as caught:
        await client.ask("GET", "Patient/maria")
    assert (caught.value.status, len(respx_mock.calls)) == (302, 1)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "does not understand"),
        (401, "credentials are not accepted"),
        (403, "do not allow this"),
        (404, "nothing at this address"),
        (405, "does not offer"),
        (410, "deleted"),
        (418, "see the server's log"),
        (422, "breaks a rule"),
        (501, "failed"),
    ],
)
async def test_a_refusal_says_what_to_do_and_nothing_of_the_patient(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, status: int, advice: str
) -> None:
    issue = {
        "severity": "error",
        "code": "forbidden",
        "diagnostics": "Maria Canary",
        "details": {"text": "Maria Canary", "coding": [{"code": "4127"}, {"code": "Maria Canary"}]},
    }
    outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
    respx_mock.get(f"{base}/Patient/canary?name=Canary").respond(status, json=outcome)
    with pytest.raises(Refused, match=advice) as caught:
        await client.ask("GET", "Patient/canary?name=Canary")
    assert caught.value.status == status
    assert str(caught.value).startswith(f"GET Patient was refused ({status}, forbidden, 4127): ")
    assert "anary" not in str(caught.value)
    assert len(respx_mock.calls) == 1


@pytest.mark.parametrize("status", [409, 412])
async def test_a_stale_version_and_a_condition_with_many_matches_are_conflicts(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, status: int
) -> None:
    respx_mock.put(f"{base}/Claim/1").respond(status)
    with pytest.raises(Conflict, match=str(status)):
        await client.ask("PUT", "Claim/1", data={}, headers={"If-Match": 'W/"1"'})


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_a_get_is_repeated_while_the_server_is_busy(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, waits: list[float], status: int
) -> None:
    route = respx_mock.get(f"{base}/Patient/maria")
    route.side_effect = [httpx.Response(status), httpx.Response(200, json=PATIENT)]
    assert (await client.ask("GET", "Patient/maria")).status == 200
    assert len(waits) == 1
    assert 0 <= waits[0] <= 20


async def test_a_get_is_given_up_in_the_end(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, waits: list[float]
) -> None:
    route = respx_mock.get(f"{base}/Patient/maria").respond(503)
    with pytest.raises(Refused, match="try again later"):
        await client.ask("GET", "Patient/maria")
    assert (route.call_count, len(waits)) == (ATTEMPTS, ATTEMPTS - 1)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "100"}, 100),
        ({"Retry-After": "Sun, 01 Mar 2026 12:01:40 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, 100),
        ({"Retry-After": "86400"}, LONGEST_PAUSE_S),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, LONGEST_PAUSE_S),
    ],
)
async def test_the_server_is_asked_again_when_it_says_but_never_later_than_the_cap(
    client: BhiClient,
    base: str,
    respx_mock: respx.MockRouter,
    waits: list[float],
    headers: dict[str, str],
    seconds: float,
) -> None:
    route = respx_mock.get(f"{base}/Patient/maria")
    route.side_effect = [httpx.Response(429, headers=headers), httpx.Response(200, json=PATIENT)]
    await client.ask("GET", "Patient/maria")
    assert waits == [seconds]


@pytest.mark.parametrize("asked", ["soon", "-5", "Sun, 01 Mar 2020 12:00:00 GMT", "Sun, 01 Mar 2026 12:00:00"])
async def test_an_unreadable_or_past_retry_after_leaves_the_ordinary_pause(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, waits: list[float], asked: str
) -> None:
    route = respx_mock.get(f"{base}/Patient/maria")
    route.side_effect = [httpx.Response(429, headers={"Retry-After": asked}), httpx.Response(200)]
    await client.ask("GET", "Patient/maria")
    assert waits[0] <= 20


@pytest.mark.parametrize("error", [httpx.ConnectError, httpx.ReadTimeout, httpx.RemoteProtocolError])
async def test_a_get_is_repeated_after_a_broken_connection(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, error: type[httpx.TransportError]
) -> None:
    route = respx_mock.get(f"{base}/Patient/maria")
    route.side_effect = [error("broken"), httpx.Response(200, json=PATIENT)]
    assert (await client.ask("GET", "Patient/maria")).status == 200
    assert route.call_count == 2


class _CutOff(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"resourceType":'
        raise httpx.ReadError("reset by peer")


async def test_a_get_is_repeated_when_the_body_breaks_off(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.get(f"{base}/Patient/maria")
    route.side_effect = [httpx.Response(200, stream=_CutOff()), httpx.Response(200, json=PATIENT)]
    assert b"maria" in (await client.ask("GET", "Patient/maria")).body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
async def test_a_write_is_never_repeated(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, method: str
) -> None:
    route = respx_mock.route(method=method, url=f"{base}/Claim")
    route.side_effect = [httpx.ReadTimeout("slow"), httpx.Response(503), httpx.ConnectError("refused")]
    with pytest.raises(Unreachable, match="timed out, and it is unknown whether the server carried it out"):
        await client.ask(method, "Claim", data={})
    with pytest.raises(Refused, match="503"):
        await client.ask(method, "Claim", data={})
    with pytest.raises(Unreachable, match=r"no connection to https://ehr.example/fhir \(refused\)"):
        await client.ask(method, "Claim", data={})
    assert route.call_count == 3


async def test_a_connection_error_shows_neither_url_nor_token(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(f"{base}/Patient?name=Canary").mock(side_effect=httpx.ReadError("Canary SECRET"))
    with pytest.raises(Unreachable) as caught:
        await client.ask("GET", "Patient?name=Canary")
    assert str(caught.value) == "GET Patient: the connection broke."
    assert caught.value.__suppress_context__


async def test_an_answer_beyond_the_byte_limit_is_not_read(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(f"{base}/Patient/maria").respond(200, content=b" " * 100_001)
    with pytest.raises(Incomplete, match="larger than 100000 bytes"):
        await client.ask("GET", "Patient/maria")


async def test_the_byte_limit_counts_what_is_decompressed(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    assert len(bomb) < 100_000
    respx_mock.get(f"{base}/Patient/maria").respond(200, content=bomb, headers={"Content-Encoding": "gzip"})
    with pytest.raises(Incomplete, match="larger than"):
        await client.ask("GET", "Patient/maria")


async def test_the_log_holds_no_query(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    respx_mock.get(f"{base}/Patient?name=Canary").respond(200, json=PATIENT)
    await client.ask("GET", "Patient?name=Canary")
    assert "Canary" not in caplog.text


async def test_what_fhirpy_builds_goes_through_the_pool(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    found = {"resourceType": "Bundle", "entry": [{"resource": PATIENT}]}
    respx_mock.get(f"{base}/Patient?birthdate=ge2000-01-01&name=Ann,Maria").respond(200, json=found)
    patients = client.resources("Patient").search(birthdate__ge="2000-01-01", name="Ann,Maria")
    assert [patient.id for patient in await patients.fetch()] == ["maria"]
    respx_mock.get(f"{base}/Patient?_id=nobody&_count=2").respond(200, json={"resourceType": "Bundle"})
    with pytest.raises(ResourceNotFound):
        await client.resources("Patient").search(_id="nobody").get()


@pytest.mark.parametrize("body", [b"<html>Sign in</html>", b'{"a":', b"[" * 90_000, b"\xff\xfe"])
async def test_what_is_no_json_is_no_answer_for_fhirpy_either(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, body: bytes
) -> None:
    respx_mock.get(f"{base}/Patient/maria").respond(200, content=body)
    with pytest.raises(Incomplete, match="not with whole FHIR JSON"):
        await client.get("Patient", "maria")
