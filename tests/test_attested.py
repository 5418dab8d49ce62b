"""A named person's word meets a review requirement, says whose it is, and never opens what blocks."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from record import Record, cocm_record

from bhi_fhir.domain.decision import Decision, Finding
from bhi_fhir.domain.record import Attestation
from bhi_fhir.domain.value import replace
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.source import Source

DESK = Desk.open(Path(__file__).parents[1] / "mappings" / "sites" / "example", "2026-03")


def decided(record: Record, *requirements: str) -> Decision:
    source = Source("x", "", json.dumps(record.bundle()).encode())
    ((_, chart),) = DESK.decide([source]).decisions
    said = [Attestation(name, "Dr Kim", date(2026, 4, 2), "paper chart", "binder 7") for name in requirements]
    return DESK.decide_chart(replace(chart, attested=tuple(said)))


def findings(decision: Decision, requirement: str) -> list[tuple[str, Finding]]:
    return [(c.code, f) for c in decision.candidates for f in c.findings if f.requirement == requirement]


def statuses(decision: Decision) -> dict[str, str]:
    return {line.code: line.status for line in decision.lines}


def test_it_makes_the_line_billable_and_says_who_vouches_for_what() -> None:
    record = cocm_record().work(80).without("registry-tracking")
    assert statuses(decided(record)) == {"99492": "needs-review"}
    decision = decided(record, "registry-tracking")
    assert statuses(decision) == {"99492": "billable"}
    found = dict(findings(decision, "registry-tracking"))["99492"]
    assert found.outcome == "met"
    assert found.because.startswith("attested by Dr Kim on 2026-04-02: paper chart (binder 7). The record: no registry")
    assert "binder 7" in found.evidence


@pytest.mark.parametrize("missing", ["consent", "initiating-visit", "eligible-condition", "care-team"])
def test_what_blocks_stays_not_met(missing: str) -> None:
    kind = {
        "consent": "Consent",
        "initiating-visit": "99214",
        "eligible-condition": "Condition",
        "care-team": "CareTeam",
    }
    record = cocm_record().work(80).without(kind[missing])
    decision = decided(record, missing)
    assert statuses(decision) == statuses(decided(record))
    assert {(code, f.outcome) for code, f in findings(decision, missing)} == {
        (code, f.outcome) for code, f in findings(decided(record), missing)
    }


def test_the_same_requirement_is_met_only_where_it_is_for_review() -> None:
    """A scale blocks 99492 and is for review in 99493."""
    record = cocm_record(episode="later").work(70).without("QuestionnaireResponse")
    assert statuses(decided(record)) == {"99493": "needs-review"}
    assert statuses(decided(record, "rating-scale")) == {"99493": "billable"}
    first = cocm_record().work(80).without("QuestionnaireResponse")
    assert "99492" not in statuses(decided(first, "rating-scale"))


def test_what_the_record_shows_by_itself_stays_as_it_is() -> None:
    record = cocm_record().work(80)
    assert decided(record, "registry-tracking") == decided(record)
