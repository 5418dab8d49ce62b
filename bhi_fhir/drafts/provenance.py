"""Who made a draft, and from what."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from fhir.resources.R4B.provenance import Provenance

from bhi_fhir.drafts import elements
from bhi_fhir.drafts.elements import Json
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
    device = {"type": "Device", "display": f"bhi-fhir {site.version}"}
    made = elements.present(
        meta=elements.meta(site, _labels(content for _, content in created)),
        target=[elements.reference(ref) for ref, _ in created],
        recorded=recorded,
        activity=elements.concept(ACTIVITY, "CREATE"),
        agent=[{"type": elements.concept(PARTICIPANT, "assembler"), "who": device}],
        entity=[{"role": "source", "what": source} for source in elements.references(evidence)],
    )
    return Provenance.model_validate(made)


def _labels(contents: Iterable[Mapping[str, Any]]) -> list[Json]:
    labels = [label for content in contents for label in content.get("meta", {}).get("security", ())]
    found = {(label.get("system") or "", label.get("code") or ""): label for label in labels}
    return [dict(found[key]) for key in sorted(found)]
