"""Who comes by a browser or from an EHR: the launch, the caseload, CDS Hooks. What they share is opened once."""

from __future__ import annotations

from fastapi import FastAPI

from bhi_fhir.delivery.seal import site_seal
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import ledger_of
from bhi_fhir.settings import Site
from bhi_fhir.web.caseload import Caseload
from bhi_fhir.web.cds import Cds
from bhi_fhir.web.kept import LastSync
from bhi_fhir.web.launch import Launches
from bhi_fhir.web.session import Sessions


def expected(site: Site) -> bool:
    return bool(site.smart.client_id or site.caseload.issuer or site.cds.clients)


def install(app: FastAPI, desk: Desk) -> None:
    """What site.toml sets up of them, until the app ends. SiteError for anything wrong with it."""
    site = desk.site
    if not expected(site):
        return
    ledger = ledger_of(desk)
    app.state.service.stack.callback(ledger.close)
    kept = site.delivery
    seal = site_seal(kept.key_env, desk.folder / kept.key_file)
    sessions, last = Sessions(ledger, seal), LastSync(ledger, seal)
    app.state.launches = Launches.of(site, sessions)
    app.state.caseload = Caseload.of(site, sessions, last)
    app.state.cds = Cds.of(desk, sessions, last)
