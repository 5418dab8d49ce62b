"""The facts of a connection to one FHIR server. Whoever reads the configuration reads the secrets."""

from collections.abc import Generator
from dataclasses import dataclass, field

import httpx

from bhi_fhir.errors import UsageError

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Connection:
    """One FHIR R4 server.

    `base_url`: https, or http on loopback. `aliases`: other spellings of the same server that its links may
    use, with or without the path. `concurrency`: requests at a time. `timeout_s`: seconds without a byte.
    `max_body_bytes`: of one answer, decompressed.
    """

    base_url: str
    aliases: tuple[str, ...] = ()
    concurrency: int = 8
    timeout_s: float = 30.0
    auth: httpx.Auth | None = field(default=None, repr=False)
    max_body_bytes: int = 64 * MEBIBYTE


def basic(user: str, password: str) -> httpx.Auth:
    """HTTP Basic. Raises UsageError if a part cannot stand in a header."""
    if ":" in user or not (user + password).isprintable():
        raise UsageError("[fhir.auth] basic: the user holds a colon, or user or password a line break.")
    return httpx.BasicAuth(user, password)


def bearer(token: str) -> httpx.Auth:
    """A fixed bearer token. Raises UsageError if it cannot stand in a header."""
    # A secret read from a file often ends in a line break; h11 would then quote the whole token in its error.
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError("[fhir.auth] bearer: the token is empty or holds a space or a line break.")
    return _Bearer(token)


class _Bearer(httpx.Auth):
    def __init__(self, token: str) -> None:
        self._header = f"Bearer {token}"

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = self._header
        yield request
