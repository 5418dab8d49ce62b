"""The browser's secrets, each in a cookie of a name of its own: answers that cross overwrite nothing of each other's.

A sign-in on its way has one, named after its state, for as long as it may last. Whoever has signed in has another,
which opens all that is open. A browser has several of those where sign-ins overlapped; the next one joins them.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from bhi_fhir.web.session import digest

COOKIE = "__Host-bhi-fhir"
_BEGUN = re.compile(rf"{COOKIE}-in-[0-9a-f]{{12}}")
_OPEN = re.compile(rf"{COOKIE}-[0-9a-f]{{12}}")
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")
_MOST_BEGUN = 20
"""So many sign-ins a browser may have on their way: proxies refuse a longer line of cookies."""


def new_secret() -> str:
    return secrets.token_urlsafe(32)


def named(secret: str) -> str:
    """The cookie of a secret that opens."""
    return f"{COOKIE}-{digest(secret)[:12]}"


def begun_named(state: str) -> str:
    """The cookie of the sign-in of that state."""
    return f"{COOKIE}-in-{digest(state)[:12]}"


def secrets_of(request: Request) -> tuple[str, ...]:
    """By which this browser opens what is open."""
    return tuple(_opening(request).values())


def secret_of(request: Request, state: str) -> str:
    """By which this browser began the sign-in of that state; "" where another one did."""
    said = request.cookies.get(begun_named(state), "")
    return said if _SECRET.fullmatch(said) else ""


def set_begun(request: Request, response: Response, state: str, secret: str, lasts: timedelta) -> None:
    _set(request, response, begun_named(state), secret, f"; Max-Age={int(lasts.total_seconds())}")
    begun = [name for name in request.cookies if _BEGUN.fullmatch(name)]  # the oldest first (RFC 6265, 5.4)
    _drop(request, response, begun[: 1 - _MOST_BEGUN])


def set_open(request: Request, response: Response, secret: str) -> None:
    """For this browser session. In a frame the cookie is the frame's own, apart for each EHR that frames us."""
    _set(request, response, named(secret), secret)


def drop_begun(request: Request, response: Response, state: str) -> None:
    _drop(request, response, [begun_named(state)])


def drop_all_but(request: Request, response: Response, opening: Iterable[str]) -> None:
    """What opens nothing any more. `opening`: the digests of the secrets that do."""
    stays = set(opening)
    _drop(request, response, [name for name, each in _opening(request).items() if digest(each) not in stays])


def _opening(request: Request) -> dict[str, str]:
    """Only what is ours: a quoted cookie may hold anything."""
    return {n: said for n, said in request.cookies.items() if _OPEN.fullmatch(n) and _SECRET.fullmatch(said)}


def _drop(request: Request, response: Response, names: Iterable[str]) -> None:
    for name in names:
        _set(request, response, name, "", "; Max-Age=0")


def _set(request: Request, response: Response, name: str, value: str, life: str = "") -> None:
    said = f"{name}={value}; Path=/{life}; Secure; HttpOnly; {_site_rule(request)}"
    response.headers.append("set-cookie", said)


def _site_rule(request: Request) -> str:
    if not request.app.state.service.site.smart.frame_ancestors:
        return "SameSite=Lax"  # nobody frames us
    match request.headers.get("sec-fetch-dest", ""):
        case "iframe" | "frame":
            return "SameSite=None; Partitioned"
        case "document":
            return "SameSite=Lax"
    return "SameSite=None"  # an older browser within an EHR does not say where it is shown
