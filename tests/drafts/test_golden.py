"""Whole drafts, compared to the byte. A golden file that is deleted is written anew by the next run, which
fails, so that a person reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fhirkit
import msgspec
import pytest
from drafts.samples import COCM_FIRST, COCM_LATER, GENERAL, MARIA, PAUL, RUN
from fhir.resources.R4B.bundle import Bundle

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.drafts.bundle import draft_bundle

GOLDEN = Path(__file__).parent / "golden"
BROKEN = SetAside("maria.json", "entry[7]", "Encounter/x", "its period cannot be read")

CASES = [
    pytest.param("cocm-first-month", COCM_FIRST, MARIA, [BROKEN], id="a first month of CoCM"),
    pytest.param("cocm-later-with-add-on", COCM_LATER, MARIA, [], id="a later month of CoCM with its add-on"),
    pytest.param("general-bhi", GENERAL, PAUL, [], id="a month of general BHI"),
]


@pytest.mark.parametrize(("name", "decision", "chart", "set_aside"), CASES)
def test_the_whole_bundle_is_as_it_was_read(
    name: str, decision: Decision, chart: Chart, set_aside: list[SetAside]
) -> None:
    path = GOLDEN / f"{name}.json"
    made = draft_bundle([("", decision, chart)], set_aside, RUN)
    written = Bundle.model_validate(made).model_dump_json(indent=2) + "\n"
    assert msgspec.json.format(msgspec.json.encode(made)).decode() + "\n" == written
    if not path.exists():
        path.write_text(written, encoding="utf-8")
        pytest.fail(f"{path.name} was missing and is written now: read it")
    assert written == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("name", "decision", "chart", "set_aside"), CASES)
def test_an_independent_validator_finds_nothing_wrong_with_any_resource(
    name: str, decision: Decision, chart: Chart, set_aside: list[SetAside]
) -> None:
    bundle: Any = Bundle.model_validate(draft_bundle([("", decision, chart)], set_aside, RUN))
    for entry in bundle.entry:
        assert fhirkit.validate(entry.resource.model_dump_json()) == [], name
    assert fhirkit.validate(bundle.model_dump_json()) == []


def test_the_same_patients_in_any_order_give_the_same_bytes() -> None:
    one = draft_bundle([("", COCM_FIRST, MARIA), ("", GENERAL, PAUL)], [], RUN)
    other = draft_bundle([("", GENERAL, PAUL), ("", COCM_FIRST, MARIA)], [], RUN)
    assert msgspec.json.encode(one) == msgspec.json.encode(other)
