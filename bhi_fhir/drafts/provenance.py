"""Who made a draft, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fhir.resources.R4B.coding import Coding
from fhir.resources.R4B.provenance import Provenance, ProvenanceAgent, ProvenanceEntity
from fhir.resources.R4B.reference import Reference

from bhi_fhir.drafts import elements
from bhi_fhir.drafts.site import DraftSite

PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
ACTIVITY = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"


def provenance(
    created: Sequence[tuple[str, Mapping[str, Any]]],
    evidence: Iterable[str],
    recorded: datetime,
    site: DraftSite,
) -> Provenance:
    """One write of one patient's drafts.

    `created` pairs each version-specific reference ("ChargeItem/1/_history/1") with the JSON written there.
    """
    device = Reference(type="Device", display=f"bhi-fhir {site.version}")
    return Provenance(
        meta=elements.meta(site, _labels(content for _, content in created)),
        target=[Reference(reference=ref) for ref, _ in created],
        recorded=recorded,
        activity=elements.concept(ACTIVITY, "CREATE"),
        agent=[ProvenanceAgent(type=elements.concept(PARTICIPANT, "assembler"), who=device)],
        entity=[ProvenanceEntity(role="source", what=source) for source in elements.references(evidence)] or None,
    )


def _labels(contents: Iterable[Mapping[str, Any]]) -> list[Coding]:
    labels = [label for content in contents for label in content.get("meta", {}).get("security", ())]
    found = {(label.get("system") or "", label.get("code") or ""): label for label in labels}
    return [Coding(**found[key]) for key in sorted(found)]
