"""Who comes by a browser or from an EHR: the launch, the caseload, CDS Hooks. What they share is opened once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.seal import site_seal
from bhi_fhir.errors import SiteError
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.settings import Site
from bhi_fhir.web import logs
from bhi_fhir.web.caseload import Caseload
from bhi_fhir.web.cds import Cds
from bhi_fhir.web.kept import LastSync
from bhi_fhir.web.launch import Launches
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.session import Sessions
from bhi_fhir.web.signing_in import LAUNCH, revoked

SWEPT_S = 60.0
"""How often what is over is looked for."""


def expected(site: Site) -> bool:
    return bool(site.smart.client_id or site.caseload.issuer or site.cds.clients)


def install(app: FastAPI, desk: Desk, ledger: Ledger, rates: Rates) -> None:
    """What site.toml sets up of them, until the app ends. SiteError for anything wrong with it.

    `rates`: how often sign-ins may be begun from one address.
    """
    site = desk.site
    kept = site.delivery
    seal = site_seal(kept.key_env, desk.folder / kept.key_file)
    sessions, last = Sessions(ledger, seal), LastSync(ledger)
    app.state.sessions = sessions
    app.state.launches = Launches.of(site, sessions, rates)
    app.state.caseload = Caseload.of(desk, sessions, last, rates)
    app.state.cds = Cds.of(desk, sessions, last)


@asynccontextmanager
async def beside(app: FastAPI) -> AsyncIterator[None]:
    """What goes on beside the requests for as long as the app runs. It holds nobody up."""
    if getattr(app.state, "sessions", None) is None:
        yield
        return
    if app.state.cds is not None:
        app.state.cds.callers.fetch_keys()
    sweeping = asyncio.create_task(_sweep_for_ever(app))
    try:
        yield
    finally:
        sweeping.cancel()
        with suppress(asyncio.CancelledError):
            await sweeping


async def _sweep_for_ever(app: FastAPI) -> None:
    while True:
        await asyncio.sleep(SWEPT_S)
        try:
            over = await app.state.sessions.sweep()
        except SiteError as error:
            logs.event("not swept", because=str(error))
            continue
        for each in over:  # one after the other: the authorization server has other work
            if each.kind == LAUNCH and app.state.launches is not None:
                await revoked(app.state.launches.client, each.data)
