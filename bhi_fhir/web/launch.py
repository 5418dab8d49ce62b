"""SMART App Launch 2.2: from the EHR or by itself, back with a code, and out again.

The EHR says in the address from which server it launches; that server is only looked up among those of site.toml.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from bhi_fhir.errors import ServerError, SiteError
from bhi_fhir.fhir.gate import Gate, is_safe
from bhi_fhir.settings import Site
from bhi_fhir.web import cookies, logs
from bhi_fhir.web.forms import read_form, same_origin
from bhi_fhir.web.granted import wanted
from bhi_fhir.web.oauth_client import Client, Configuration, Grant, SignInRefused
from bhi_fhir.web.pages.html import frames, page
from bhi_fhir.web.pages.shown import PageRoute, told
from bhi_fhir.web.pages.style import chosen_style
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.session import Session, Sessions
from bhi_fhir.web.signing_in import (
    CODE,
    EHR,
    LAUNCH,
    begin,
    begun,
    close_browser,
    ended,
    failed,
    goodbye,
    not_too_often,
    public_url,
    revoked,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_LAUNCH = re.compile(r"[!-~]{1,4000}")
_NAME = re.compile(r"[A-Za-z0-9_-]{20,64}")
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

    async def find(self, request: Request, name: str) -> Session | None:
        if not _NAME.fullmatch(name):
            return None
        return await self.sessions.find(LAUNCH, name, cookies.secrets_of(request), self.idle)


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
        raise failed(error, EHR) from None
    kept = {"iss": base, "ehr": handle is not None}
    scope = launches.client.settings.scope or wanted(standalone=handle is None, v1=server.only_v1)
    more = {"aud": base} | ({"launch": handle} if handle is not None else {})
    return await begin(request, launches.sessions, launches.client, server, scope, kept, **more)


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
    attempt = await begun(request, launches.sessions, "iss")
    if attempt is None:
        raise told(
            400,
            "This sign-in does not belong to this browser",
            "It was begun elsewhere, used before, or ten minutes ago. Open the page again from the EHR.",
        )
    if said := query.get("error"):
        logs.event("sign-in refused", because=said if _ERROR.fullmatch(said) else "error")
        raise told(403, "You were not let in", "The EHR, or you, did not allow this app. Nothing was read.")
    if not CODE.fullmatch(query.get("code", "")):
        raise told(400, "This sign-in is not complete", "The EHR sent no code. Open the page again from the EHR.")
    kept = attempt.data
    try:
        server = await launches.client.server(kept["iss"])
        launches.client.check_sender(server, query.get("iss"))
        grant = await launches.client.redeem(server, query["code"], kept["verifier"])
        person = await _person(launches, server, grant, kept)
    except (ServerError, SignInRefused) as error:
        raise failed(error, EHR) from None
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
    secret = await _own_browser(request, attempt, person)
    name = await launches.sessions.open(LAUNCH, secret, data, launches.idle)
    answer = RedirectResponse(f"/patient?at={name}", 303)
    await ended(request, launches.sessions, answer, secret)
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


async def _own_browser(request: Request, attempt: Session, person: dict[str, str]) -> str:
    """A new secret for the browser that has signed in; what somebody else may have open there is closed.

    What was opened while this sign-in was on its way keeps its secret: its page may be on its way, too.
    """
    sessions, browsers = of(request).sessions, cookies.secrets_of(request)
    fresh = cookies.new_secret()
    if person and await _was_mine(sessions, browsers, person):
        await sessions.move(browsers, fresh, attempt)
    else:
        await close_browser(request, sessions)
    return fresh


async def _was_mine(sessions: Sessions, browsers: tuple[str, ...], person: dict[str, str]) -> bool:
    """Another issuer's sign-in (the caseload's) cannot be compared, and stays."""
    others = [each.data["person"] for each in await sessions.of_browser(browsers)]
    return all(other and (other["issuer"] != person["issuer"] or other["sub"] == person["sub"]) for other in others)


@router.post("/logout")
async def logout(request: Request) -> Response:
    """Takes the tokens back where the server can, and closes this launch."""
    launches = of(request)
    form = await read_form(request)
    found = await launches.find(request, form.get("at", ""))
    if found is not None:
        same_origin(request, found, form)
        await launches.sessions.close(found)
        await revoked(launches.client, found.data)
    return page("goodbye.html", {**goodbye(found), "elsewhere": ""}, frames=frames(request))
