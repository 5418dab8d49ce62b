"""Validated drafts as delivery takes them."""

from __future__ import annotations

import json
from typing import Any

from bhi_fhir.delivery.line import Draft
from bhi_fhir.domain.decision import Decision
from bhi_fhir.drafts.models import PatientDrafts


def delivery_drafts(drafts: PatientDrafts, decision: Decision) -> tuple[Draft, ...]:
    """The same drafts as delivery takes them: plain JSON, and beside it what only some destinations want."""
    charges = [
        Draft(
            identifier=(charge.identifier or [])[0].value or "",
            resource_type="ChargeItem",
            code=_code(charge.code),
            content=_plain(charge),
            served=_served(decision, charge),
            diagnoses=drafts.diagnoses,
        )
        for charge in drafts.charge_items
    ]
    claims = [
        Draft(
            identifier=(claim.identifier or [])[0].value or "",
            resource_type="Claim",
            code=str((claim.careTeam or [])[0].provider.reference),
            content=_plain(claim),
        )
        for claim in drafts.claims
    ]
    return (*charges, *claims)


def _served(decision: Decision, charge: Any) -> tuple[tuple[str, int], ...]:
    """The days of the line that the charge was drafted from, with their units."""
    who = [performer.actor.reference for performer in charge.performer or ()]
    return tuple(
        (str(day), units)
        for line in decision.lines
        if line.code == _code(charge.code) and (line.practitioner in who or not who)
        for day, units in line.days or ((line.date_of_service, line.units),)
    )


def _code(concept: Any) -> str:
    return str((concept.coding or [])[0].code)


def _plain(resource: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(resource.model_dump_json())
    return content
