"""`/patient`: the clinician's page, one patient's month from the EHR with the clinician's own token.

The address names the launch and never a patient: whose page it is stands in the session alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from bhi_fhir.web import acting, launch, service
from bhi_fhir.web.acting import Act, Place
from bhi_fhir.web.granted import Granted
from bhi_fhir.web.launch import Launches
from bhi_fhir.web.pages import style
from bhi_fhir.web.pages.html import frames
from bhi_fhir.web.pages.shown import PageRoute, told
from bhi_fhir.web.signed_in import PersonsOffice, office_of

router = APIRouter(include_in_schema=False, route_class=PageRoute)

_BASE = "/patient"


@dataclass(frozen=True, kw_only=True)
class _Launched(Place):
    """In a launch of the EHR, with the person's token."""

    launches: Launches

    def office(self) -> AbstractAsyncContextManager[PersonsOffice]:
        return office_of(self.shared, self.launches, self.session, self.desk)

    def forbids(self, act: Act, office: PersonsOffice) -> str:
        if not Granted.read(self.session.data["scope"]).may_write:
            return "The EHR did not grant this launch to write charges. Drafts are prepared by the nightly run."
        return ""

    def context(self) -> dict[str, Any]:
        styled = bool(self.session.data["style"])
        return {
            "banner_full": self.session.data["banner"],
            "style": f"/patient/style.css?at={self.session.name}" if styled else "",
            "leave": "/logout",
            "up": "",
        }


async def _place(request: Request, given: Mapping[str, str]) -> Place:
    """Told with 401 for a launch that this browser does not have."""
    launches, shared = launch.of(request), service.of(request)
    found = await launches.find(request, given.get("at", ""))
    if found is None:
        raise told(
            401, "Nobody is signed in here", "The page was closed, or not used for a while. Open it again from the EHR."
        )
    return _Launched(
        shared=shared,
        session=found,
        desk=acting.month_asked(shared, given.get("month")),
        patient=found.data["patient"],
        base=_BASE,
        fields={"at": found.name},
        frames=frames(request),
        launches=launches,
    )


acting.routes(router, _BASE, _place, ("prepare", "approve", "attest"))


@router.get(f"{_BASE}/style.css")
async def style_sheet(request: Request) -> Response:
    found = await launch.of(request).find(request, request.query_params.get("at", ""))
    return Response(style.sheet(found.data["style"]) if found else "", media_type="text/css")


@router.get("/pages/page.css")
async def page_css() -> Response:
    return Response(style.own(), media_type="text/css", headers={"cache-control": "max-age=600"})
