"""SMART Backend Services: an access token for the FHIR server, by a signed assertion or a client secret.

The assertion is signed by joserfc, the JOSE library of Authlib's maintainers. Authlib's own client is not used: its
httpx half warns that httpx is deprecated for httpx2, its assertions live an hour where SMART allows five minutes, it
fetches the first token once for each request that waits, and it believes whatever the token endpoint answers.

Everything that goes wrong here is an Unreachable that was not sent: without a token no request leaves.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import secrets
import ssl
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import httpx
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from bhi_fhir.errors import Unreachable, UsageError
from bhi_fhir.fhir.exchange import error_code, exchange
from bhi_fhir.fhir.gate import Gate, is_safe
from bhi_fhir.fhir.scopes import covers
from bhi_fhir.views.common import UNREADABLE

BACKEND = "[fhir.auth]"
"""The table of site.toml whose credential this is, where no other is named."""

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_S = 240
"""SMART: at most five minutes; one is left for clocks that differ."""

UNSAID_S = 60.0
"""How long a token is used whose lifetime the server does not say, or says as nonsense."""

REFUSED_S = 30.0
"""How long the token endpoint is not asked again after it said no."""

LONGEST_S = 24 * 3600.0
MARGIN_S = 30.0
DEADLINE_S = 30.0
_PUBLIC = frozenset({"kty", "crv", "x", "y", "n", "e", "kid", "alg", "use"})
_TOKEN = re.compile(r"[!-~]{1,16000}")

# -- the client's own credential ---------------------------------------------------------------------


class Credential(Protocol):
    """How the client shows the token endpoint who it is."""

    def sign(self, token_url: str, methods: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
        """Headers and form fields. `methods`: what the server advertises; empty is unknown."""

    @property
    def advice(self) -> str:
        """What to check when the server does not accept it."""


class ClientSecret:
    """A shared secret: by HTTP Basic, or in the form where the server advertises only that.

    `table`: where in site.toml it is set up. Raises UsageError if a part is empty or holds a line break.
    """

    def __init__(self, client_id: str, secret: str, table: str = BACKEND) -> None:
        if not client_id or not secret or not (client_id + secret).isprintable():
            raise UsageError(f"{table} client_secret: client_id or secret is empty or holds a line break.")
        self.advice = f"check {table} client_id and the secret"
        self._client_id = client_id
        self._secret = secret

    def sign(self, token_url: str, methods: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
        if "client_secret_post" in methods and "client_secret_basic" not in methods:
            return {}, {"client_id": self._client_id, "client_secret": self._secret}
        # RFC 6749 2.3.1 encodes both before they are joined by the colon.
        pair = httpx.BasicAuth(quote(self._client_id, safe=""), quote(self._secret, safe=""))
        return {"Authorization": next(pair.auth_flow(httpx.Request("POST", token_url))).headers["Authorization"]}, {}


class PrivateKey:
    """A key of which the server has the public half. The first key of `keys` signs.

    `algorithm`: ES384 or RS384. Raises UsageError if the key does not fit it.
    """

    def __init__(
        self, client_id: str, keys: PrivateKeys, algorithm: str, *, now: Callable[[], float] = time.time
    ) -> None:
        if not client_id or not client_id.isprintable():
            raise UsageError(f"{keys.table} private_key_jwt: client_id is empty or holds a line break.")
        self.advice = f"check {keys.table} client_id, and that the server has the public key of `bhi-fhir jwks`"
        keys.first_signs(algorithm)
        self._client_id = client_id
        self._keys = keys
        self._algorithm = algorithm
        self._now = now

    def sign(self, token_url: str, methods: frozenset[str]) -> tuple[dict[str, str], dict[str, str]]:
        claims = {
            "iss": self._client_id,
            "sub": self._client_id,
            "aud": token_url,
            "exp": int(self._now()) + ASSERTION_S,
            "jti": secrets.token_urlsafe(32),
        }
        key = self._keys.keys[0]
        header = {"alg": self._algorithm, "typ": "JWT", "kid": str(key.kid)}
        assertion = jwt.encode(header, claims, key, algorithms=[self._algorithm])
        return {}, {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


@dataclass(frozen=True, repr=False)
class PrivateKeys:
    """The private keys of a site, each with a `kid`; the first signs, the others are still published.

    `table`: where in site.toml they are set up.
    """

    keys: tuple[RSAKey | ECKey, ...]
    table: str = BACKEND

    @classmethod
    def read(cls, text: str, key_id: str = "", table: str = BACKEND) -> PrivateKeys:
        """From PEM, a JWK or a JWKS. `key_id`: the first key's `kid`; "" is its own or its RFC 7638 thumbprint.

        Raises UsageError, without the content, for anything else: no key, a public one, one with a passphrase.
        """
        try:
            if text.lstrip().startswith("{"):
                found = json.loads(text)
                keys = [_from_jwk(each) for each in found.get("keys", [found])]
            else:
                keys = [_from_pem(text)]
        except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise UsageError(f"{table} the private key is no readable PEM, JWK or JWKS.") from None
        if not keys or not all(key.is_private for key in keys):
            raise UsageError(f"{table} the key file holds a key that is not private.")
        return cls(tuple(_named(key, key_id if i == 0 else "") for i, key in enumerate(keys)), table)

    def first_signs(self, algorithm: str) -> None:
        """Raises UsageError if the first key cannot sign by this algorithm."""
        key = self.keys[0]
        if algorithm == "RS384":
            fits = isinstance(key, RSAKey) and key.private_key is not None and key.private_key.key_size >= 2048
            needs = "an RSA key of at least 2048 bits"
        else:
            fits = isinstance(key, ECKey) and key.curve_name == "P-384"
            needs = "an elliptic-curve key on P-384"
        if not fits:
            raise UsageError(f"{self.table} algorithm = {algorithm} needs {needs}.")

    def public(self) -> dict[str, list[dict[str, Any]]]:
        """The JWKS to publish: public parts only."""
        listed = [{name: value for name, value in key.as_dict(private=False).items() if name in _PUBLIC}
                  for key in self.keys]  # fmt: skip
        for key, shown in zip(self.keys, listed, strict=True):
            algorithm = "RS384" if isinstance(key, RSAKey) else "ES384" if key.curve_name == "P-384" else None
            shown.update({"use": "sig"} | ({"alg": algorithm} if algorithm else {}))
        return {"keys": listed}


def _from_pem(text: str) -> RSAKey | ECKey:
    native = load_pem_private_key(text.encode(), password=None)
    if isinstance(native, RSAPrivateKey):
        return RSAKey.import_key(text)
    if isinstance(native, EllipticCurvePrivateKey):
        return ECKey.import_key(text)
    raise ValueError


def _from_jwk(found: dict[str, Any]) -> RSAKey | ECKey:
    if found["kty"] == "RSA":
        return RSAKey.import_key(found)
    if found["kty"] == "EC":
        return ECKey.import_key(found)
    raise ValueError


def _named(key: RSAKey | ECKey, key_id: str) -> RSAKey | ECKey:
    kid = key_id or key.kid or key.thumbprint()
    return type(key).import_key({**key.as_dict(private=True), "kid": kid})


# -- the token ---------------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class _Token:
    text: str
    until: float


@dataclass(frozen=True)
class _Endpoint:
    url: str
    methods: frozenset[str] = frozenset()


class BackendServices(httpx.Auth):
    """Puts an access token on each request: fetched once for all that wait, renewed before it ends and after a 401.

    `token_url`: "" is what the server's smart-configuration names, on the server's own origin or an alias's.
    `tls`, `clock` (seconds): as for the client. Raises UsageError for an address that is not plain https.
    """

    def __init__(
        self,
        base_url: str,
        credential: Credential,
        *,
        aliases: tuple[str, ...] = (),
        token_url: str = "",
        scope: str = "",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if token_url and not is_safe(token_url):
            raise UsageError("[fhir.auth] token_url: give a plain https address such as https://ehr.example/token.")
        self._gate = Gate(base_url, aliases)
        self._credential = credential
        self._endpoint = _Endpoint(token_url) if token_url else None
        self._scope = scope
        self._exchange = partial(exchange, task="No access token", timeout_s=timeout_s, tls=tls)
        self._clock = clock
        self._token: _Token | None = None
        self._fetching: asyncio.Task[_Token] | None = None
        self._refusal = ""
        self._refused_until = -math.inf
        self.granted_scope: str | None = None
        """What the last token grants; None before the first, or where the server grants what was asked."""

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self._valid(None)
        request.headers["Authorization"] = f"Bearer {token.text}"
        response = yield request
        if response.status_code == 401:  # revoked, or the clocks differ: one new token, then the server's word counts
            token = await self._valid(token)
            request.headers["Authorization"] = f"Bearer {token.text}"
            yield request

    @property
    def missing_scopes(self) -> tuple[str, ...]:
        """The scopes that were asked for and are not in the last token, sorted."""
        if self.granted_scope is None:
            return ()
        granted = self.granted_scope.split()
        return tuple(sorted(s for s in set(self._scope.split()) if not any(covers(g, s) for g in granted)))

    async def _valid(self, refused: _Token | None) -> _Token:
        """A token that is not `refused` and still lives; whoever waits at the same time gets the same one."""
        token = self._token
        if token is not None and token is not refused and self._clock() < token.until:
            return token
        if self._clock() < self._refused_until:
            raise Unreachable(self._refusal, sent=False, passing=False)
        if self._fetching is None:
            self._fetching = asyncio.get_running_loop().create_task(self._fetch())
            self._fetching.add_done_callback(self._fetched)
        # One request that is cancelled must not take the token from the others.
        return await asyncio.shield(self._fetching)

    def _fetched(self, task: asyncio.Task[_Token]) -> None:
        self._fetching = None
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Unreachable) and not error.passing:
            # Servers lock out a client that shows a wrong credential again and again.
            self._refusal, self._refused_until = str(error), self._clock() + REFUSED_S
        elif not task.cancelled() and error is None:
            self._token = task.result()

    async def _fetch(self) -> _Token:
        try:
            async with asyncio.timeout(DEADLINE_S):
                endpoint = self._endpoint or await self._discover()
                token = await self._ask_token(endpoint)
        except TimeoutError:
            raise _none(f"the answer took longer than {DEADLINE_S:g} s", passing=True) from None
        self._endpoint = endpoint
        return token

    async def _discover(self) -> _Endpoint:
        """The token endpoint that the server names in its smart-configuration."""
        url = f"{self._gate.base_url}/.well-known/smart-configuration"
        status, body = await self._exchange("GET", url, "the smart-configuration")
        if status != 200:
            raise _none(
                f"the server has no smart-configuration ({status}); put the address into [fhir.auth] token_url",
                passing=status >= 500 or status == 429,
            )
        try:
            found = _decode_configuration(body)
        except UNREADABLE:
            raise _none("the smart-configuration is not readable JSON; set [fhir.auth] token_url") from None
        if not is_safe(found.token_endpoint):
            raise _none("the smart-configuration names no plain https token_endpoint; set [fhir.auth] token_url")
        if not self._gate.is_home(found.token_endpoint):
            # Whoever can change that file would else be sent the client's credential.
            host = httpx.URL(found.token_endpoint).host
            raise _none(
                f"the smart-configuration names a token_endpoint on another host, {host}; "
                "if that is right, put its address into [fhir.auth] token_url"
            )
        methods = (m for m in found.token_endpoint_auth_methods_supported if isinstance(m, str))
        return _Endpoint(found.token_endpoint, frozenset(methods))

    async def _ask_token(self, endpoint: _Endpoint) -> _Token:
        headers, fields = self._credential.sign(endpoint.url, endpoint.methods)
        form = {"grant_type": "client_credentials", **fields}
        if self._scope:
            form["scope"] = self._scope
        status, body = await self._exchange("POST", endpoint.url, "the token endpoint", headers, form)
        if status != 200:
            raise _refusal(status, body, self._credential.advice)
        try:
            said = _decode_token(body)
        except UNREADABLE:
            raise _none("the token endpoint answered 200, but not with a token; check [fhir.auth] token_url") from None
        if said.token_type.lower() != "bearer":
            raise _none("the token endpoint gives another kind of token than bearer")
        if not _TOKEN.fullmatch(said.access_token):
            raise _none("the token endpoint gives a token that cannot stand in a header")
        life = _lifetime(said.expires_in)
        self.granted_scope = said.scope if isinstance(said.scope, str) else None
        return _Token(said.access_token, self._clock() + life - min(MARGIN_S, life / 2))


class _Configuration(msgspec.Struct):
    token_endpoint: str = ""
    token_endpoint_auth_methods_supported: list[Any] = []


class _Said(msgspec.Struct):
    access_token: str
    token_type: str
    expires_in: Any = None
    scope: Any = None


_decode_configuration = msgspec.json.Decoder(_Configuration).decode
_decode_token = msgspec.json.Decoder(_Said).decode


def _none(why: str, *, passing: bool = False) -> Unreachable:
    return Unreachable(f"No access token: {why}.", sent=False, passing=passing)


def _refusal(status: int, body: bytes, advice: str) -> Unreachable:
    code = error_code(body)
    said = f"{status}, {code}" if code else str(status)
    if status // 100 == 3:
        return _none(f"the token endpoint redirects ({said}); put its final address into [fhir.auth] token_url")
    if status // 100 == 5 or status == 429:
        return _none(f"the token endpoint fails ({said}); try again later", passing=True)
    if code == "invalid_scope":
        return _none(f"the token endpoint refuses the scope ({said}); check [fhir.auth] scope")
    return _none(f"the token endpoint refuses ({said}); {advice}")


def _lifetime(said: object) -> float:
    """Seconds that the token lives."""
    try:
        seconds = float(said) if isinstance(said, int | float | str) and not isinstance(said, bool) else math.nan
    except (ValueError, OverflowError):
        seconds = math.nan
    return min(seconds, LONGEST_S) if seconds > 0 else UNSAID_S
