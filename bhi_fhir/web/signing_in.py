"""A sign-in on its way, from the EHR or at the hospital's own, and what a browser has open closed again."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from bhi_fhir.errors import ServerError, SiteError
from bhi_fhir.settings import Site
from bhi_fhir.web import cookies, logs
from bhi_fhir.web.oauth_client import Attempt, Client, Configuration, SignInRefused
from bhi_fhir.web.pages.shown import told
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.session import Session, Sessions

ATTEMPT, LAUNCH = "attempt", "launch"
"""Kinds of sessions: a sign-in on its way, and a launch of the EHR."""
CODE = re.compile(r"[!-~]{1,4000}")
_LASTS = timedelta(minutes=10)
_REVOKING_S = 5.0


def public_url(site: Site) -> str:
    """SiteError where browsers would not keep our cookie."""
    url = site.serve.public_url.rstrip("/")
    if not url:
        raise SiteError("serve.public_url is missing: the https address under which browsers reach the service")
    if not url.startswith("https://"):
        raise SiteError("serve.public_url: browsers keep our cookie under https only; give the https address")
    if url.count("/") != 2:
        raise SiteError("serve.public_url: the pages need an address without a path, such as https://bhi.example.org")
    return url


async def not_too_often(request: Request, rates: Rates) -> None:
    """Whoever begins a sign-in is nobody yet, and each is a row in the database: Problem 429 beyond the rate."""
    address = request.client.host if request.client else ""
    await rates.admit(f"sign-ins from {address}", "Too many sign-ins were begun from your address. Try again shortly.")


async def begin(
    request: Request,
    sessions: Sessions,
    client: Client,
    server: Configuration,
    scope: str,
    kept: dict[str, Any],
    **more: str,
) -> Response:
    """The way to the authorization server. `kept`: what must be known when the browser comes back."""
    attempt = Attempt.new()
    secret = cookies.new_secret()
    kept = {**kept, "nonce": attempt.nonce, "verifier": attempt.verifier}
    await sessions.open(ATTEMPT, secret, kept, _LASTS, name=attempt.state)
    answer = RedirectResponse(client.authorize_url(server, attempt, scope, **more), 302)
    cookies.set_begun(request, answer, attempt.state, secret, _LASTS)
    return answer


async def begun(request: Request, sessions: Sessions, mark: str) -> Session | None:
    """The sign-in that this browser began, once; None for another's, or one without `mark` in what it kept."""
    state = request.query_params.get("state", "")
    secret = cookies.secret_of(request, state)
    attempt = await sessions.take(ATTEMPT, state, secret) if secret else None
    return attempt if attempt is not None and mark in attempt.data else None


async def ended(request: Request, sessions: Sessions, answer: Response, secret: str) -> None:
    """The browser that has signed in gets this secret, and loses those that open nothing any more."""
    cookies.set_open(request, answer, secret)
    cookies.drop_begun(request, answer, request.query_params["state"])
    opened = await sessions.of_browser(cookies.secrets_of(request))
    cookies.drop_all_but(request, answer, (each.browser for each in opened))


@dataclass(frozen=True)
class Entrance:
    """Whose sign-in it is, as people are told. `again`: what to do once more."""

    name: str
    again: str


EHR = Entrance("The EHR's sign-in", "Open the page again from the EHR.")
HOSPITAL = Entrance("The hospital's sign-in", "Open the caseload again.")


def failed(error: Exception, to: Entrance) -> Exception:
    logs.event("sign-in failed", because=str(error))
    if isinstance(error, ServerError):
        return told(503, f"{to.name} does not answer", "Signing in is not possible at the moment. Try again shortly.")
    if isinstance(error, SignInRefused) and error.code == "invalid_grant":
        return told(400, "This sign-in was used before", f"Its code does not count any more. {to.again}")
    return told(403, "You were not let in", f"{to.name} cannot be trusted or refuses this app. Nothing was read.")


def goodbye(found: Session | None) -> dict[str, Any]:
    """What is said of the session that was closed, if one was."""
    return {"title": "Signed out" if found else "Nobody is signed in here", "closed": found is not None}


async def close_browser(request: Request, sessions: Sessions) -> None:
    """All that a browser has open is closed, and its tokens are given back. A sign-in on its way is nobody's yet."""
    browsers = cookies.secrets_of(request)
    opened = await sessions.of_browser(browsers)
    await sessions.close_all(browsers)
    launches = request.app.state.launches
    if launches is not None:
        await asyncio.gather(*(revoked(launches.client, each.data) for each in opened if each.kind == LAUNCH))


async def revoked(client: Client, data: dict[str, Any]) -> None:
    """Of a launch: its tokens are given back, where the server takes them."""
    try:
        async with asyncio.timeout(_REVOKING_S):
            server = await client.server(data["iss"])
            for kind in ("refresh", "access"):
                await client.revoke(server, data[kind], f"{kind}_token")
    except (TimeoutError, ServerError, SignInRefused):
        logs.event("not revoked", because="the authorization server does not take the tokens back")
