from __future__ import annotations

from uuid import UUID

from drafts.samples import COCM_FIRST, MARCH, MARIA, RUN
from hypothesis import given
from hypothesis import strategies as st

from bhi_fhir.drafts.identity import SYSTEM, identifier
from bhi_fhir.drafts.models import draft


def value(site: str, patient: str, month: int = 0, what: str = "99492", kind: str = "charge") -> str:
    return identifier(site, patient, MARCH.shifted(month), what, kind)["value"]


def test_an_identifier_once_given_never_changes() -> None:
    """A literal: a charge that is written already must be found again by every later version."""
    assert value("Example", "Patient/maria") == "84c8430a-9377-5172-a73b-7a7f8f4428ad"


def test_site_patient_month_code_and_kind_each_make_another_one() -> None:
    others = {
        value("Example", "Patient/maria"),
        value("Elsewhere", "Patient/maria"),
        value("Example", "Patient/paul"),
        value("Example", "Patient/maria", month=1),
        value("Example", "Patient/maria", what="99493"),
        value("Example", "Patient/maria", kind="claim"),
    }
    assert len(others) == 6


@given(st.from_regex(r"Patient/[a-z0-9]{3,20}", fullmatch=True))
def test_nothing_of_the_patient_can_be_read_in_it(patient: str) -> None:
    made = identifier("Example", patient, MARCH, "99492", "charge")
    assert made["system"] == SYSTEM
    assert UUID(made["value"]).version == 5
    assert set(made) == {"system", "value"}


def test_a_draft_carries_one_identifier_and_no_name() -> None:
    for resource in draft(COCM_FIRST, MARIA, RUN).resources:
        (only,) = resource.identifier or []
        assert "maria" not in only.model_dump_json()
