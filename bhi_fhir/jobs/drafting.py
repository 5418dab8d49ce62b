"""Decisions to drafts for a site: what the drafts room needs of settings and policy."""

from __future__ import annotations

from datetime import date

from bhi_fhir import __version__
from bhi_fhir.drafts import DraftRun, DraftSite, draft_bundle
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.evaluate import Evaluation
from bhi_fhir.policy.model import RULESET

CANONICAL_BASE = "urn:bhi-fhir"
"""Where ChargeItemDefinitions are named until a service of the site serves them."""


def draft_run(desk: Desk, created: date) -> DraftRun:
    """What is the same for every draft of a run; `created` dates the Claims."""
    site = DraftSite(
        name=desk.site.name,
        ruleset=RULESET,
        canonical_base=CANONICAL_BASE,
        version=__version__,
        place_of_service=desk.site.claim.place_of_service,
        provider=desk.site.claim.provider,
    )
    codes = desk.rules.codes.values()
    return DraftRun(
        site=site,
        month=desk.month,
        titles={c.code: c.title for c in codes},
        adds_to={c.code: c.adds_to for c in codes},
        created=created,
    )


def bundle(done: Evaluation, created: date) -> str:
    """The Bundle of `--format fhir`."""
    decided = [(r.file, r.decision, r.chart) for r in done.results]
    return str(draft_bundle(decided, done.set_aside, draft_run(done.desk, created)).model_dump_json(indent=2))
