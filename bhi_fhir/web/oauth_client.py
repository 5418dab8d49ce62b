"""This service as a client of an authorization server: SMART App Launch 2.2 and OpenID Connect, both with PKCE.

By the tokens of tokens.py (joserfc) and the credentials of fhir/oauth.py, which says why not by Authlib's client.
Nothing that a server answers is put into an error or a log but the code of an OAuth error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from bhi_fhir.errors import Refused, SiteError, Unreachable
from bhi_fhir.fhir.exchange import error_code, exchange
from bhi_fhir.fhir.gate import is_safe
from bhi_fhir.fhir.oauth import ClientSecret, Credential, PrivateKey, PrivateKeys
from bhi_fhir.settings import Jwt, SignIn
from bhi_fhir.site_file import read_secret
from bhi_fhir.views.common import UNREADABLE
from bhi_fhir.web.tokens import PublicKeys, Refusal, Tokens

KNOWN_S = 600.0
"""How long what a server says of itself is believed."""
UNSAID_S = 300.0
"""How long an access token is used whose lifetime the server does not say."""
_LONGEST_S = 8 * 3600.0
_TIMEOUT_S = 15.0
_TOKEN = re.compile(r"[!-~]{1,16000}")


class SignInRefused(Exception):
    """The authorization server, or what it answered, does not let the person in. `code`: its own, where it gave one."""

    def __init__(self, sentence: str, code: str = "") -> None:
        super().__init__(sentence)
        self.code = code


class Configuration(msgspec.Struct):
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    revocation_endpoint: str = ""
    end_session_endpoint: str = ""
    jwks_uri: str = ""
    issuer: str = ""
    capabilities: list[str] = []
    code_challenge_methods_supported: list[str] = []
    token_endpoint_auth_methods_supported: list[str] = []

    @property
    def only_v1(self) -> bool:
        """The server knows only the scopes of SMART 1."""
        return "permission-v2" not in self.capabilities and "permission-v1" in self.capabilities


class Grant(msgspec.Struct):
    """What the token endpoint gives, with SMART's launch context."""

    access_token: str
    token_type: str
    expires_in: Any = None
    scope: str | None = None
    refresh_token: str | None = None
    id_token: str | None = None
    patient: str | None = None
    need_patient_banner: bool = True
    smart_style_url: str | None = None

    @property
    def life_s(self) -> float:
        said = self.expires_in
        if isinstance(said, bool) or not isinstance(said, int | float | str):
            return UNSAID_S
        try:
            return min(max(float(said), 0.0), _LONGEST_S)
        except ValueError:
            return UNSAID_S


@dataclass(frozen=True)
class Attempt:
    """A sign-in on its way: what must come back unchanged, and what only we know."""

    state: str
    nonce: str
    verifier: str

    @classmethod
    def new(cls) -> Attempt:
        return cls(secrets.token_urlsafe(32), secrets.token_urlsafe(32), secrets.token_urlsafe(48))

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


@dataclass
class Client:
    """One registration, and the servers with which it holds.

    `known_as`: the path of a server's configuration under its base. `redirect_uri`: exactly as registered. `issuer`:
    whom the configuration must name (OpenID Connect Discovery 1.0, 4.3); "" where it may be anybody (SMART).
    """

    key: str
    settings: SignIn
    redirect_uri: str
    known_as: str
    issuer: str = ""
    now: Callable[[], float] = time.time
    _servers: dict[str, tuple[float, Configuration]] = field(default_factory=dict)
    _issuers: dict[tuple[str, str], Tokens] = field(default_factory=dict)
    _credential: Credential | None = None

    def __post_init__(self) -> None:
        """SiteError, which names the key, for what cannot be used."""
        for origin in self.settings.auth_origins:
            if not is_safe(origin) or urlsplit(origin).path not in ("", "/"):
                raise SiteError(f"{self.key}.auth_origins: give origins such as https://login.example.org")
        if not self.settings.client_id.isprintable() or not self.settings.client_id:
            raise SiteError(f"{self.key}.client_id is missing: the id under which this service is registered")
        self._credential = self._read_credential()

    def _read_credential(self) -> Credential | None:
        chosen, table = self.settings, f"[{self.key}]"
        match chosen.auth:
            case "public":
                return None
            case "client_secret":
                return ClientSecret(chosen.client_id, self._secret(), table)
            case "private_key_jwt":
                return PrivateKey(
                    chosen.client_id, PrivateKeys.read(self._secret(), chosen.key_id, table), chosen.algorithm
                )

    def _secret(self) -> str:
        return read_secret(self.key, self.settings.secret_env, self.settings.secret_file)

    # -- what the server says of itself -------------------------------------------------------------

    async def server(self, base: str) -> Configuration:
        """The configuration of one of our servers: `base` is from site.toml, never from a request."""
        until, found = self._servers.get(base, (0.0, Configuration()))
        if self.now() < until:
            return found
        status, body = await _exchange("GET", f"{base}{self.known_as}", "the server's sign-in configuration")
        if status != 200:
            raise Refused(f"The server has no sign-in configuration ({status}).", status)
        try:
            found = msgspec.json.decode(body, type=Configuration)
        except UNREADABLE:
            raise SignInRefused("The server's sign-in configuration is not readable.") from None
        self._check(base, found)
        self._servers[base] = (self.now() + KNOWN_S, found)
        return found

    def _check(self, base: str, found: Configuration) -> None:
        """Whoever can change that file would else be sent people, codes and credentials."""
        homes = {_origin(base), *map(_origin, self.settings.auth_origins)}
        named = (found.authorization_endpoint, found.token_endpoint, found.revocation_endpoint, found.jwks_uri)
        for url in (*named, found.end_session_endpoint):
            if url and (not is_safe(url.partition("?")[0]) or _origin(url) not in homes):
                raise SignInRefused(
                    f"The server's configuration leads elsewhere; if that is right, add it to {self.key}.auth_origins."
                )
        if self.issuer and found.issuer.rstrip("/") != self.issuer.rstrip("/"):
            raise SignInRefused(f"The server's configuration is of another issuer than {self.key}.issuer.")
        if not found.authorization_endpoint or not found.token_endpoint:
            raise SignInRefused("The server's configuration names no place to sign in.")
        methods = found.code_challenge_methods_supported
        if methods and "S256" not in methods:
            raise SignInRefused("The server does not support PKCE with S256.")

    # -- the way there and back ---------------------------------------------------------------------

    def authorize_url(self, server: Configuration, attempt: Attempt, scope: str, **more: str) -> str:
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": scope,
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": attempt.challenge,
            "code_challenge_method": "S256",
            **more,
        }
        mark = "&" if "?" in server.authorization_endpoint else "?"
        return f"{server.authorization_endpoint}{mark}{urlencode(asked)}"

    @staticmethod
    def check_sender(server: Configuration, iss: str | None) -> None:
        """RFC 9207: a server that says who it is is the one that was asked. SignInRefused for another."""
        if iss is not None and server.issuer and iss != server.issuer:
            raise SignInRefused("The answer comes from another server than was asked.")

    async def redeem(self, server: Configuration, code: str, verifier: str) -> Grant:
        form = {"code": code, "redirect_uri": self.redirect_uri, "code_verifier": verifier}
        return await self._ask(server, {"grant_type": "authorization_code", **form})

    async def refresh(self, server: Configuration, refresh_token: str) -> Grant:
        return await self._ask(server, {"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def revoke(self, server: Configuration, token: str, kind: str) -> None:
        """Gives a token back, where the server takes it."""
        if not server.revocation_endpoint or not token:
            return
        headers, form = self._signed(server.revocation_endpoint, server)
        form |= {"token": token, "token_type_hint": kind}
        await _exchange("POST", server.revocation_endpoint, "the revocation", headers, form)

    async def claims(self, server: Configuration, id_token: str, nonce: str) -> dict[str, Any]:
        """What the id token says of the person. SignInRefused for one that does not count."""
        if not server.issuer or not server.jwks_uri:
            raise SignInRefused("The server says neither who issues its id tokens nor by which keys.")
        try:
            claims = await self._id_tokens(server).claims(id_token)
        except Refusal:
            raise SignInRefused("The id token is not valid.") from None
        if not hmac.compare_digest(str(claims.get("nonce", "")), nonce) or not claims.get("sub"):
            raise SignInRefused("The id token is not for this sign-in.")
        audiences = claims["aud"]
        if isinstance(audiences, list) and len(audiences) > 1 and claims.get("azp") != self.settings.client_id:
            raise SignInRefused("The id token is for another client.")
        return claims

    def _id_tokens(self, server: Configuration) -> Tokens:
        """With its keys, which are kept for as long as the server names the same."""
        known = self._issuers.get((server.issuer, server.jwks_uri))
        if known is None:
            rules = Jwt(issuer=server.issuer, jwks_url=server.jwks_uri)
            known = Tokens(
                rules,
                self.settings.client_id,
                PublicKeys(server.jwks_uri, f"the jwks_uri of [{self.key}]'s server"),
                now=self.now,
            )
            self._issuers[server.issuer, server.jwks_uri] = known
        return known

    # -- the wire -----------------------------------------------------------------------------------

    def _signed(self, url: str, server: Configuration) -> tuple[dict[str, str], dict[str, str]]:
        if self._credential is None:
            return {}, {"client_id": self.settings.client_id}
        return self._credential.sign(url, frozenset(server.token_endpoint_auth_methods_supported))

    async def _ask(self, server: Configuration, form: Mapping[str, str]) -> Grant:
        headers, mine = self._signed(server.token_endpoint, server)
        status, body = await _exchange("POST", server.token_endpoint, "the token endpoint", headers, {**form, **mine})
        if status != 200:
            raise _refusal(status, body)
        try:
            grant = msgspec.json.decode(body, type=Grant)
        except UNREADABLE:
            raise SignInRefused("The token endpoint answered with something that is no token.") from None
        if grant.token_type.lower() != "bearer" or not _TOKEN.fullmatch(grant.access_token):
            raise SignInRefused("The token endpoint gives a token that cannot be used.")
        return grant


_exchange = partial(exchange, task="No sign-in", timeout_s=_TIMEOUT_S)


def _refusal(status: int, body: bytes) -> Exception:
    if status >= 500 or status == 429:
        return Unreachable(f"The token endpoint fails ({status}).")
    code = error_code(body)
    return SignInRefused(f"The token endpoint refuses ({code or status}).", code)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
