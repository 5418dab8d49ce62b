"""Who comes by a browser or from an EHR: the launch, the caseload, CDS Hooks. What they share is opened once."""

from __future__ import annotations

from fastapi import FastAPI

from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.seal import site_seal
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.settings import Site
from bhi_fhir.web.caseload import Caseload
from bhi_fhir.web.cds import Cds
from bhi_fhir.web.kept import LastSync
from bhi_fhir.web.launch import Launches
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.session import Sessions


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
    app.state.launches = Launches.of(site, sessions, rates)
    app.state.caseload = Caseload.of(desk, sessions, last, rates)
    app.state.cds = Cds.of(desk, sessions, last)


def begin(app: FastAPI) -> None:
    """As the app starts, within its loop; what is begun here holds nobody up."""
    if (cds := getattr(app.state, "cds", None)) is not None:
        cds.callers.fetch_keys()
