"""Which EHR calls a CDS service: its JWT, by its published keys, once.

CDS Hooks 2.0, "Trusting CDS Clients": `none` and symmetric algorithms are refused, `iss` and `jku` are those of
site.toml, `aud` is the very address that is called, and a `jti` counts once.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from bhi_fhir.settings import Cds, Jwt
from bhi_fhir.views.common import UNREADABLE
from bhi_fhir.web.session import Sessions
from bhi_fhir.web.tokens import LEEWAY_S, PublicKeys, Refusal, Tokens

_LONGEST = 16_000
_LONGEST_LIFE_S = 3600


class _Header(msgspec.Struct):
    jku: str = ""


class _Claims(msgspec.Struct):
    iss: str


@dataclass
class CdsCallers:
    """`sessions`: there a jti counts once, for all workers. `now`: seconds since 1970."""

    settings: Cds
    sessions: Sessions
    now: Callable[[], float] = time.time
    _keys: dict[str, PublicKeys] = field(default_factory=dict)
    _tokens: dict[tuple[str, str], Tokens] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """SiteError for an address that cannot be used."""
        self._keys = {
            client.iss: PublicKeys(client.jwks_url, "[[cds.clients]] jwks_url") for client in self.settings.clients
        }

    def fetch_keys(self) -> None:
        """Begins to fetch every EHR's: a card has no time to wait for them."""
        for keys in self._keys.values():
            keys.fetch()

    async def claims(self, authorization: str, endpoint: str) -> dict[str, Any]:
        """Raises Refusal for a token that does not count, Unreachable if the EHR's keys cannot be had."""
        kind, _, token = authorization.partition(" ")
        token = token.strip()
        if kind.lower() != "bearer" or not token or len(token) > _LONGEST:
            raise Refusal("it is missing")
        issuer = _known(token, self.settings)
        found = self._tokens.get((issuer, endpoint))
        if found is None:
            rules = Jwt(issuer=issuer)
            found = self._tokens[issuer, endpoint] = Tokens(rules, endpoint, self._keys[issuer], now=self.now)
        claims = await found.claims(token)
        jti, until = claims.get("jti"), claims["exp"]
        if not isinstance(jti, str) or not jti or not isinstance(claims.get("iat"), int | float):
            raise Refusal("it has no jti or no iat")
        if until > self.now() + _LONGEST_LIFE_S:
            raise Refusal("it lives longer than an hour")
        if not await self.sessions.once(f"{issuer}\n{jti}", datetime.fromtimestamp(until + LEEWAY_S, UTC)):
            raise Refusal("it was used before")
        return claims


def _known(token: str, settings: Cds) -> str:
    """The issuer that the token names, unverified, if it is one of ours and points at no other keys."""
    try:
        header, claims, _ = token.split(".")
        said = msgspec.json.decode(_plain(header), type=_Header)
        issuer = msgspec.json.decode(_plain(claims), type=_Claims).iss
    except (*UNREADABLE, ValueError):
        raise Refusal("it is no signed JWT") from None
    client = next((each for each in settings.clients if each.iss == issuer), None)
    if client is None:
        raise Refusal("its issuer is not known here")
    if said.jku not in ("", client.jwks_url):
        raise Refusal("it points at other keys")
    return issuer


def _plain(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
