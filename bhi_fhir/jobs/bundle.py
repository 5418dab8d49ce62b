"""An evaluation as the Bundle of `--format fhir`."""

from __future__ import annotations

from datetime import date

import msgspec

from bhi_fhir.drafts.bundle import draft_bundle
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.evaluate import Evaluation


def bundle(done: Evaluation, created: date) -> bytes:
    """The drafts and what stands in their way, as JSON; `created` dates the Claims."""
    decided = [(r.file, r.decision, r.chart) for r in done.results]
    made = draft_bundle(decided, done.set_aside, draft_run(done.desk, created))
    return msgspec.json.format(msgspec.json.encode(made))
