"""The service as a client of an authorization server: what it asks, and what it does not believe."""

from __future__ import annotations

import base64
import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import respx
from joserfc import jwt
from joserfc.jwk import RSAKey
from served import site

from bhi_fhir.errors import Refused, ServerError, SiteError, Unreachable, UsageError
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.settings import Cds, CdsClient, SignIn
from bhi_fhir.web.caseload import Caseload
from bhi_fhir.web.cds_callers import CdsCallers
from bhi_fhir.web.oauth_client import Attempt, Client, SignInRefused

BASE = "https://ehr.example/fhir"
KEY = RSAKey.generate_key(2048, {"kid": "k", "use": "sig", "alg": "RS256"})
CONFIGURATION: dict[str, Any] = {
    "issuer": "https://ehr.example",
    "jwks_uri": "https://ehr.example/jwks",
    "authorization_endpoint": "https://ehr.example/auth",
    "token_endpoint": "https://ehr.example/token",
    "revocation_endpoint": "https://ehr.example/revoke",
    "capabilities": ["permission-v2"],
    "code_challenge_methods_supported": ["S256"],
}
TOKEN = {"access_token": "SECRET-access", "token_type": "Bearer", "expires_in": 300}


def client(**settings: Any) -> Client:
    said = SignIn(**{"client_id": "app", **settings})
    return Client("smart", said, "https://bhi.example/callback", "/.well-known/smart-configuration")


@pytest.fixture
def server() -> Any:
    with respx.mock(assert_all_called=False) as mock:
        mock.get(f"{BASE}/.well-known/smart-configuration").respond(json=CONFIGURATION)
        mock.get("https://ehr.example/jwks").respond(json={"keys": [KEY.as_dict(private=False)]})
        yield mock


async def test_it_asks_with_pkce_state_nonce_and_audience(server: respx.MockRouter) -> None:
    app, attempt = client(), Attempt.new()
    found = await app.server(BASE)
    url = app.authorize_url(found, attempt, "launch openid", aud=BASE, launch="x y")
    asked = {name: value for name, (value,) in parse_qs(urlsplit(url).query).items()}
    digest = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=").decode()
    assert asked == {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": "https://bhi.example/callback",
        "scope": "launch openid",
        "state": attempt.state,
        "nonce": attempt.nonce,
        "code_challenge": digest,
        "code_challenge_method": "S256",
        "aud": BASE,
        "launch": "x y",
    }
    assert len({Attempt.new().state for _ in range(100)}) == 100
    assert len(base64.urlsafe_b64decode(attempt.state + "==")) * 8 >= 122


@pytest.mark.parametrize(
    "endpoint",
    ["authorization_endpoint", "token_endpoint", "revocation_endpoint", "jwks_uri", "end_session_endpoint"],
)
@pytest.mark.parametrize(
    "url",
    ["https://evil.example/x", "http://ehr.example/x", "https://ehr.example@evil.example/x", "https://ehr.example:444/x",
     "https://ehr.example.evil/x", "javascript:alert(1)", "//evil.example/x"],
)  # fmt: skip
async def test_a_configuration_that_leads_elsewhere_is_not_followed(endpoint: str, url: str) -> None:
    with respx.mock as mock:
        mock.get(f"{BASE}/.well-known/smart-configuration").respond(json={**CONFIGURATION, endpoint: url})
        with pytest.raises(SignInRefused):
            await client().server(BASE)


async def test_another_origin_is_right_where_the_site_names_it() -> None:
    there = {**CONFIGURATION, "token_endpoint": "https://login.example/token"}
    with respx.mock as mock:
        mock.get(f"{BASE}/.well-known/smart-configuration").respond(json=there)
        found = await client(auth_origins=["https://login.example"]).server(BASE)
    assert found.token_endpoint == "https://login.example/token"


@pytest.mark.parametrize("change", [{"code_challenge_methods_supported": ["plain"]}, {"token_endpoint": ""}])
async def test_a_server_without_pkce_or_without_a_place_to_sign_in_is_refused(change: dict[str, Any]) -> None:
    with respx.mock as mock:
        mock.get(f"{BASE}/.well-known/smart-configuration").respond(json={**CONFIGURATION, **change})
        with pytest.raises(SignInRefused):
            await client().server(BASE)


async def test_what_a_server_says_of_itself_is_asked_once(server: respx.MockRouter) -> None:
    app = client()
    for _ in range(3):
        await app.server(BASE)
    assert len(server.calls) == 1


async def test_a_public_app_shows_its_id_and_a_confidential_one_its_secret(
    server: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = server.post("https://ehr.example/token").respond(json=TOKEN)
    app = client()
    await app.redeem(await app.server(BASE), "code", "verifier")
    sent = parse_qs(route.calls[0].request.content.decode())
    assert sent["client_id"] == ["app"]
    assert sent["code_verifier"] == ["verifier"]
    assert "authorization" not in route.calls[0].request.headers
    monkeypatch.setenv("APP", "SECRET-app")
    app = client(auth="client_secret", secret_env="APP")
    await app.redeem(await app.server(BASE), "code", "verifier")
    assert route.calls[1].request.headers["authorization"].startswith("Basic ")
    assert b"SECRET" not in route.calls[1].request.content


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, {"error": "invalid_grant", "error_description": "SECRET"}, SignInRefused),
        (401, {"error": "<script>"}, SignInRefused),
        (503, {}, Unreachable),
        (200, {"access_token": "a", "token_type": "mac"}, SignInRefused),
        (200, {"access_token": "a\nb", "token_type": "bearer"}, SignInRefused),
        (200, {"token_type": "bearer"}, SignInRefused),
        (302, {}, SignInRefused),
    ],
)
async def test_what_is_no_token_is_an_error_that_repeats_nothing(
    server: respx.MockRouter, status: int, body: dict[str, str], error: type[Exception]
) -> None:
    server.post("https://ehr.example/token").respond(status, json=body)
    app = client()
    with pytest.raises(error) as raised:
        await app.redeem(await app.server(BASE), "SECRET-code", "SECRET-verifier")
    assert "SECRET" not in str(raised.value)
    assert "script" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "life"), [(300, 300), ("60", 60), (None, 300), ("x", 300), (-5, 0), (10**9, 8 * 3600)]
)
async def test_the_life_of_a_token_is_bounded(server: respx.MockRouter, said: Any, life: float) -> None:
    server.post("https://ehr.example/token").respond(json={**TOKEN, "expires_in": said})
    app = client()
    assert (await app.redeem(await app.server(BASE), "code", "v")).life_s == life


def id_token(**change: Any) -> str:
    now = int(time.time())
    claims = {"iss": "https://ehr.example", "aud": "app", "sub": "me", "iat": now, "exp": now + 60, "nonce": "n"}
    said = {name: value for name, value in {**claims, **change}.items() if value is not None}
    return jwt.encode({"alg": "RS256", "kid": "k"}, said, KEY, algorithms=["RS256"])


async def test_an_id_token_says_who_it_is(server: respx.MockRouter) -> None:
    app = client()
    found = await app.claims(await app.server(BASE), id_token(fhirUser="Practitioner/1"), "n")
    assert (found["sub"], found["fhirUser"]) == ("me", "Practitioner/1")


@pytest.mark.parametrize(
    "change",
    [{"nonce": "other"}, {"nonce": None}, {"aud": "other"}, {"iss": "https://evil.example"}, {"sub": None},
     {"exp": 1}, {"aud": ["app", "other"]}, {"aud": ["app", "other"], "azp": "other"}],
    ids=str,
)  # fmt: skip
async def test_an_id_token_of_another_sign_in_server_or_client_does_not_count(
    server: respx.MockRouter, change: dict[str, Any]
) -> None:
    app = client()
    with pytest.raises(SignInRefused):
        await app.claims(await app.server(BASE), id_token(**change), "n")


async def test_no_connection_and_no_configuration_are_errors_of_the_server() -> None:
    with respx.mock as mock:
        mock.get(f"{BASE}/.well-known/smart-configuration").mock(side_effect=httpx.ConnectError("SECRET"))
        with pytest.raises(ServerError):
            await client().server(BASE)
        mock.get(f"{BASE}/.well-known/smart-configuration").respond(404)
        with pytest.raises(Refused):
            await client().server(BASE)


@pytest.mark.parametrize(
    "settings",
    [{"client_id": ""}, {"auth_origins": ["https://x.example/path"]}, {"auth_origins": ["http://x.example"]},
     {"auth": "client_secret"}, {"auth": "client_secret", "secret_file": "/nowhere/else"}],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_used_is_said_with_its_key(settings: dict[str, Any]) -> None:
    with pytest.raises(SiteError, match=r"^smart[.:]"):
        client(**settings)


@pytest.mark.parametrize(
    ("auth", "secret", "said"),
    [("private_key_jwt", "nonsense", "the private key is no readable PEM"),
     ("client_secret", "SEC\nRET", "client_secret: client_id or secret")],
)  # fmt: skip
def test_a_bad_credential_is_said_with_the_table_that_it_stands_in(
    monkeypatch: pytest.MonkeyPatch, auth: str, secret: str, said: str
) -> None:
    monkeypatch.setenv("KEY", secret)
    with pytest.raises(UsageError) as raised:
        client(auth=auth, secret_env="KEY")
    assert str(raised.value).startswith(f"[smart] {said}")


def test_a_bad_address_of_an_ehrs_keys_is_said_with_its_table() -> None:
    with pytest.raises(SiteError, match=r"^\[\[cds.clients\]\] jwks_url: "):
        CdsCallers(Cds(clients=[CdsClient(iss="https://a.example", jwks_url="http://a.example/jwks")]), Any)  # type: ignore[arg-type]


OPENID = "/.well-known/openid-configuration"


def hospital(issuer: str) -> Client:
    return Client("caseload", SignIn(client_id="list"), "https://bhi.example/caseload/callback", OPENID, issuer)


@pytest.mark.parametrize("named", ["https://login.example/OTHER-TENANT", "https://login.example", ""])
async def test_the_hospitals_sign_in_is_that_of_the_issuer_and_no_other(named: str) -> None:
    there = {name: url.replace("ehr.example", "login.example") if isinstance(url, str) else url
             for name, url in CONFIGURATION.items()}  # fmt: skip
    with respx.mock as mock:
        mock.get(f"https://login.example/mine{OPENID}").respond(json={**there, "issuer": named})
        with pytest.raises(SignInRefused, match="of another issuer"):
            await hospital("https://login.example/mine").server("https://login.example/mine")
        mock.get(f"https://login.example/mine{OPENID}").respond(json={**there, "issuer": "https://login.example/mine"})
        assert await hospital("https://login.example/mine/").server("https://login.example/mine")


@pytest.mark.parametrize("issuer", ["http://localhost.evil.example", "http://login.example", "https://a@b.example"])
def test_the_hospitals_sign_in_is_by_https_or_on_this_machine(tmp_path: Path, issuer: str) -> None:
    extra = f'[serve]\npublic_url = "https://bhi.example"\n[caseload]\nissuer = "{issuer}"\nclient_id = "x"'
    desk = Desk.open(site(tmp_path, extra), "2026-09")
    with pytest.raises(SiteError, match=r"^caseload.issuer: give the https address"):
        Caseload.of(desk, Any, Any, Any)  # type: ignore[arg-type]
