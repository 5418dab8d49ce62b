"""SMART Backend Services: one token for all, renewed in time, and nothing of the credential anywhere else."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
import respx
from cryptography.hazmat.primitives import serialization
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from bhi_fhir.errors import Refused, Unreachable, UsageError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.oauth import (
    ASSERTION_S,
    ASSERTION_TYPE,
    REFUSED_S,
    BackendServices,
    ClientSecret,
    Credential,
    PrivateKey,
    PrivateKeys,
)
from bhi_fhir.fhir.writing import put_own_id

BASE = "https://ehr.example/fhir"
TOKEN_URL = "https://ehr.example/oauth2/token"
CONFIGURATION = f"{BASE}/.well-known/smart-configuration"
PATIENT = {"resourceType": "Patient", "id": "maria"}
EC = ECKey.generate_key("P-384")
RSA = RSAKey.generate_key(2048)
NOW = 1_700_000_000.0


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pem(key: ECKey | RSAKey) -> str:
    return key.as_pem(private=True).decode()


def jwk(key: ECKey | RSAKey, **more: Any) -> str:
    return json.dumps({**key.as_dict(private=True), **more})


def signing(key: ECKey | RSAKey = EC, algorithm: str = "ES384", key_id: str = "") -> PrivateKey:
    return PrivateKey("bhi", PrivateKeys.read(pem(key), key_id), algorithm, now=lambda: NOW)


def auth(clock: Clock, credential: Credential | None = None, **more: Any) -> BackendServices:
    facts = {"token_url": TOKEN_URL, "scope": "system/*.rs", **more}
    return BackendServices(BASE, credential or signing(), clock=clock, **facts)


def client(auth: httpx.Auth) -> BhiClient:
    async def at_once(_: float) -> None:
        pass

    return BhiClient(Connection(BASE, auth=auth), sleep=at_once)


def token(text: str = "T1", **more: Any) -> dict[str, Any]:
    return {"access_token": text, "token_type": "Bearer", "expires_in": 300, "scope": "system/*.rs", **more}


def form(call: respx.models.Call) -> dict[str, str]:
    return {name: value for name, [value] in parse_qs(call.request.content.decode(), strict_parsing=True).items()}


async def get(auth: httpx.Auth) -> None:
    async with client(auth) as asking:
        await asking.ask("GET", "Patient/maria")


@pytest.fixture
def patient(respx_mock: respx.MockRouter) -> respx.Route:
    return respx_mock.get(f"{BASE}/Patient/maria").respond(200, json=PATIENT)


@pytest.fixture
def tokens(respx_mock: respx.MockRouter) -> respx.Route:
    return respx_mock.post(TOKEN_URL).respond(200, json=token())


# -- the assertion -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "algorithm"), [(EC, "ES384"), (RSA, "RS384")], ids=["ES384", "RS384"])
async def test_the_assertion_is_as_smart_wants_it(
    clock: Clock, patient: respx.Route, tokens: respx.Route, key: ECKey | RSAKey, algorithm: str
) -> None:
    await get(auth(clock, signing(key, algorithm)))
    sent = form(tokens.calls.last)
    assertion = sent.pop("client_assertion")
    assert sent == {
        "grant_type": "client_credentials",
        "scope": "system/*.rs",
        "client_assertion_type": ASSERTION_TYPE,
    }
    public = PrivateKeys.read(pem(key)).public()
    read = jwt.decode(assertion, KeySet.import_key_set(public), algorithms=[algorithm])
    assert read.header == {"alg": algorithm, "typ": "JWT", "kid": key.thumbprint()}
    jti = read.claims.pop("jti")
    assert len(jti) >= 32
    assert read.claims == {"iss": "bhi", "sub": "bhi", "aud": TOKEN_URL, "exp": NOW + ASSERTION_S}
    assert ASSERTION_S <= 300
    assert tokens.calls.last.request.headers["accept"] == "application/json"
    assert patient.calls.last.request.headers["authorization"] == "Bearer T1"


def test_no_assertion_is_like_another() -> None:
    one, other = (signing().sign(TOKEN_URL, frozenset())[1]["client_assertion"] for _ in range(2))
    keys = KeySet.import_key_set(PrivateKeys.read(pem(EC)).public())
    jtis = {jwt.decode(text, keys, algorithms=["ES384"]).claims["jti"] for text in (one, other)}
    assert len(jtis) == 2


async def test_a_client_secret_goes_by_basic(clock: Clock, patient: respx.Route, tokens: respx.Route) -> None:
    await get(auth(clock, ClientSecret("b:h", "s%c")))
    assert tokens.calls.last.request.headers["authorization"] == "Basic YiUzQWg6cyUyNWM="
    assert form(tokens.calls.last) == {"grant_type": "client_credentials", "scope": "system/*.rs"}


@pytest.mark.parametrize(
    ("methods", "in_form"),
    [(["client_secret_post"], True), (["client_secret_post", "client_secret_basic"], False), ([], False), ([7], False)],
)
async def test_a_client_secret_goes_in_the_form_only_where_nothing_else_is_advertised(
    clock: Clock,
    patient: respx.Route,
    tokens: respx.Route,
    respx_mock: respx.MockRouter,
    methods: list[Any],
    in_form: bool,
) -> None:
    known = {"token_endpoint": TOKEN_URL, "token_endpoint_auth_methods_supported": methods}
    respx_mock.get(CONFIGURATION).respond(200, json=known)
    await get(auth(clock, ClientSecret("bhi", "SECRET"), token_url=""))
    sent = tokens.calls.last
    assert (form(sent).get("client_secret") == "SECRET") == in_form
    assert ("authorization" in sent.request.headers) != in_form


# -- reuse and renewal -------------------------------------------------------------------------------


async def test_a_token_is_used_until_shortly_before_its_end(
    clock: Clock, patient: respx.Route, tokens: respx.Route
) -> None:
    signed = auth(clock)
    for now, asked in [(0, 1), (269, 1), (271, 2), (500, 2)]:
        clock.now = now
        await get(signed)
        assert tokens.call_count == asked


@pytest.mark.parametrize(
    ("said", "lives"),
    [
        ("600", 600),
        (20, 20),
        (None, 60),
        (0, 60),
        (-5, 60),
        ("soon", 60),
        (True, 60),
        ([], 60),
        ("nan", 60),
        (10**400, 60),
        (1e300, 86400),
    ],
)
async def test_a_lifetime_that_is_missing_or_nonsense_is_a_short_one(
    clock: Clock, patient: respx.Route, tokens: respx.Route, said: object, lives: float
) -> None:
    tokens.respond(200, json=token(expires_in=said))
    signed = auth(clock)
    margin = min(30, lives / 2)
    for now, asked in [(0, 1), (lives - margin - 1, 1), (lives - margin + 1, 2)]:
        clock.now = now
        await get(signed)
        assert tokens.call_count == asked


async def test_many_requests_at_once_make_one_token_request(
    clock: Clock, patient: respx.Route, tokens: respx.Route
) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        return httpx.Response(200, json=token())

    tokens.mock(side_effect=slow)
    async with client(auth(clock)) as asking:
        await asyncio.gather(*(asking.ask("GET", "Patient/maria") for _ in range(50)))
    assert (tokens.call_count, patient.call_count) == (1, 50)


async def test_a_request_that_is_given_up_does_not_take_the_token_from_the_others(
    clock: Clock, patient: respx.Route, tokens: respx.Route
) -> None:
    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        return httpx.Response(200, json=token())

    tokens.mock(side_effect=slow)
    async with client(auth(clock)) as asking:
        first, second = (asyncio.create_task(asking.ask("GET", "Patient/maria")) for _ in range(2))
        await asyncio.sleep(0.001)
        first.cancel()
        assert (await second).status == 200
    assert tokens.call_count == 1


async def test_a_refused_token_is_renewed_once_and_never_more(
    clock: Clock, patient: respx.Route, tokens: respx.Route
) -> None:
    tokens.side_effect = [httpx.Response(200, json=token("T1")), httpx.Response(200, json=token("T2"))]
    patient.side_effect = [httpx.Response(401), httpx.Response(200, json=PATIENT)]
    signed = auth(clock)
    await get(signed)
    assert [call.request.headers["authorization"] for call in patient.calls] == ["Bearer T1", "Bearer T2"]
    patient.side_effect = None
    patient.respond(401)
    tokens.side_effect = None
    with pytest.raises(Refused, match="401"):
        await get(signed)
    assert (patient.call_count, tokens.call_count) == (4, 3)


async def test_many_requests_that_are_refused_at_once_renew_the_token_once(
    clock: Clock, patient: respx.Route, tokens: respx.Route
) -> None:
    tokens.side_effect = [httpx.Response(200, json=token(f"T{n}")) for n in (1, 2)]
    patient.mock(
        side_effect=lambda request: httpx.Response(
            200 if request.headers["authorization"] == "Bearer T2" else 401, json=PATIENT
        )
    )
    async with client(auth(clock)) as asking:
        await asyncio.gather(*(asking.ask("GET", "Patient/maria") for _ in range(20)))
    assert tokens.call_count == 2


async def test_a_write_is_sent_again_after_a_401_because_it_was_not_carried_out(
    clock: Clock, tokens: respx.Route, respx_mock: respx.MockRouter
) -> None:
    claim = respx_mock.put(f"{BASE}/Claim/c")
    claim.side_effect = [httpx.Response(401), httpx.Response(201)]
    async with client(auth(clock)) as asking:
        assert (await put_own_id(asking, "Claim/c", {"resourceType": "Claim"})).status == 201
    assert [call.request.content for call in claim.calls] == [b'{"resourceType":"Claim"}'] * 2


# -- where the token comes from ----------------------------------------------------------------------


async def test_the_token_endpoint_is_what_the_server_names_below_its_base(
    clock: Clock, patient: respx.Route, tokens: respx.Route, respx_mock: respx.MockRouter
) -> None:
    known = respx_mock.get(CONFIGURATION).respond(200, json={"token_endpoint": TOKEN_URL, "issuer": 7})
    signed = auth(clock, token_url="")
    await get(signed)
    clock.now = 1000
    await get(signed)
    assert (known.call_count, tokens.call_count) == (1, 2)
    assert "authorization" not in known.calls.last.request.headers


async def test_a_token_endpoint_at_an_alias_is_home(
    clock: Clock, patient: respx.Route, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(CONFIGURATION).respond(200, json={"token_endpoint": "https://public.example/token"})
    tokens = respx_mock.post("https://public.example/token").respond(200, json=token())
    await get(auth(clock, token_url="", aliases=("https://public.example",)))
    assert tokens.called


async def test_a_token_endpoint_elsewhere_is_asked_only_if_the_site_names_it(
    clock: Clock, patient: respx.Route, respx_mock: respx.MockRouter
) -> None:
    elsewhere = "https://sign-in.example/token"
    respx_mock.get(CONFIGURATION).respond(200, json={"token_endpoint": elsewhere})
    with pytest.raises(Unreachable, match=r"on another host, sign-in\.example.*\[fhir\.auth\] token_url") as caught:
        await get(auth(clock, token_url=""))
    assert (caught.value.sent, patient.called) == (False, False)
    tokens = respx_mock.post(elsewhere).respond(200, json=token())
    await get(auth(clock, token_url=elsewhere))
    assert tokens.called


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(404), "no smart-configuration"),
        (httpx.Response(302, headers={"Location": "https://evil.example"}), "no smart-configuration"),
        (httpx.Response(200, text="<html>SECRET</html>"), "not readable JSON"),
        (httpx.Response(200, text="[" * 100_000), "not readable JSON"),
        (httpx.Response(200, json={"token_endpoint": 7}), "not readable JSON"),
        (httpx.Response(200, json={}), "no plain https token_endpoint"),
        (httpx.Response(200, json={"token_endpoint": "http://ehr.example/token"}), "no plain https"),
        (httpx.Response(200, json={"token_endpoint": "https://a@ehr.example/token"}), "no plain https"),
        (httpx.Response(200, json={"token_endpoint": "https://ehr.example@evil.example/"}), "no plain https"),
        (httpx.Response(200, json={"token_endpoint": "https://ehr.example:444/token"}), "on another host"),
        (httpx.Response(200, json={"token_endpoint": "https://ehr.example.evil.example/"}), "on another host"),
        (httpx.Response(200, content=b" " * 2**20), "more than"),
    ],
)
async def test_a_smart_configuration_that_cannot_be_used_ends_in_one_sentence(
    clock: Clock, respx_mock: respx.MockRouter, answer: httpx.Response, said: str
) -> None:
    asked = respx_mock.get(CONFIGURATION).mock(return_value=answer)
    with pytest.raises(Unreachable, match=f"^No access token: .*{said}") as caught:
        await get(auth(clock, token_url=""))
    assert (caught.value.sent, caught.value.passing, asked.call_count) == (False, False, 1)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://sign-in.example/token", "https://u:p@sign-in.example/", "sign-in.example", "https://a/?x=1", "ftp://a/"],
)
def test_a_token_url_that_is_no_plain_https_address_is_refused(clock: Clock, url: str) -> None:
    with pytest.raises(UsageError, match=r"\[fhir\.auth\] token_url"):
        auth(clock, token_url=url)


HOSTILE = {
    "HTML": (httpx.Response(200, text="<html>SECRET</html>"), "not with a token"),
    "nothing": (httpx.Response(200), "not with a token"),
    "deep": (httpx.Response(200, text='{"a":' * 50_000), "not with a token"),
    "no token": (httpx.Response(200, json={"token_type": "bearer"}), "not with a token"),
    "a number": (httpx.Response(200, json=token() | {"access_token": 7}), "not with a token"),
    "a line break": (httpx.Response(200, json=token("SECRET\r\nX: y")), "cannot stand in a header"),
    "a space": (httpx.Response(200, json=token("SEC RET")), "cannot stand in a header"),
    "empty": (httpx.Response(200, json=token("")), "cannot stand in a header"),
    "no ASCII": (httpx.Response(200, json=token("SECRÉT")), "cannot stand in a header"),
    "endless": (httpx.Response(200, json=token("x" * 100_000)), "cannot stand in a header"),
    "another type": (httpx.Response(200, json=token(token_type="mac")), "another kind of token"),
    "type missing": (httpx.Response(200, json={"access_token": "x"}), "not with a token"),
    "redirect": (httpx.Response(307, headers={"Location": "https://evil.example/"}), r"redirects \(307\)"),
    "too large": (httpx.Response(200, content=b" " * 2**20), "more than"),
    "invalid_client": (
        httpx.Response(401, json={"error": "invalid_client", "error_description": "SECRET"}),
        r"refuses \(401, invalid_client\); check \[fhir\.auth\] client_id, and that the server has the public key",
    ),
    "invalid_scope": (httpx.Response(400, json={"error": "invalid_scope"}), r"refuses the scope \(400"),
    "odd error": (httpx.Response(400, json={"error": "SECRET <b>"}), r"refuses \(400\);"),
    "no JSON": (httpx.Response(403, text="SECRET"), r"refuses \(403\);"),
}


@pytest.mark.parametrize(("answer", "said"), HOSTILE.values(), ids=HOSTILE)
async def test_a_token_endpoint_that_gives_no_token_is_one_sentence_and_is_left_alone_for_a_while(
    clock: Clock,
    respx_mock: respx.MockRouter,
    answer: httpx.Response,
    said: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens = respx_mock.post(TOKEN_URL).mock(side_effect=lambda _: answer)
    signed = auth(clock)
    for _ in range(20):
        with pytest.raises(Unreachable, match=f"^No access token: .*{said}") as caught:
            await get(signed)
        assert (caught.value.sent, caught.value.passing) == (False, False)
        assert "SEC" not in str(caught.value) + caplog.text
    assert tokens.call_count == 1
    clock.now += REFUSED_S + 1
    with pytest.raises(Unreachable):
        await get(signed)
    assert tokens.call_count == 2


@pytest.mark.parametrize(
    "trouble",
    [httpx.ConnectError("SECRET"), httpx.ReadTimeout("SECRET"), httpx.Response(503), httpx.Response(429)],
    ids=["no connection", "timeout", "503", "429"],
)
async def test_a_token_endpoint_that_is_in_trouble_is_asked_again_and_nothing_was_sent(
    clock: Clock, patient: respx.Route, tokens: respx.Route, trouble: httpx.Response | Exception
) -> None:
    tokens.side_effect = [trouble, httpx.Response(200, json=token())]
    await get(auth(clock))
    assert (tokens.call_count, patient.call_count) == (2, 1)
    tokens.side_effect = [trouble]
    async with client(auth(clock)) as asking:
        with pytest.raises(Unreachable, match="No access token") as caught:
            await put_own_id(asking, "Claim/c", {"resourceType": "Claim"})
    assert (caught.value.sent, caught.value.passing) == (False, True)
    assert "SECRET" not in str(caught.value)


# -- scopes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "granted", "missing"),
    [
        ("system/*.rs", "system/*.rs", ()),
        ("system/*.rs", None, ()),
        ("system/Encounter.rs system/Claim.cu", "system/*.rs", ("system/Claim.cu",)),
        ("system/Encounter.read", "system/*.rs", ()),
        ("system/Claim.write", "system/Claim.cu", ("system/Claim.write",)),
        ("system/Claim.cu", "system/*.*", ()),
        ("system/Claim.cu", "user/*.*", ("system/Claim.cu",)),
        ("system/Observation.rs", "system/Observation.rs?category=survey", ("system/Observation.rs",)),
        ("system/*.rs", "system/Encounter.rs", ("system/*.rs",)),
        ("a b", "", ("a", "b")),
        ("a", ["a"], ()),
    ],
)
async def test_scopes_that_were_asked_for_and_not_granted_are_known(
    clock: Clock, patient: respx.Route, tokens: respx.Route, asked: str, granted: object, missing: tuple[str, ...]
) -> None:
    tokens.respond(200, json=token(scope=granted))
    signed = auth(clock, scope=asked)
    assert signed.missing_scopes == ()
    await get(signed)
    assert signed.missing_scopes == missing


# -- keys --------------------------------------------------------------------------------------------


def legacy(key: RSAKey) -> str:
    """PKCS#1, as `openssl genrsa -traditional` writes it."""
    assert key.private_key is not None
    return key.private_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    ).decode()


@pytest.mark.parametrize(
    ("text", "key_id", "kid"),
    [
        (pem(EC), "", EC.thumbprint()),
        (pem(RSA).strip(), "", RSA.thumbprint()),
        (legacy(RSA), "", RSA.thumbprint()),
        (pem(EC), "mine", "mine"),
        (jwk(EC), "", EC.thumbprint()),
        (jwk(EC, kid="own"), "", "own"),
        (jwk(EC, kid="own"), "mine", "mine"),
        (json.dumps({"keys": [json.loads(jwk(EC, kid="new")), json.loads(jwk(RSA, kid="old"))]}), "", "new"),
    ],
    ids=["pem", "pem, RSA", "legacy", "pem, named", "jwk", "jwk with kid", "jwk, named", "jwks"],
)
def test_a_key_is_read_in_every_form_and_has_a_kid(text: str, key_id: str, kid: str) -> None:
    assert PrivateKeys.read(text, key_id).keys[0].kid == kid


def test_the_jwks_holds_the_public_parts_of_the_new_and_the_old_key_and_nothing_else() -> None:
    odd = {"note": "SECRET", "kid": "new", "key_ops": ["sign"], "x5u": "https://x"}
    keys = PrivateKeys.read(json.dumps({"keys": [json.loads(jwk(EC, **odd)), json.loads(jwk(RSA))]}))
    [new, old] = keys.public()["keys"]
    assert set(new) == {"kty", "crv", "x", "y", "kid", "alg", "use"}
    assert set(old) == {"kty", "n", "e", "kid", "alg", "use"}
    assert (new["kid"], new["alg"], new["use"]) == ("new", "ES384", "sig")
    assert (old["kid"], old["alg"]) == (RSA.thumbprint(), "RS384")


def locked(key: ECKey) -> str:
    assert key.private_key is not None
    return key.private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    ).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SECRET",
        "{SECRET",
        "{}",
        '{"keys":[]}',
        '{"keys":7}',
        '{"keys":["SECRET"]}',
        '{"kty":"oct","k":"U0VDUkVU"}',
        '{"kty":"EC","crv":"P-384","x":"AA","y":"AA","d":"SECRET"}',
        '{"a":' * 50_000,
        "-----BEGIN PRIVATE KEY-----\nSECRET\n-----END PRIVATE KEY-----",
        EC.as_pem(private=False).decode(),
        json.dumps(EC.as_dict(private=False)),
        locked(EC),
    ],
)
def test_what_is_no_private_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(UsageError, match=r"^\[fhir\.auth\] the") as caught:
        PrivateKeys.read(text)
    assert "SECRET" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "ES384"), (EC, "RS384"), (ECKey.generate_key("P-256"), "ES384")])
def test_a_key_that_does_not_fit_the_algorithm_is_refused(key: ECKey | RSAKey, algorithm: str) -> None:
    with pytest.raises(UsageError, match=rf"algorithm = {algorithm} needs an"):
        signing(key, algorithm)


@pytest.mark.parametrize(
    "make", [lambda: ClientSecret("", "SECRET"), lambda: ClientSecret("a", "SEC\nRET"), lambda: ClientSecret("a", "")]
)
def test_a_client_secret_with_a_line_break_is_refused(make: Callable[[], ClientSecret]) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert "SEC" not in str(caught.value)


async def test_neither_secret_nor_token_is_in_what_is_shown(
    clock: Clock, patient: respx.Route, tokens: respx.Route, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    tokens.respond(200, json=token("TOKEN"))
    signed = auth(clock, ClientSecret("bhi", "SECRET"))
    await get(signed)
    shown = repr(signed) + repr(vars(signed)) + repr(Connection(BASE, auth=signed)) + caplog.text
    assert "SECRET" not in shown
    assert "TOKEN" not in shown
    assert repr(EC.as_dict(private=True)["d"]) not in repr(PrivateKeys.read(pem(EC)))
