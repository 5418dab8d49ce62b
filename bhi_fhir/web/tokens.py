"""Bearer tokens: JWTs of the one configured issuer, by its published keys.

The algorithms are fixed and asymmetric, so `none` and HS* are refused before a key is looked for. Keys come from
the configured address only: a token's `jku`, `jwk` and `x5u` are never looked at.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from bhi_fhir.errors import SiteError, Unreachable
from bhi_fhir.fhir.gate import is_safe
from bhi_fhir.settings import Jwt

KEPT_S = 3600.0
"""Keys are fetched anew after an hour: so long does a withdrawn key count at most."""
AGAIN_S = 30.0
"""For a key that is not known they are fetched anew once, and then not again so soon."""
LEEWAY_S = 60
_LONGEST = 16_000
_MAX_JWKS = 2**18
_MOST_KEYS = 64

Key = RSAKey | ECKey


class Refusal(Exception):
    """The token does not count; the sentence says why, without the token."""


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None


class PublicKeys:
    """An issuer's. `named`: as errors name the address. `clock` (seconds) is an argument for tests."""

    def __init__(self, url: str, named: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        if not is_safe(url):
            raise SiteError(f"{named}: give a plain https address such as https://auth.example/jwks.json")
        self._url, self._named = url, named
        self._clock = clock
        self._keys: dict[str, Key] = {}
        self._fetched = -KEPT_S
        self._tried = -AGAIN_S
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None) -> Key | None:
        """None where the issuer publishes no such key. Raises Unreachable if its keys cannot be had."""
        if self._fresh() and (key := self._pick(kid)):
            return key
        self.fetch()
        if self._fetching is not None:
            # Whoever cannot wait goes; the keys come all the same, for the next one.
            await asyncio.shield(self._fetching)
        if not self._fresh():
            raise self._not_had()
        return self._pick(kid)

    def fetch(self) -> None:
        """Begins to fetch them anew beside whatever else runs, unless that was tried a moment ago."""
        if self._fetching is None and self._clock() - self._tried >= AGAIN_S:
            self._tried = self._clock()
            self._fetching = asyncio.create_task(self._renew())

    async def _renew(self) -> None:
        try:
            self._keys = await self._fetch()
            self._fetched = self._clock()
        except Unreachable:
            pass  # `find` says it to each who asks
        finally:
            self._fetching = None

    def _fresh(self) -> bool:
        return self._clock() - self._fetched < KEPT_S

    def _pick(self, kid: str | None) -> Key | None:
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(kid or "")

    async def _fetch(self) -> dict[str, Key]:
        try:
            return public_keys(await self._body())
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, msgspec.MsgspecError, OSError) as error:
            raise self._not_had() from error

    def _not_had(self) -> Unreachable:
        return Unreachable(f"The keys of {self._named} cannot be had.")

    async def _body(self) -> bytes:
        body = b""
        client = httpx.AsyncClient(timeout=10, follow_redirects=False)
        async with client, client.stream("GET", self._url) as answer:
            answer.raise_for_status()
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _MAX_JWKS:
                    raise ValueError("too long")
        return body


_KINDS: dict[Any, type[Key]] = {"RSA": RSAKey, "EC": ECKey}


class _Jwks(msgspec.Struct):
    keys: list[dict[str, Any]]


def public_keys(body: bytes) -> dict[str, Key]:
    """By `kid`. What is not for signatures, symmetric, or of a kind that we do not know, is left out."""
    found: dict[str, Key] = {}
    for each in msgspec.json.decode(body, type=_Jwks).keys[:_MOST_KEYS]:
        kind = _KINDS.get(each.get("kty"))
        if kind is None or each.get("use", "sig") != "sig":
            continue
        try:
            key = kind.import_key(each)
        except (JoseError, ValueError, TypeError, KeyError):
            continue
        found[key.kid or ""] = key
    return found


class Tokens:
    """Says what a token claims, if it counts."""

    def __init__(self, settings: Jwt, audience: str, keys: PublicKeys, *, now: Callable[[], float] = time.time) -> None:
        self._algorithms = list(settings.algorithms)
        self._keys = keys
        self._now = now
        self._issuer, self._audience = settings.issuer, audience

    async def claims(self, token: str) -> dict[str, Any]:
        """Raises Refusal for a token that does not count, Unreachable if the issuer's keys cannot be had."""
        header = self._header(token)
        key = await self._keys.find(header.kid)
        if key is None:
            raise Refusal("its key is not among the issuer's")
        try:
            if key.get("alg") not in (None, header.alg):
                raise Refusal("its algorithm is not its key's")
            read = jwt.decode(token, key, algorithms=self._algorithms)
            # Python reads NaN, which no comparison refuses, and half characters, which nothing can write down.
            json.dumps(read.claims, allow_nan=False, ensure_ascii=False).encode()
            self._registry().validate(read.claims)
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            raise Refusal(_why(error)) from None
        return dict(read.claims)

    def _header(self, token: str) -> _Header:
        if len(token) > _LONGEST or token.count(".") != 2:
            raise Refusal("it is no signed JWT")
        try:
            header = msgspec.json.decode(_base64(token.partition(".")[0]), type=_Header)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise Refusal("it is no signed JWT") from None
        if header.alg not in self._algorithms:
            raise Refusal("its algorithm is not one that is taken")
        return header

    def _registry(self) -> jwt.JWTClaimsRegistry:
        return jwt.JWTClaimsRegistry(
            now=int(self._now()),
            leeway=LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._audience},
            exp={"essential": True},
        )


def _base64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


def _why(error: Exception) -> str:
    """joserfc's own constant name of what is wrong: its sentences may hold values."""
    return f"it is not valid ({getattr(error, 'error', 'unreadable')})"
