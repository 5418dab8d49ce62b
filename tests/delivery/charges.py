"""Lines of the ledger as the doors get them: Maria's first CoCM month."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from drafts.samples import COCM_FIRST, MARIA, RUN

from bhi_fhir.delivery.line import Draft, Line
from bhi_fhir.drafts.models import draft

_CHARGE, _CLAIM = draft(COCM_FIRST, MARIA, RUN).resources


def _draft(resource: Any, code: str) -> Draft:
    content = json.loads(resource.model_dump_json())
    return Draft(content["identifier"][0]["value"], content["resourceType"], code, content)


CLAIM = Line(_draft(_CLAIM, "Practitioner/pcp"), "2026-03", "sending", revision=1)
PLANNED = Line(_draft(_CHARGE, "99492"), "2026-03", "sending", revision=1)


def with_content(line: Line, **elements: Any) -> Line:
    return replace(line, draft=replace(line.draft, content={**line.content, **elements}))


def with_draft(line: Line, **fields: Any) -> Line:
    return replace(line, draft=replace(line.draft, **fields))


APPROVED = with_content(PLANNED, status="billable")
"""Billable, of the last day of March 2026."""
TWO_DAYS = with_draft(APPROVED, served=(("2026-03-03", 1), ("2026-03-17", 2)))
WITHDRAWN = with_content(APPROVED, status="aborted").draft
TWO_UNITS = with_content(APPROVED, quantity={"value": 2}).draft
