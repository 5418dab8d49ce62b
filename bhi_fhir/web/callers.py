"""Who calls, and what they may: a bearer token, an API key or a client certificate.

The scopes of a route are those that its answer tells about: the stateless operation gives back what it was sent and
wants `system/Patient.r`, the least of SMART's; the one on the site's server wants reading of everything that a month
is decided from, for nobody learns here what they may not read there.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from hashlib import sha256
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Literal

from starlette.requests import Request

from bhi_fhir.audit import Person
from bhi_fhir.errors import ServerError, SiteError
from bhi_fhir.fhir.scopes import EVERYTHING, Scopes
from bhi_fhir.mapping.source import SUBJECT
from bhi_fhir.settings import Caller as CallerSettings
from bhi_fhir.settings import Serve, Site
from bhi_fhir.site_file import read_secret
from bhi_fhir.web.problems import Issue, Problem
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.tokens import PublicKeys, Refusal, Tokens

API_KEY = "x-api-key"
WHOLE_RECORD = ("system/Patient.r", *(f"system/{kind}.rs" for kind in sorted(SUBJECT)))
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ANY = "*"
_SHORTEST_KEY = 32
TOO_OFTEN = "You call more often than the site allows."

Kind = Literal["token", "caller"]


@dataclass(frozen=True)
class Caller:
    """`name`: of site.toml ("caller"), or the token's client. `issuer`, `token`: iss and jti of a token."""

    name: str
    scopes: Scopes
    issuer: str = ""
    token: str = ""
    kind: Kind = "caller"

    @property
    def known_as(self) -> str:
        """To rates and in the log: a token's client may have the name of one of site.toml and is not the same."""
        return f"{self.kind} {self.name}"

    @property
    def person(self) -> Person:
        """As the audit names who asked."""
        return Person(self.name, id=self.name, issuer=self.issuer, token=self.token)


@dataclass(frozen=True)
class Callers:
    """Everybody who may call. `keys`: SHA-256 of an API key, in hex, to its caller; `certificates`: by name."""

    rates: Rates
    is_open: bool = False
    tokens: Tokens | None = None
    keys: dict[str, Caller] = field(default_factory=dict)
    certificates: dict[str, Caller] = field(default_factory=dict)
    header: str = ""
    proxies: frozenset[str] = frozenset()

    @classmethod
    def of(cls, site: Site, folder: Path, rates: Rates, *, is_open: bool = False) -> Callers:
        """SiteError, which names the key, for what cannot be used."""
        serve = site.serve
        check(serve)
        known = {name: Caller(name, Scopes.read(each.scope)) for name, each in serve.callers.items()}
        return cls(
            rates=rates,
            is_open=is_open,
            tokens=_tokens(serve),
            keys={
                _hash(name, each, folder): known[name]
                for name, each in serve.callers.items()
                if each.key_env or each.key_file
            },
            certificates={each.certificate: known[name] for name, each in serve.callers.items() if each.certificate},
            header=serve.certificate_header.lower(),
            proxies=frozenset(serve.certificate_proxies),
        )

    async def identify(self, request: Request) -> Caller:
        """Problem 401 for nobody whom we know; 503 if the issuer's keys cannot be had."""
        if self.is_open:
            return _ANYBODY
        if (authorization := request.headers.get("authorization")) is not None:
            return await self._by_token(authorization)
        if (key := request.headers.get(API_KEY)) is not None:
            return self._by_key(key)
        if name := self._certificate(request):
            return self.certificates[name]
        raise _unknown("Say who calls: a bearer token, an API key or a client certificate.")

    async def _by_token(self, authorization: str) -> Caller:
        kind, _, token = authorization.partition(" ")
        if self.tokens is None or kind.lower() != "bearer":
            raise _unknown("Only bearer tokens of the configured issuer are taken.")
        try:
            claims = await self.tokens.claims(token.strip())
        except Refusal as refusal:
            raise _unknown(f"The token is refused: {refusal}.", error="invalid_token") from None
        except ServerError:
            issue = Issue("transient", "The keys of the token's issuer cannot be had at the moment.")
            raise Problem(503, issue, headers={"Retry-After": "30"}) from None
        name = next((str(claims[k]) for k in ("client_id", "azp", "sub") if claims.get(k)), "")
        if not name:
            raise _unknown("The token is refused: it names no client.", error="invalid_token")
        jti = str(claims.get("jti", ""))
        return Caller(name[:200], _scopes(claims.get("scope")), str(claims["iss"]), jti, kind="token")

    def _by_key(self, key: str) -> Caller:
        given, found = sha256(key.encode()).hexdigest(), None
        for known, caller in self.keys.items():  # all of them: how long it takes tells nothing
            if hmac.compare_digest(known, given):
                found = caller
        if found is None or len(key) < _SHORTEST_KEY:
            raise _unknown("The API key is not known.")
        return found

    def _certificate(self, request: Request) -> str:
        """The name of a known certificate; "*" where TLS itself has let in only those of the site's authority."""
        if self.header and request.state.peer in self.proxies:
            name = request.headers.get(self.header, "")
            return name if name in self.certificates and name != _ANY else ""
        return _ANY if _ANY in self.certificates else ""


_ANYBODY = Caller("anybody on this machine", EVERYTHING)


def may(*scopes: str) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller, if these scopes (SMART v2) are granted, not more often than the site allows."""
    wanted = Scopes.read(" ".join(scopes))

    async def caller(request: Request) -> Caller:
        callers: Callers = request.app.state.callers
        found = await callers.identify(request)
        request.state.caller = _loggable(found.known_as)
        await callers.rates.admit(found.known_as, TOO_OFTEN)
        if not found.scopes.cover(wanted):
            issue = Issue("forbidden", f"This needs the scopes {' '.join(scopes)}.")
            said = f'Bearer error="insufficient_scope", scope="{" ".join(scopes)}"'
            raise Problem(403, issue, headers={"WWW-Authenticate": said})
        return found

    return caller


def _loggable(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9 ._:@=,/-]", "?", name)[:100]


def _unknown(sentence: str, error: str = "") -> Problem:
    said = f'Bearer error="{error}"' if error else "Bearer"
    return Problem(401, Issue("login", sentence), headers={"WWW-Authenticate": said})


def _scopes(claim: object) -> Scopes:
    """RFC 9068 has text; some servers give a list."""
    return Scopes.read(" ".join(map(str, claim)) if isinstance(claim, list) else str(claim or ""))


# -- site.toml ---------------------------------------------------------------------------------------


def is_configured(serve: Serve) -> bool:
    """Whether anybody could be let in by name."""
    return bool(serve.jwt.issuer or serve.callers)


def check(serve: Serve) -> None:
    """SiteError, which names the key, for a caller who could never be let in, or may nothing by a misspelled scope."""
    for name, each in serve.callers.items():
        if unknown := [scope for scope in each.scope.split() if not Scopes.read(scope).letters]:
            raise SiteError(f"serve.callers.{name}.scope: {unknown[0]} is no scope such as system/Patient.r")
        if not (each.key_env or each.key_file or each.certificate):
            raise SiteError(f"serve.callers.{name}: give key_env, key_file or certificate")
        if each.certificate == _ANY and not serve.tls.client_ca:
            raise SiteError(f'serve.callers.{name}: certificate = "*" needs serve.tls.client_ca')
        if each.certificate not in ("", _ANY) and not (serve.certificate_header and serve.certificate_proxies):
            raise SiteError(f"serve.callers.{name}: certificate needs serve.certificate_header and certificate_proxies")
    for proxy in serve.certificate_proxies:
        try:
            ip_address(proxy)
        except ValueError:
            raise SiteError("serve.certificate_proxies: give IP addresses") from None
    for proxy in serve.forwarded_proxies:
        try:
            ip_network(proxy)
        except ValueError:
            raise SiteError("serve.forwarded_proxies: give IP addresses, or networks such as 10.0.0.0/8") from None


def _tokens(serve: Serve) -> Tokens | None:
    chosen = serve.jwt
    if not chosen.issuer:
        if chosen.jwks_url or chosen.audience:
            raise SiteError("serve.jwt.issuer is missing")
        return None
    audience = chosen.audience or (f"{serve.public_url.rstrip('/')}/fhir" if serve.public_url else "")
    if not audience:
        raise SiteError("serve.jwt.audience is missing: what a token's aud must hold (or give serve.public_url)")
    return Tokens(chosen, audience, PublicKeys(chosen.jwks_url, "[serve.jwt] jwks_url"))


def _hash(name: str, caller: CallerSettings, folder: Path) -> str:
    """The SHA-256 of the caller's key; the output of `sha256sum` will do."""
    file = str(folder / caller.key_file) if caller.key_file else ""
    text = read_secret(f"serve.callers.{name}", caller.key_env, file, "key")
    found = (text.split() or [""])[0].lower()
    if not _SHA256.fullmatch(found):
        where = f"key_env: the environment variable {caller.key_env}" if caller.key_env else "key_file: the file"
        said = "holds no SHA-256" if found else "is empty"
        raise SiteError(f"serve.callers.{name}.{where} {said}: give that of the key, 64 hexadecimal digits")
    return found
