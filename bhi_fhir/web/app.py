"""The app: its routers, and what stands around them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from fastapi import APIRouter, FastAPI
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from bhi_fhir import __version__
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import ledger_of
from bhi_fhir.web import caseload, cds, conformance, documents, evaluate, launch, operations, page, problems, visitors
from bhi_fhir.web.callers import Callers
from bhi_fhir.web.door import Door
from bhi_fhir.web.pool import Pool
from bhi_fhir.web.rates import Rates, SharedBuckets
from bhi_fhir.web.service import Service

ROUTERS: tuple[APIRouter, ...] = (
    evaluate.router,
    conformance.router,
    operations.router,
    launch.router,
    page.router,
    caseload.router,
    cds.router,
)


def create_app(site: Path, overrides: Iterable[str] = (), *, is_open: bool = False, workers: int = 1) -> FastAPI:
    """The service of a site's folder, as one of so many workers. UsageError for anything wrong with it.

    `is_open`: nobody is asked who calls; only for this machine (serve.py sees to that).
    """
    desk = Desk.open(site, f"{datetime.now(UTC):%Y-%m}", overrides)
    serve = desk.site.serve
    app = FastAPI(
        title="bhi-fhir",
        version=__version__,
        summary="Decides which Medicare Behavioral Health Integration services a month of a FHIR record supports.",
        lifespan=_lifespan,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # such a redirect would lead where the request's Host says
    )
    app.state.service = Service(desk, Pool(serve.threads, serve.waiting))
    visited = visitors.expected(desk.site)
    # One worker that nobody visits shares nothing, and needs no ledger to decide what it is sent.
    ledger = ledger_of(desk) if visited or workers > 1 else None
    if ledger:
        app.state.service.stack.callback(ledger.close)
    buckets = SharedBuckets(ledger) if ledger else None
    app.state.callers = Callers.of(desk.site, desk.folder, Rates(serve.requests_per_minute, buckets), is_open=is_open)
    if ledger and visited:
        visitors.install(app, desk, ledger, Rates(serve.launches_per_minute, buckets))
    app.state.readiness = operations.Readiness()
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    documents.install(app)
    if serve.forwarded_proxies:
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=serve.forwarded_proxies)
    app.add_middleware(Door, serve=serve, is_open=is_open)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    try:
        async with visitors.beside(app):
            yield
    finally:
        await app.state.service.close()
