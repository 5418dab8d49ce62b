"""`/caseload`: the month at a glance for the care manager and the biller, behind the hospital's own sign-in.

The list is that of the last sync and opens at once, whatever the FHIR server does; a patient's page is read anew.
Only patients of that sync's roster can be opened, and addresses name them by the ledger's pseudonym.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from bhi_fhir.audit import AuditLog, Person
from bhi_fhir.errors import ServerError, SiteError
from bhi_fhir.fhir.gate import is_safe
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import audit_of
from bhi_fhir.settings import Caseload as Settings
from bhi_fhir.web import acting, cookies, service
from bhi_fhir.web.acting import Act, Place
from bhi_fhir.web.forms import read_form, same_origin
from bhi_fhir.web.granted import EVERYTHING
from bhi_fhir.web.kept import LastSync
from bhi_fhir.web.oauth_client import Client, SignInRefused
from bhi_fhir.web.pages.html import page
from bhi_fhir.web.pages.rows import FROM_THE_TOP, STATUSES, Filter, Row, as_csv, followed, number, row
from bhi_fhir.web.pages.shown import PageRoute, told
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.service import Service
from bhi_fhir.web.session import Session, Sessions
from bhi_fhir.web.signed_in import PersonsOffice, Reader
from bhi_fhir.web.signing_in import (
    CODE,
    HOSPITAL,
    begin,
    begun,
    close_browser,
    ended,
    failed,
    goodbye,
    not_too_often,
    public_url,
)

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_KIND = "caseload"
_BASE = "/caseload"
_KEY = re.compile(r"[0-9a-f-]{36}")
_MONTH = re.compile(r"20[0-9]{2}-[0-9]{2}")
_PAGE = 50


@dataclass
class Caseload:
    """The list of a site, and who may see it."""

    client: Client
    settings: Settings
    sessions: Sessions
    last: LastSync
    rates: Rates
    log: AuditLog

    @classmethod
    def of(cls, desk: Desk, sessions: Sessions, last: LastSync, rates: Rates) -> Caseload | None:
        """None where the site does not use it. SiteError for anything wrong."""
        site = desk.site
        chosen = site.caseload
        if not chosen.issuer:
            return None
        if not is_safe(chosen.issuer):
            raise SiteError("caseload.issuer: give the https address of the sign-in (OpenID Connect)")
        if not chosen.may_view:
            raise SiteError("caseload.may_view is missing: the groups whose people may see the list")
        client = Client(
            "caseload",
            chosen,
            f"{public_url(site)}{_BASE}/callback",
            "/.well-known/openid-configuration",
            chosen.issuer,
        )
        return cls(client, chosen, sessions, last, rates, audit_of(desk))

    @property
    def idle(self) -> timedelta:
        return timedelta(minutes=self.settings.idle_minutes)

    async def viewed(self, by: Session, what: str) -> None:
        """Nothing is shown that is not in the audit."""
        person = _person(by)
        await asyncio.to_thread(self.log.patient(None, person).viewed, person, what)

    async def find(self, request: Request) -> Session | None:
        browsers = cookies.secrets_of(request)
        return await self.sessions.find(_KIND, "", browsers, self.idle) if browsers else None


def of(request: Request) -> Caseload:
    found = getattr(request.app.state, "caseload", None)
    if found is None:
        raise told(404, "The caseload is not set up", "The site has not said who may see it.")
    return cast(Caseload, found)


def _person(found: Session) -> Person:
    said = found.data["person"]
    return Person(said["name"], said["sub"], said["issuer"], said["token"])


# -- in and out --------------------------------------------------------------------------------------


@router.get(f"{_BASE}/login")
async def login(request: Request) -> Response:
    caseload = of(request)
    await not_too_often(request, caseload.rates)
    try:
        server = await caseload.client.server(caseload.settings.issuer.rstrip("/"))
    except (ServerError, SignInRefused) as error:
        raise failed(error, HOSPITAL) from None
    scope = caseload.settings.scope or f"openid profile {caseload.settings.claim}"
    kept = {"caseload": True, "back": _asked(request.query_params)}
    return await begin(request, caseload.sessions, caseload.client, server, scope, kept)


@router.get(f"{_BASE}/callback")
async def callback(request: Request) -> Response:
    caseload, query = of(request), request.query_params
    attempt = await begun(request, caseload.sessions, "caseload")
    if attempt is None:
        raise told(400, "This sign-in does not belong to this browser", "It was begun elsewhere, or used before.")
    if query.get("error") or not CODE.fullmatch(query.get("code", "")):
        raise told(403, "You were not let in", "The sign-in was not completed.")
    try:
        server = await caseload.client.server(caseload.settings.issuer.rstrip("/"))
        caseload.client.check_sender(server, query.get("iss"))
        grant = await caseload.client.redeem(server, query["code"], attempt.data["verifier"])
        claims = await caseload.client.claims(server, grant.id_token or "", attempt.data["nonce"])
    except (ServerError, SignInRefused) as error:
        raise failed(error, HOSPITAL) from None
    groups = _groups(claims.get(caseload.settings.claim))
    if not groups & set(caseload.settings.may_view):
        raise told(
            403, "You may not see the caseload", "Your sign-in is right, but none of your groups is let in here."
        )
    said = {
        "name": str(claims.get("name") or claims.get("preferred_username") or claims["sub"])[:200],
        "sub": str(claims["sub"])[:200],
        "issuer": str(claims["iss"]),
        "token": str(claims.get("jti") or "")[:200],
    }
    await close_browser(request, caseload.sessions)
    secret = cookies.new_secret()
    data = {"person": said, "groups": sorted(groups), "csrf": secrets.token_urlsafe(32)}
    await caseload.sessions.open(_KIND, secret, data, caseload.idle)
    answer = RedirectResponse(_to(_BASE, attempt.data["back"]), 303)
    await ended(request, caseload.sessions, answer, secret)
    return answer


def _groups(claim: object) -> set[str]:
    return set(map(str, claim)) if isinstance(claim, list) else set(str(claim or "").split())


@router.post(f"{_BASE}/logout")
async def logout(request: Request) -> Response:
    """Closes all that this browser has open here. The hospital's own sign-in goes on, unless the person ends it."""
    caseload, form = of(request), await read_form(request)
    found = await caseload.find(request)
    if found is not None:
        same_origin(request, found, form)
        await close_browser(request, caseload.sessions)
    answer = page("goodbye.html", {**goodbye(found), "elsewhere": await _end_session(caseload)})
    if found is not None:  # a form from elsewhere comes without our cookie and must not take it away
        cookies.drop_all_but(request, answer, ())
    return answer


async def _end_session(caseload: Caseload) -> str:
    """Where the hospital's sign-in ends; "" where it does not say."""
    try:
        server = await caseload.client.server(caseload.settings.issuer.rstrip("/"))
    except (ServerError, SignInRefused):
        return ""
    where, asked = server.end_session_endpoint, urlencode({"client_id": caseload.settings.client_id})
    return f"{where}{'&' if '?' in where else '?'}{asked}" if where else ""


# -- the list ----------------------------------------------------------------------------------------


@router.get(_BASE)
async def listed(request: Request) -> Response:
    caseload, shared = of(request), service.of(request)
    found = await caseload.find(request)
    if found is None:
        return RedirectResponse(_to(f"{_BASE}/login", _asked(request.query_params)), 303)
    given = dict(request.query_params)
    desk = await _desk(caseload, shared, given)
    chosen = Filter.read(given)
    today = shared.today()
    shown = await asyncio.to_thread(_listing, caseload, desk, today, chosen)
    at = number(given.get("page", "")) or 0
    await caseload.viewed(found, f"{_BASE} {desk.month}")
    context = {
        "title": f"Caseload, {desk.month.first_day:%B %Y}",
        "site": shared.site.name,
        "person": found.data["person"]["name"],
        "csrf": found.data["csrf"],
        "month": str(desk.month),
        "month_name": f"{desk.month.first_day:%B %Y}",
        "before": str(desk.month.shifted(-1)),
        "after": str(desk.month.shifted(1)) if desk.month.last_day < today else "",
        "days_left": (desk.month.last_day - today).days if desk.month.last_day >= today else None,
        "rows": shown.chosen[at * _PAGE : (at + 1) * _PAGE],
        "tally": shown.tally,
        "total": len(shown.chosen),
        "filter": chosen,
        "from_the_top": FROM_THE_TOP,
        "statuses": STATUSES,
        "elements": shown.elements,
        "read_at": shown.read_at,
        "zone": shared.site.zone,
        "address": _address(desk, chosen),
        "page": at,
        "pages": -(-len(shown.chosen) // _PAGE),
    }
    return page("caseload.html", context)


async def _desk(caseload: Caseload, shared: Service, given: Mapping[str, str]) -> Desk:
    """Of the month that is asked for, else of the newest that a sync has read."""
    month = given.get("month") or await asyncio.to_thread(caseload.last.newest, *acting.months_shown(shared))
    return acting.month_asked(shared, month)


def _asked(given: Mapping[str, str]) -> str:
    """Month, filter and page of an address as a query, so that a sign-in between loses none of them."""
    month = given.get("month", "") if _MONTH.fullmatch(given.get("month", "")) else ""
    said = {"month": month, **Filter.read(dict(given)).said, "page": number(given.get("page", ""))}
    return urlencode({name: value for name, value in said.items() if value})


def _to(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


@dataclass(frozen=True)
class _Listing:
    """`chosen`: the rows that the filter lets through, in order; the rest is of all rows of the month."""

    chosen: list[Row]
    tally: dict[str, int]
    elements: list[str]
    read_at: datetime | None


def _listing(caseload: Caseload, desk: Desk, today: date, chosen: Filter) -> _Listing:
    """Blocks: a hospital has many rows, which are sorted and counted."""
    rows, read_at = _rows(caseload, desk, today)
    tally = {said: sum(r.status == status for r in rows) for status, said in STATUSES.items()}
    return _Listing(chosen.choose(rows), tally, sorted({name for r in rows for name in r.elements}), read_at)


def _sheet(caseload: Caseload, desk: Desk, today: date, chosen: Filter) -> str:
    return as_csv(_listing(caseload, desk, today, chosen).chosen, desk.month, today)


def _rows(caseload: Caseload, desk: Desk, today: date) -> tuple[list[Row], datetime | None]:
    """The rows of the last sync, and when it read the last of them."""
    found = caseload.last.months(str(desk.month), row)
    low = desk.rules.values["remission_below"]
    return [followed(each, today, low) for each in found], max((each.read_at for each in found), default=None)


def _address(desk: Desk, chosen: Filter) -> Any:
    def address(path: str = "", **more: object) -> str:
        said = {"month": desk.month, **chosen.said, **more}
        query = {name: 1 if value is True else value for name, value in said.items() if value not in ("", None, False)}
        return f"{_BASE}{path}?{urlencode(query)}"

    return address


@router.get(f"{_BASE}/list.csv")
async def sheet(request: Request) -> Response:
    caseload, shared = of(request), service.of(request)
    found = await _let_in(request)
    desk = await _desk(caseload, shared, request.query_params)
    chosen = Filter.read(dict(request.query_params))
    text = await asyncio.to_thread(_sheet, caseload, desk, shared.today(), chosen)
    await caseload.viewed(found, f"{_BASE}/list.csv {desk.month}")
    headers = {"content-disposition": f'attachment; filename="caseload-{desk.month}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)


async def _let_in(request: Request) -> Session:
    found = await of(request).find(request)
    if found is None:
        raise told(401, "Nobody is signed in here", "Open the caseload again and sign in.")
    return found


# -- one patient -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Listed(Place):
    """A patient of the last sync's roster, read with the site's own access."""

    settings: Settings

    def office(self) -> AbstractAsyncContextManager[PersonsOffice]:
        return self._office()

    @asynccontextmanager
    async def _office(self) -> AsyncIterator[PersonsOffice]:
        base = await self.shared.office_for(self.desk)
        reader = Reader(base.client, base.served, self.desk.reading, granted=EVERYTHING)
        yield PersonsOffice(
            desk=self.desk,
            client=base.client,
            served=base.served,
            reader=reader,
            ledger=base.ledger,
            delivery=base.delivery,
            log=base.log,
            audit=base.audit,
            now=base.now,
            person=_person(self.session),
            is_named=True,
        )

    def forbids(self, act: Act, office: PersonsOffice) -> str:
        allowed = {"approve": self.settings.may_approve, "attest": self.settings.may_attest}.get(act)
        if allowed is None:
            return "Drafts are prepared by the nightly run, or from the EHR."
        if not set(self.session.data["groups"]) & set(allowed):
            return f"None of your groups may {act} here."
        return ""

    def context(self) -> dict[str, Any]:
        up = f"{_BASE}?{urlencode({'month': self.month})}"
        return {"banner_full": True, "style": "", "leave": f"{_BASE}/logout", "up": up}


async def _place(request: Request, given: Mapping[str, str]) -> Place:
    """Told with 401 for nobody, with 404 for whoever is not on the roster of the last sync."""
    caseload, shared = of(request), service.of(request)
    found = await _let_in(request)
    desk = acting.month_asked(shared, given.get("month"))
    key = given.get("of", "")
    kept = await asyncio.to_thread(caseload.last.one, key, str(desk.month)) if _KEY.fullmatch(key) else None
    if kept is None:
        raise told(404, "This patient is not on the list", "The last sync of this month had nobody like that.")
    return _Listed(
        shared=shared,
        session=found,
        desk=desk,
        patient=kept.month.patient,
        base=f"{_BASE}/patient",
        fields={"of": key},
        settings=caseload.settings,
    )


acting.routes(router, f"{_BASE}/patient", _place, ("approve", "attest"))
