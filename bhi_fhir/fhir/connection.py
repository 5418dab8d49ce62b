"""The facts of a connection to one FHIR server. Whoever reads the configuration reads the secrets."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from dataclasses import dataclass, field
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from bhi_fhir.errors import UsageError

MEBIBYTE = 2**20


@dataclass(frozen=True)
class Connection:
    """One FHIR R4 server.

    `base_url`: https, or http on loopback. `aliases`: other spellings of the same server that its links may
    use, with or without the path. `concurrency`: requests at a time. `timeout_s`: seconds without a byte;
    `deadline_s`: for one whole answer. `requests_per_second`: 0 is no limit. `search_by_post`: a search's
    parameters travel in a body and never in a URL. `max_body_bytes`: of one answer, decompressed. `tls`: None
    is the machine's certificate authorities. `auth` sees the base and a 401, not each address, and sets
    the Authorization header.
    `fast`: by aiohttp's pool rather than by httpx's, which is for tests: respx sees only httpx.
    """

    base_url: str
    aliases: tuple[str, ...] = ()
    concurrency: int = 8
    timeout_s: float = 30.0
    auth: httpx.Auth | None = field(default=None, repr=False)
    max_body_bytes: int = 64 * MEBIBYTE
    deadline_s: float = 120.0
    requests_per_second: float = 0.0
    search_by_post: bool = False
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    fast: bool = False


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


def tls_context(ca_file: str = "", client_certificate: str = "", client_key: str = "") -> ssl.SSLContext:
    """TLS 1.2 or newer, with certificates always checked.

    `ca_file`: PEM of the hospital's own authorities, trusted beside those of the machine (SSL_CERT_FILE) or of
    certifi. `client_certificate`, `client_key`: PEM for mutual TLS; the key may stand in the certificate's file.
    Raises UsageError that names the key and never the content.
    """
    context = httpx.create_ssl_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:  # ssl.SSLError is one
            raise UsageError(f"[fhir] ca_file cannot be read as PEM certificates ({_why(error)}).") from None
    if client_certificate:
        try:
            # A key with a passphrase would make OpenSSL ask on the terminal.
            context.load_cert_chain(client_certificate, client_key or None, password=no_passphrase)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"[fhir] client_certificate or client_key cannot be read as PEM, or they do not match ({_why(error)})."
            ) from None
    elif client_key:
        raise UsageError("[fhir] client_key has no client_certificate beside it.")
    return context


def no_passphrase() -> str:
    """What OpenSSL is told instead of asking on the terminal."""
    raise ValueError("the key has a passphrase")


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError) or not isinstance(error, OSError):
        return "not the expected content"
    return error.strerror or "not readable"


def proxy_for(base_url: str, *, loopback: bool) -> str | None:
    """The proxy that the environment names for this server (HTTPS_PROXY, ALL_PROXY, NO_PROXY)."""
    parts = urlsplit(base_url)
    if loopback or proxy_bypass(parts.netloc):
        return None
    known = getproxies()
    proxy = known.get(parts.scheme) or known.get("all")
    if proxy and "://" not in proxy:
        proxy = f"http://{proxy}"
    if proxy and urlsplit(proxy).scheme not in {"http", "https"}:
        raise UsageError("HTTPS_PROXY or ALL_PROXY: only an http or https proxy is supported.")
    return proxy
