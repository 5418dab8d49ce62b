"""Every draft of every golden record and example, through a validator that the project is not built with."""

import json
from pathlib import Path

import fhirkit
import msgspec
import pytest
from fhir.resources.R4B.bundle import Bundle
from make_examples import FOLDER, MONTH

from bhi_fhir.drafts.models import draft
from bhi_fhir.drafts.plain import plain_drafts
from bhi_fhir.jobs.bundle import bundle
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.evaluate import evaluate

TESTS = Path(__file__).parents[1]
CASES = sorted((TESTS / "golden" / "cases").glob("*.bundle.json"))
SITE = TESTS / "golden" / "site"


def drafts(files: list[Path], month: str) -> list[dict[str, object]]:
    done = evaluate(Desk.open(SITE, month), [str(f) for f in files])
    made = bundle(done, done.desk.month.last_day).decode()
    assert Bundle.model_validate_json(made).model_dump_json(indent=2) == made
    assert fhirkit.validate(made) == []
    return [entry["resource"] for entry in json.loads(made).get("entry", [])]


@pytest.mark.parametrize(("files", "month"), [(CASES, "2026-03"), (sorted(FOLDER.glob("*.json")), MONTH)])
def test_an_independent_validator_accepts_every_draft(files: list[Path], month: str) -> None:
    made = drafts(files, month)
    assert {r["resourceType"] for r in made} == {"ChargeItem", "Claim", "OperationOutcome"}
    wrong = {str(r.get("id")): found for r in made if (found := fhirkit.validate(json.dumps(r)))}
    assert wrong == {}


@pytest.mark.parametrize(("files", "month"), [(CASES, "2026-03"), (sorted(FOLDER.glob("*.json")), MONTH)])
def test_a_plain_draft_is_to_the_byte_what_the_models_make_of_it(files: list[Path], month: str) -> None:
    done = evaluate(Desk.open(SITE, month), [str(f) for f in files])
    run = draft_run(done.desk, done.desk.month.last_day)
    found = [(plain_drafts(r.decision, r.chart, run), draft(r.decision, r.chart, run)) for r in done.results]
    assert sum(len(plain.claims) for plain, _ in found) > 5
    for plain, validated in found:
        written = [msgspec.json.encode(resource).decode() for resource in (*plain.charge_items, *plain.claims)]
        assert written == [resource.model_dump_json() for resource in validated.resources]
