"""One request to an authorization server, bounded: its configuration, a token, a revocation.

A client of its own: that server may be another host than the FHIR server's, and it is rarely asked. What it answers
stands in no error but the code of an OAuth error.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping

import httpx
import msgspec

from bhi_fhir.errors import Unreachable
from bhi_fhir.fhir.connection import tls_context
from bhi_fhir.fhir.gate import is_loopback
from bhi_fhir.views.common import UNREADABLE

_MAX_BODY = 2**18
_ERROR_CODE = re.compile(r"[a-z_]{1,40}")


async def exchange(
    method: str,
    url: str,
    what: str,
    headers: Mapping[str, str] | None = None,
    form: Mapping[str, str] | None = None,
    *,
    task: str,
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> tuple[int, bytes]:
    """Status and body. Unreachable, which begins with `task` ("No access token"), for no answer or one without end."""

    def failed(why: str, *, passing: bool) -> Unreachable:
        return Unreachable(f"{task}: {why}.", sent=False, passing=passing)

    client = httpx.AsyncClient(
        verify=(tls or tls_context()) if url.lower().startswith("https:") else False,
        timeout=timeout_s,
        follow_redirects=False,
        trust_env=not is_loopback(url.partition("?")[0]),
        # Nothing is unpacked, so nothing can grow.
        headers={"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "bhi-fhir"},
    )
    try:
        async with client, client.stream(method, url, headers=headers, data=form) as response:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MAX_BODY:
                    raise failed(f"{what} answers with more than {_MAX_BODY} bytes", passing=False)
            return response.status_code, bytes(body)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError):
        raise failed(f"no connection to {what} at {httpx.URL(url).host}", passing=True) from None
    except (httpx.HTTPError, httpx.InvalidURL):  # not chained: it holds the form
        raise failed(f"the connection to {what} broke", passing=True) from None


class _Error(msgspec.Struct):
    error: str = ""


_decode_error = msgspec.json.Decoder(_Error).decode


def error_code(body: bytes) -> str:
    """The code of an OAuth error, "" where there is none; its description is foreign text."""
    try:
        code = _decode_error(body).error
    except UNREADABLE:
        return ""
    return code if _ERROR_CODE.fullmatch(code) else ""
