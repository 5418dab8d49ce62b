"""Drafts as the doors take them: what only some want stands beside the resource."""

from __future__ import annotations

import pytest
from drafts.samples import COCM_FIRST, MARIA, RUN

from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.value import replace
from bhi_fhir.drafts.models import draft
from bhi_fhir.jobs.drafting import delivery_drafts


@pytest.mark.parametrize(
    ("chart", "kinds"), [(MARIA, ["ChargeItem", "Claim"]), (replace(MARIA, covers=()), ["ChargeItem"])]
)
def test_a_charge_has_its_diagnoses_with_it_also_where_no_claim_carries_them(chart: Chart, kinds: list[str]) -> None:
    made = delivery_drafts(draft(COCM_FIRST, chart, RUN), COCM_FIRST)
    assert [each.resource_type for each in made] == kinds
    assert made[0].diagnoses == ("F32.1", "F41.1")
    assert "F32.1" not in str(made[0].content)
