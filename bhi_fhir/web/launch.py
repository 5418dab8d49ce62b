"""SMART App Launch 2.2: from the EHR or by itself, back with a code, and out again.

The EHR says in the address from which server it launches; that server is only looked up among those of site.toml.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from bhi_fhir.errors import ServerError, SiteError
from bhi_fhir.fhir.gate import Gate, is_safe
from bhi_fhir.settings import Site
from bhi_fhir.web import logs, session
from bhi_fhir.web.granted import wanted
from bhi_fhir.web.oauth_client import Attempt, Client, Configuration, Grant, SignInRefused
from bhi_fhir.web.pages.html import frames, page
from bhi_fhir.web.pages.shown import PageRoute, told
from bhi_fhir.web.pages.style import chosen_style
from bhi_fhir.web.problems import Issue, Problem
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.session import Sessions

router = APIRouter(include_in_schema=False, route_class=PageRoute)

ATTEMPT, LAUNCH = "attempt", "launch"
_ATTEMPT_LASTS = timedelta(minutes=10)
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_CODE = re.compile(r"[!-~]{1,4000}")
_LAUNCH = re.compile(r"[!-~]{1,4000}")
_NAME = re.compile(r"[A-Za-z0-9_-]{20,64}")
_REVOKING_S = 5.0
_LONGEST_FORM, _MOST_FIELDS = 2**15, 200
_ERROR = re.compile(r"[a-z_]{1,40}")


@dataclass
class Launches:
    """The service as a SMART app. `gates`: of the servers that may launch it, by their exact base URL."""

    client: Client
    gates: dict[str, Gate]
    sessions: Sessions
    rates: Rates
    idle: timedelta

    @classmethod
    def of(cls, site: Site, sessions: Sessions, rates: Rates) -> Launches | None:
        """None where the site does not use it. SiteError for anything wrong."""
        if not site.smart.client_id:
            return None
        base = public_url(site)
        for origin in site.smart.frame_ancestors:
            if not is_safe(origin) or origin.count("/") != 2:
                raise SiteError("smart.frame_ancestors: give origins such as https://ehr.example.org")
        if not site.fhir.base_url:
            raise SiteError("site.toml: fhir.base_url is missing, the address of the site's FHIR server")
        gates = [Gate(each, [site.fhir.base_url, *site.fhir.aliases]) for each in (site.fhir.base_url, *site.smart.iss)]
        client = Client("smart", site.smart, f"{base}/callback", "/.well-known/smart-configuration")
        idle = timedelta(minutes=site.smart.idle_minutes)
        return cls(client, {gate.base_url: gate for gate in gates}, sessions, rates, idle)

    async def find(self, request: Request, name: str) -> session.Session | None:
        if not _NAME.fullmatch(name):
            return None
        return await self.sessions.find(LAUNCH, name, session.secret_of(request), self.idle)


def public_url(site: Site) -> str:
    """SiteError where browsers would not keep our cookie."""
    url = site.serve.public_url.rstrip("/")
    if not url.startswith("https://"):
        raise SiteError("serve.public_url is missing: the https address under which browsers reach the service")
    if url.count("/") != 2:
        raise SiteError("serve.public_url: the pages need an address without a path, such as https://bhi.example.org")
    return url


def of(request: Request) -> Launches:
    found = getattr(request.app.state, "launches", None)
    if found is None:
        raise told(404, "The clinician's page is not set up", "This service is not registered as an app of an EHR.")
    return cast(Launches, found)


@router.get("/launch")
async def launch(request: Request) -> Response:
    """From the EHR with `iss` and `launch`; from a person's bookmark with neither."""
    launches, query = of(request), request.query_params
    await not_too_often(request, launches.rates)
    iss, handle = query.get("iss"), query.get("launch")
    if (iss is None) != (handle is None) or len(query.getlist("iss")) > 1:
        raise told(400, "This launch is not complete", "An EHR gives its address and a launch code, both once.")
    base = next(iter(launches.gates)) if iss is None else _ours(launches, iss)
    if handle is not None and not _LAUNCH.fullmatch(handle):
        raise told(400, "This launch is not complete", "The launch code cannot be read.")
    try:
        server = await launches.client.server(base)
    except (ServerError, SignInRefused) as error:
        raise failed(error) from None
    attempt = Attempt.new()
    secret = session.secret_of(request) or session.new_secret()
    kept = {"iss": base, "nonce": attempt.nonce, "verifier": attempt.verifier, "ehr": handle is not None}
    await launches.sessions.open(ATTEMPT, secret, kept, _ATTEMPT_LASTS, name=attempt.state)
    scope = launches.client.settings.scope or wanted(standalone=handle is None, v1=server.only_v1)
    more = {"aud": base} | ({"launch": handle} if handle is not None else {})
    answer = RedirectResponse(launches.client.authorize_url(server, attempt, scope, **more), 302)
    session.set_secret(request, answer, secret)
    return answer


async def not_too_often(request: Request, rates: Rates) -> None:
    """Whoever begins a sign-in is nobody yet, and each is a row in the database: Problem 429 beyond the rate."""
    address = request.client.host if request.client else ""
    if wait := await rates.wait(f"sign-ins from {address}"):
        issue = Issue("throttled", "Too many sign-ins were begun from your address. Try again shortly.")
        raise Problem(429, issue, headers={"Retry-After": str(math.ceil(wait))})


def _ours(launches: Launches, iss: str) -> str:
    """The configured base URL that `iss` is, to the letter but for a slash at its end."""
    base = iss.rstrip("/")
    if base not in launches.gates:
        raise told(
            403, "This EHR is not known here", "The launch came from a server that this service does not belong to."
        )
    return base


@router.get("/callback")
async def callback(request: Request) -> Response:
    launches, query = of(request), request.query_params
    secret = session.secret_of(request)
    state = query.get("state", "")
    attempt = await launches.sessions.take(ATTEMPT, state, secret) if state and secret else None
    if attempt is None or "iss" not in attempt.data:
        raise told(
            400,
            "This sign-in does not belong to this browser",
            "It was begun elsewhere, used before, or ten minutes ago. Open the page again from the EHR.",
        )
    if said := query.get("error"):
        logs.event("sign-in refused", because=said if _ERROR.fullmatch(said) else "error")
        raise told(403, "You were not let in", "The EHR, or you, did not allow this app. Nothing was read.")
    if not _CODE.fullmatch(query.get("code", "")):
        raise told(400, "This sign-in is not complete", "The EHR sent no code. Open the page again from the EHR.")
    kept = attempt.data
    try:
        server = await launches.client.server(kept["iss"])
        launches.client.check_sender(server, query.get("iss"))
        grant = await launches.client.redeem(server, query["code"], kept["verifier"])
        person = await _person(launches, server, grant, kept)
    except (ServerError, SignInRefused) as error:
        raise failed(error) from None
    patient = grant.patient or ""
    if not _ID.fullmatch(patient):
        await launches.client.revoke(server, grant.refresh_token or grant.access_token, "access_token")
        raise told(
            400, "No patient is open", "The EHR did not say whose page this is. Open a patient there, then this page."
        )
    scope = launches.client.settings.scope or wanted(standalone=not kept["ehr"], v1=server.only_v1)
    data = {
        "iss": kept["iss"],
        "patient": f"Patient/{patient}",
        "person": person,
        "scope": grant.scope if grant.scope is not None else scope,
        "banner": grant.need_patient_banner,
        "style": await chosen_style(launches.gates[kept["iss"]], grant.smart_style_url),
        "csrf": secrets.token_urlsafe(32),
        **tokens_of(grant),
    }
    secret = await _own_browser(request, secret, person)
    name = await launches.sessions.open(LAUNCH, secret, data, launches.idle)
    answer = RedirectResponse(f"/patient?at={name}", 303)
    session.set_secret(request, answer, secret)
    return answer


def tokens_of(grant: Grant, before: str = "") -> dict[str, Any]:
    """As a session keeps them. `before`: the refresh token that stays where the server gives no new one."""
    until = datetime.now(UTC) + timedelta(seconds=grant.life_s)
    return {"access": grant.access_token, "until": until.isoformat(), "refresh": grant.refresh_token or before}


async def _person(launches: Launches, server: Configuration, grant: Grant, kept: dict[str, Any]) -> dict[str, str]:
    """Who signed in; nobody where the server gives no id token. SignInRefused for one that does not count."""
    if not grant.id_token:
        return {}
    claims = await launches.client.claims(server, grant.id_token, kept["nonce"])
    said = str(claims.get("fhirUser") or claims.get("profile") or "")
    try:
        url = launches.gates[kept["iss"]].admit(said) if said else ""
    except ServerError:
        url = ""  # a person of another server is nobody here
    reference = url.removeprefix(f"{kept['iss']}/")
    known = re.fullmatch(r"(Practitioner|PractitionerRole|Person|RelatedPerson)/[A-Za-z0-9.-]{1,64}", reference)
    return {
        "reference": reference if known else "",
        "name": str(claims.get("name") or "")[:200],
        "sub": str(claims["sub"])[:200],
        "issuer": str(claims["iss"]),
        "token": str(claims.get("jti") or "")[:200],
    }


async def _own_browser(request: Request, secret: str, person: dict[str, str]) -> str:
    """A new secret for the browser that has signed in; what somebody else may have open there is closed."""
    sessions = of(request).sessions
    fresh = session.new_secret()
    if person and await _was_mine(sessions, secret, person):
        await sessions.move(secret, fresh)
    else:
        await close_browser(request, sessions, secret)
    return fresh


async def _was_mine(sessions: Sessions, secret: str, person: dict[str, str]) -> bool:
    """Another issuer's sign-in (the caseload's) cannot be compared, and stays."""
    others = [each.data["person"] for each in await sessions.of_browser(secret) if each.kind != ATTEMPT]
    return all(other and (other["issuer"] != person["issuer"] or other["sub"] == person["sub"]) for other in others)


async def close_browser(request: Request, sessions: Sessions, secret: str) -> None:
    """All that a browser has open is closed, and its tokens are given back."""
    opened = await sessions.of_browser(secret)
    await sessions.close_all(secret)
    launches: Launches | None = request.app.state.launches
    if launches is not None:
        await asyncio.gather(*(_revoked(launches, each.data) for each in opened if each.kind == LAUNCH))


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Takes the tokens back where the server can, and closes this launch."""
    launches = of(request)
    form = await read_form(request)
    found = await launches.find(request, form.get("at", ""))
    if found is not None:
        same_origin(request, found, form)
        await launches.sessions.close(found)
        await _revoked(launches, found.data)
    return page("goodbye.html", {**goodbye(found), "elsewhere": ""}, frames=frames(request))


def goodbye(found: session.Session | None) -> dict[str, Any]:
    """What is said of the session that was closed, if one was."""
    return {"title": "Signed out" if found else "Nobody is signed in here", "closed": found is not None}


async def _revoked(launches: Launches, data: dict[str, Any]) -> None:
    try:
        async with asyncio.timeout(_REVOKING_S):
            server = await launches.client.server(data["iss"])
            for kind in ("refresh", "access"):
                await launches.client.revoke(server, data[kind], f"{kind}_token")
    except (TimeoutError, ServerError, SignInRefused):
        logs.event("not revoked", because="the authorization server does not take the tokens back")


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that one of our pages sent; the last of a name counts but for `line`, which is joined."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise told(415, "This form cannot be read", "Open the page again.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST_FORM:
            raise told(413, "This form is too long", "Nothing was done. Shorten what you wrote.")
    found: dict[str, str] = {}
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise told(400, "This form cannot be read", "Nothing was done. Open the page again.") from None
    for name, value in fields:
        found[name] = f"{found[name]} {value}" if name == "line" and name in found else value
    return found


def same_origin(request: Request, found: session.Session, form: dict[str, str]) -> None:
    """A form of this very page: by its token, and by the origin where the browser says it."""
    origin = request.headers.get("origin", "")
    site = request.app.state.service.site
    ours = origin in ("", "null", public_url(site)) and request.headers.get("sec-fetch-site", "same-origin") in (
        "same-origin",
        "none",
    )
    if not ours or not hmac.compare_digest(form.get("csrf", "").encode(), found.data["csrf"].encode()):
        raise told(403, "This form is not from this page", "Nothing was done. Open the page again from the EHR.")


def failed(error: Exception) -> Exception:
    logs.event("sign-in failed", because=str(error))
    if isinstance(error, ServerError):
        return told(503, "The EHR does not answer", "Signing in is not possible at the moment. Try again shortly.")
    if isinstance(error, SignInRefused) and error.code == "invalid_grant":
        return told(
            400, "This sign-in was used before", "Its code does not count any more. Open the page again from the EHR."
        )
    return told(
        403, "You were not let in", "The EHR's sign-in cannot be trusted or refuses this app. Nothing was read."
    )
