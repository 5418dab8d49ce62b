from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import fhirkit
from drafts.samples import COCM_FIRST, MARIA, RUN, SITE

from bhi_fhir.drafts.models import draft
from bhi_fhir.drafts.provenance import provenance


def test_the_provenance_names_each_version_its_maker_and_its_sources() -> None:
    drafts = draft(COCM_FIRST, MARIA, RUN)
    refs = ("ChargeItem/1/_history/1", "Claim/2/_history/1")
    contents = [json.loads(resource.model_dump_json()) for resource in drafts.resources]
    created = list(zip(refs, contents, strict=True))
    made: Any = provenance(created, drafts.evidence, datetime(2026, 4, 1, 6, tzinfo=UTC), SITE)
    assert [target.reference for target in made.target] == list(refs)
    assert made.recorded == datetime(2026, 4, 1, 6, tzinfo=UTC)
    assert made.agent[0].who.model_dump() == {"type": "Device", "display": "bhi-fhir 0.1.0"}
    assert {entity.role for entity in made.entity} == {"source"}
    assert [entity.what.reference for entity in made.entity][:2] == ["Condition/depression", "Consent/verbal"]
    assert {label.code for label in made.meta.security} == {"R", "42CFRPart2"}
    assert fhirkit.validate(made.model_dump_json()) == []
