"""What the drafts of a run have in common: what the drafts room needs of settings and policy."""

from __future__ import annotations

from datetime import date

from bhi_fhir import __version__
from bhi_fhir.drafts.site import DraftRun, DraftSite
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.policy.model import RULESET
from bhi_fhir.settings import Site


def canonical_base(site: Site) -> str:
    """Under which ChargeItemDefinitions are named: where the site's service serves them, if it has one."""
    return f"{site.serve.public_url.rstrip('/')}/fhir" if site.serve.public_url else "urn:bhi-fhir"


def draft_run(desk: Desk, created: date) -> DraftRun:
    """What is the same for every draft of a run; `created` dates the Claims."""
    site = DraftSite(
        name=desk.site.name,
        ruleset=RULESET,
        canonical_base=canonical_base(desk.site),
        version=__version__,
        place_of_service=desk.site.claim.place_of_service,
        provider=desk.site.claim.provider,
        draft_review=desk.site.delivery.draft_review,
    )
    codes = desk.rules.codes.values()
    return DraftRun(
        site=site,
        month=desk.month,
        titles={c.code: c.title for c in codes},
        adds_to={c.code: c.adds_to for c in codes},
        created=created,
    )
