"""For whoever runs the service: is it alive, can it work, what does it do. No patient data, so nobody is asked."""

from __future__ import annotations

import asyncio
import time

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from bhi_fhir.errors import BhiError
from bhi_fhir.fhir.capabilities import capabilities
from bhi_fhir.jobs.office import ledger_of
from bhi_fhir.web import metrics, service
from bhi_fhir.web.service import Service

router = APIRouter(tags=["operations"])

_HOLDS_S = 5.0
_WAITS_S = 5.0
"""A server that has not answered by then does not answer, whatever fhir.timeout_s allows a sync."""


@router.get("/healthz", summary="The process lives and its event loop turns")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get(
    "/readyz",
    summary="The site's server answers and the ledger opens",
    responses={503: {"description": "Something that the service needs is not there"}},
)
async def readyz(request: Request) -> Response:
    readiness: Readiness = request.app.state.readiness
    found = await readiness.of(service.of(request))
    return JSONResponse(found, 200 if all(state in ("ok", "not configured") for state in found.values()) else 503)


@router.get("/metrics", summary="Numbers for Prometheus", response_class=Response)
async def metrics_page(request: Request) -> Response:
    body, kind = await asyncio.to_thread(metrics.page)
    return Response(body, media_type=kind)


class Readiness:
    """What is there, looked at again after a while: asking often must not burden the site's server."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._until = 0.0
        self._found: dict[str, str] = {}

    async def of(self, shared: Service) -> dict[str, str]:
        async with self._one:
            if time.monotonic() >= self._until:
                self._found = await _look(shared)
                self._until = time.monotonic() + _HOLDS_S
        return self._found


async def _look(shared: Service) -> dict[str, str]:
    if not shared.site.fhir.base_url:
        return {"server": "not configured", "ledger": "not configured"}
    return {"server": await _server(shared), "ledger": await asyncio.to_thread(_ledger, shared)}


async def _server(shared: Service) -> str:
    try:
        async with asyncio.timeout(min(_WAITS_S, shared.site.serve.time_limit_s / 2)):
            office = await shared.office_for(shared.desk)
            await capabilities(office.client)
    except (BhiError, TimeoutError):
        return "does not answer"
    return "ok"


def _ledger(shared: Service) -> str:
    try:
        ledger_of(shared.desk).close()
    except BhiError:
        return "cannot be opened"
    return "ok"
