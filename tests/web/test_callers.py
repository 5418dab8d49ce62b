"""Who may call, and what: tokens, keys, certificates, rates; and that nothing starts open by accident."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Response
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, RSAKey
from make_examples import MONTH
from served import running, served, site

from bhi_fhir.errors import SiteError, UsageError
from bhi_fhir.fhir.scopes import Scopes
from bhi_fhir.settings import Site
from bhi_fhir.site_file import load_site, site_of
from bhi_fhir.web.callers import WHOLE_RECORD, Callers
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.serve import may_start
from bhi_fhir.web.tokens import PublicKeys

ISSUER, AUDIENCE = "https://auth.example.org", "https://bhi.example.org/fhir"
EC = ECKey.generate_key("P-384", {"kid": "ec", "use": "sig", "alg": "ES384"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa", "use": "sig"})
STRANGER = ECKey.generate_key("P-384", {"kid": "ec"})
LATER = ECKey.generate_key("P-384", {"kid": "later"})
SECRET = OctKey.import_key(json.dumps(RSA.as_dict(private=False), sort_keys=True), {"kid": "rsa"})
API_KEY = "an-api-key-of-more-than-thirty-two-characters"
ALL = "system/*.rs"


class Issuer:
    """An authorization server that only publishes keys. `asked`: how often."""

    def __init__(self) -> None:
        self.keys: list[Any] = [EC, RSA]
        self.asked = 0
        self.app = FastAPI()
        self.app.get("/jwks.json")(self.jwks)

    async def jwks(self) -> Response:
        self.asked += 1
        listed = [key.as_dict(private=False) for key in self.keys] + [SECRET.as_dict(private=True), {"kty": "new"}]
        return Response(json.dumps({"keys": listed}), media_type="application/json")


@pytest.fixture(scope="module")
def issuer() -> Iterator[tuple[Issuer, str]]:
    known = Issuer()
    with running(known.app) as client:
        yield (
            known,
            f"{client.base_url}jwks.json" if str(client.base_url).endswith("/") else f"{client.base_url}/jwks.json",
        )


@pytest.fixture(scope="module")
def guarded(issuer: tuple[Issuer, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "engine.sha256").write_text(f"{sha256(API_KEY.encode()).hexdigest()}  -\n")
    extra = f"""
[serve]
public_url = "https://bhi.example.org"
certificate_header = "X-Client-Subject"
certificate_proxies = ["127.0.0.1"]
[serve.jwt]
issuer = "{ISSUER}"
jwks_url = "{issuer[1]}"
[serve.callers.engine]
scope = "system/Patient.r"
key_file = "engine.sha256"
[serve.callers.proxied]
scope = "{ALL}"
certificate = "CN=engine,O=Hospital"
"""
    with served(folder, extra, is_open=False) as client:
        yield client


def token(key: Any = EC, alg: str = "ES384", header: dict[str, Any] | None = None, **claims: Any) -> str:
    now = int(time.time())
    said = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "client_id": "engine",
        "exp": now + 3600,
        "iat": now,
        "scope": ALL,
        **claims,
    }
    said = {name: value for name, value in said.items() if value is not None}
    return jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, said, key, algorithms=[alg])


def half_a_character() -> str:
    """JSON may write one half of a pair, which is no text."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "client_id": "\ud800", "exp": int(time.time()) + 3600, "scope": ALL}
    header = {"alg": "ES384", "kid": EC.kid}
    return jws.serialize_compact(header, json.dumps(claims).encode(), EC, algorithms=["ES384"])


def ask(client: httpx.Client, **headers: str) -> httpx.Response:
    """Whoever is let in is told that there is no month."""
    return client.post("/fhir/$evaluate-bhi", content=b"{}", headers={"content-type": "application/json", **headers})


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


@pytest.mark.parametrize(
    "text",
    [token(), token(RSA, "RS384"), token(aud=["other", AUDIENCE]), token(scope="system/Patient.r"),
     token(scope="system/*.read"), token(scope=["openid", "system/Patient.cruds"]), token(client_id=None, sub="e")],
    ids=["ES384", "RS384", "one of several audiences", "the least scope", "SMART v1", "a list", "by sub"],
)  # fmt: skip
def test_a_token_of_the_issuer_is_let_in(guarded: httpx.Client, text: str) -> None:
    assert ask(guarded, **bearer(text)).status_code == 400


def unsigned() -> str:
    _, body, _ = token().split(".")
    none = base64.urlsafe_b64encode(json.dumps({"alg": "none", "kid": "ec"}).encode()).decode().rstrip("=")
    return f"{none}.{body}."


def tampered() -> str:
    head, body, sign = token(scope="").split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**claims, "scope": ALL}).encode()).decode().rstrip("=")
    return f"{head}.{forged}.{sign}"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(unsigned(), id="alg none"),
        pytest.param(token(SECRET, "HS256"), id="the public key as a secret"),
        pytest.param(tampered(), id="claims changed"),
        pytest.param(token(STRANGER), id="another key under a known kid"),
        pytest.param(token(header={"kid": "unknown"}), id="unknown kid"),
        pytest.param(token(header={"kid": "rsa"}), id="a kid of another kind of key"),
        pytest.param(token(RSA, "RS256", {"kid": "ec"}), id="an algorithm that is not the key's"),
        pytest.param(token(STRANGER, header={"jwk": STRANGER.as_dict(private=False)}), id="its own key in the header"),
        pytest.param(token(STRANGER, header={"jku": "http://127.0.0.1:9/jwks.json"}), id="its own address of keys"),
        pytest.param(token(RSA, "RS512"), id="an algorithm that is not configured"),
        pytest.param(token(iss="https://evil.example"), id="another issuer"),
        pytest.param(token(iss=None), id="no issuer"),
        pytest.param(token(aud="https://elsewhere.example"), id="another audience"),
        pytest.param(token(aud=None), id="no audience"),
        pytest.param(token(exp=int(time.time()) - 3600), id="expired"),
        pytest.param(token(exp=None), id="without end"),
        pytest.param(token(nbf=int(time.time()) + 3600), id="not yet valid"),
        pytest.param(token(exp="soon"), id="an end that is no time"),
        pytest.param(token(exp=float("nan")), id="an end that never comes"),
        pytest.param(token(exp=float("inf")), id="no end at all"),
        pytest.param(half_a_character(), id="half a character"),
        pytest.param(token(client_id=None), id="no client"),
        pytest.param("a.b.c", id="no JWT"),
        pytest.param("x" * 20_000, id="very long"),
    ],
)
def test_a_token_that_does_not_count_is_refused(guarded: httpx.Client, text: str) -> None:
    answer = ask(guarded, **bearer(text))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json()["issue"][0]["code"] == "login"
    assert text not in answer.text


@pytest.mark.parametrize(
    "scope",
    ["", "openid", "user/*.cruds", "patient/Patient.r", "system/Encounter.rs", "system/Patient.s",
     "system/Patient.r?_security=N", "system/Patient.dus"],
)  # fmt: skip
def test_a_scope_that_does_not_cover_is_forbidden(guarded: httpx.Client, scope: str) -> None:
    answer = ask(guarded, **bearer(token(scope=scope)))
    assert answer.status_code == 403
    assert 'scope="system/Patient.r"' in answer.headers["www-authenticate"]


def test_the_sites_own_record_wants_reading_of_all_that_it_is_made_of(guarded: httpx.Client) -> None:
    path = f"/fhir/Patient/maria/$evaluate-bhi?month={MONTH}"
    assert guarded.post(path, headers={"x-api-key": API_KEY}).status_code == 403
    assert guarded.post(path, headers=bearer(token(scope="system/Patient.rs system/Encounter.rs"))).status_code == 403
    let_in = guarded.post(path, headers=bearer(token(scope=" ".join(WHOLE_RECORD))))
    assert let_in.status_code == 500  # the site has no server
    assert "its log says why" in let_in.text


def test_an_unknown_key_is_fetched_once_and_then_not_again_so_soon(issuer: tuple[Issuer, str]) -> None:
    import asyncio

    known, url = issuer
    now = [1000.0]
    keys = PublicKeys(url, "[serve.jwt] jwks_url", clock=lambda: now[0])

    async def play() -> None:
        began = known.asked
        assert await keys.find("ec") is not None
        assert await keys.find("later") is None  # fetched a moment ago
        assert known.asked == began + 1
        now[0] += 31
        known.keys.append(LATER)
        found = await asyncio.gather(*(keys.find("later") for _ in range(20)))
        assert all(found)
        assert known.asked == began + 2
        known.keys.remove(LATER)
        now[0] += 3601
        assert await keys.find("later") is None
        assert known.asked == began + 3

    asyncio.run(play())


def test_without_the_issuers_keys_nobody_is_let_in(tmp_path: Path) -> None:
    extra = f'[serve.jwt]\nissuer = "{ISSUER}"\naudience = "{AUDIENCE}"\njwks_url = "http://127.0.0.1:9/jwks.json"\n'
    with served(tmp_path, extra, is_open=False) as client:
        answer = ask(client, **bearer(token()))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")


def test_an_api_key_is_known_by_its_hash(guarded: httpx.Client) -> None:
    assert ask(guarded, **{"x-api-key": API_KEY}).status_code == 400
    assert ask(guarded, **{"x-api-key": API_KEY + "x"}).status_code == 401
    assert ask(guarded, **{"x-api-key": sha256(API_KEY.encode()).hexdigest()}).status_code == 401
    assert ask(guarded).status_code == 401
    assert ask(guarded, authorization="Basic ZW5naW5lOnNlY3JldA==").status_code == 401


def test_a_certificate_is_known_by_the_name_that_the_proxy_tells(guarded: httpx.Client) -> None:
    assert ask(guarded, **{"x-client-subject": "CN=engine,O=Hospital"}).status_code == 400
    assert ask(guarded, **{"x-client-subject": "CN=other,O=Hospital"}).status_code == 401
    assert ask(guarded, **{"x-client-subject": "*"}).status_code == 401


def test_a_certificate_that_somebody_else_than_the_proxy_tells_counts_nothing(tmp_path: Path) -> None:
    extra = """
[serve]
certificate_header = "X-Client-Subject"
certificate_proxies = ["192.0.2.7"]
[serve.callers.proxied]
scope = "system/*.rs"
certificate = "CN=engine"
"""
    with served(tmp_path, extra, is_open=False) as client:
        assert ask(client, **{"x-client-subject": "CN=engine"}).status_code == 401
        assert ask(client, **{"x-client-subject": "CN=engine", "x-forwarded-for": "192.0.2.7"}).status_code == 401


@pytest.mark.parametrize(("tells", "status"), [("127.0.0.1", 400), ("192.0.2.7", 401)])
def test_who_tells_the_certificate_is_who_connects_and_not_who_is_forwarded(
    tmp_path: Path, tells: str, status: int
) -> None:
    extra = f"""
[serve]
forwarded_proxies = ["127.0.0.1"]
certificate_header = "X-Client-Subject"
certificate_proxies = ["{tells}"]
[serve.callers.proxied]
scope = "system/*.rs"
certificate = "CN=engine"
"""
    with served(tmp_path, extra, is_open=False) as client:
        answer = ask(client, **{"x-client-subject": "CN=engine", "x-forwarded-for": "192.0.2.7"})
        assert answer.status_code == status


def test_who_calls_too_often_waits_and_the_others_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "another-api-key-of-more-than-thirty-two-characters"
    monkeypatch.setenv("KEY_A", sha256(API_KEY.encode()).hexdigest())
    monkeypatch.setenv("KEY_B", sha256(other.encode()).hexdigest())
    extra = """
[serve]
requests_per_minute = 6
[serve.callers.a]
scope = "system/Patient.r"
key_env = "KEY_A"
[serve.callers.b]
scope = "system/Patient.r"
key_env = "KEY_B"
"""
    with served(tmp_path, extra, is_open=False) as client:
        statuses = [ask(client, **{"x-api-key": API_KEY}) for _ in range(4)]
        assert [answer.status_code for answer in statuses] == [400, 400, 400, 429]
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 10
        assert ask(client, **{"x-api-key": other}).status_code == 400


@pytest.mark.parametrize(
    ("granted", "wanted", "covers"),
    [("system/*.cruds", "system/Patient.rs", True), ("system/Patient.r system/*.s", "system/Patient.rs", True),
     ("system/Patient.r", "system/Patient.rs", False), ("system/Patient.write", "system/Patient.c", True),
     ("system/Patient.sr", "system/Patient.r", False), ("", "system/Patient.r", False)],
)  # fmt: skip
def test_scopes_cover_what_their_letters_say(granted: str, wanted: str, covers: bool) -> None:
    assert Scopes.read(granted).cover(Scopes.read(wanted)) is covers


# -- starting -------------------------------------------------------------------------------------------


def settled(**more: Any) -> Site:
    return site_of({"name": "x", "time_zone": "America/Chicago", **more})


def test_nothing_starts_open_by_accident() -> None:
    nobody, loopback = settled(), settled(serve={"open_on_loopback": True})
    somebody = settled(serve={"jwt": {"issuer": ISSUER}})
    assert may_start(nobody, "127.0.0.1", is_open=True)
    assert may_start(loopback, "::1", is_open=False)
    assert may_start(somebody, "0.0.0.0", is_open=False) is False
    for settings, host, is_open in [
        (nobody, "127.0.0.1", False),
        (nobody, "0.0.0.0", True),
        (loopback, "10.0.0.1", True),
        (loopback, "bhi.example.org", True),
        (somebody, "127.0.0.1", True),
    ]:
        with pytest.raises(UsageError):
            may_start(settings, host, is_open=is_open)


DOORS = {
    "smart": {"client_id": "bhi"},
    "caseload": {"issuer": "https://login.example.org"},
    "cds": {"clients": [{"iss": "https://ehr.example.org", "jwks_url": "https://ehr.example.org/jwks.json"}]},
}


@pytest.mark.parametrize("name", DOORS)
def test_a_door_that_asks_by_itself_who_comes_may_stand_on_any_host(name: str) -> None:
    alone = settled(**{name: DOORS[name]})
    assert may_start(alone, "0.0.0.0", is_open=False) is False
    assert may_start(alone, "127.0.0.1", is_open=False) is False
    assert may_start(alone, "127.0.0.1", is_open=True) is True
    with pytest.raises(UsageError):
        may_start(alone, "0.0.0.0", is_open=True)
    local = settled(serve={"open_on_loopback": True}, **{name: DOORS[name]})
    assert may_start(local, "localhost", is_open=False) is True
    assert may_start(local, "0.0.0.0", is_open=False) is False


def test_without_callers_nobody_calls_beside_the_doors(tmp_path: Path) -> None:
    extra = '[serve]\npublic_url = "https://bhi.example.org"\n[smart]\nclient_id = "bhi"'
    with served(tmp_path, extra, "https://ehr.example.org/fhir", is_open=False) as client:
        body = {"resourceType": "Bundle", "type": "collection"}
        for headers in ({}, {"authorization": "Bearer x.y.z"}, {"x-api-key": API_KEY}):
            for path in ("$evaluate-bhi", "Patient/1/$evaluate-bhi"):
                answer = client.post(f"/fhir/{path}?month={MONTH}", json=body, headers=headers)
                assert (answer.status_code, answer.json()["resourceType"]) == (401, "OperationOutcome")
        assert client.get("/healthz").status_code == 200


def test_an_open_service_answers_only_to_the_name_of_this_machine(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert client.get("/healthz", headers={"host": "localhost:8080"}).status_code == 200
        assert client.get("/healthz", headers={"host": "[::1]:8080"}).status_code == 200
        assert client.get("/healthz", headers={"host": "rebound.example"}).status_code == 421


@pytest.mark.parametrize(
    ("extra", "named"),
    [
        ('[serve.jwt]\nissuer = "x"', "audience"),
        ('[serve.jwt]\nissuer = "x"\naudience = "y"', "jwks_url"),
        ('[serve.jwt]\nissuer = "x"\naudience = "y"\njwks_url = "http://auth.example/jwks"', "jwks_url"),
        ('[serve.jwt]\njwks_url = "https://auth.example/jwks"', "issuer"),
        ('[serve.jwt]\nalgorithms = ["HS256"]', "algorithms"),
        ('[serve.callers.a]\nscope = "system/*.rs"', "serve.callers.a"),
        (
            '[serve.callers.a]\nkey_env = "NOT_SET"',
            "a.key_env: the environment variable NOT_SET is not set",
        ),
        ('[serve.callers.a]\nkey_env = "SET"\nscope = "system/Patient.r blah"', "serve.callers.a.scope"),
        ('[serve.callers.a]\nkey_file = "missing"', "serve.callers.a"),
        ('[serve.callers.a]\ncertificate = "CN=a"', "certificate_header"),
        ('[serve.callers.a]\ncertificate = "*"', "client_ca"),
        ('[serve]\ncertificate_proxies = ["proxy.example"]', "certificate_proxies"),
        ('[serve]\nforwarded_proxies = ["proxy.example"]', "forwarded_proxies"),
        ('[serve]\nforwarded_proxies = ["*"]', "forwarded_proxies"),
        ('[serve]\nforwarded_proxies = ["10.0.0.1/8"]', "forwarded_proxies"),
    ],
)
def test_what_cannot_be_used_is_said_by_its_key(tmp_path: Path, extra: str, named: str) -> None:
    with pytest.raises(SiteError) as refused:
        Callers.of(load_site(site(tmp_path, extra)), tmp_path, Rates(0))
    assert named in str(refused.value)


def test_a_tokens_client_and_a_caller_of_the_same_name_are_two(issuer: tuple[Issuer, str], tmp_path: Path) -> None:
    """They have a rate each, and the log tells them apart."""
    digest = sha256(API_KEY.encode()).hexdigest()
    (tmp_path / "engine.sha256").write_text(digest)
    extra = f"""
[serve]
requests_per_minute = 2
[serve.jwt]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
jwks_url = "{issuer[1]}"
[serve.callers.engine]
scope = "{ALL}"
key_file = "engine.sha256"
"""
    with served(tmp_path, extra, is_open=False) as client:
        asked = [{"x-api-key": API_KEY}, {"x-api-key": API_KEY}, bearer(token()), bearer(token())]
        assert [ask(client, **each).status_code for each in asked] == [400, 429, 400, 429]
