"""Every draft through HAPI's validator, which knows the profiles, value sets and invariants of R4."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from audit.test_events import audit, everything
from make_examples import FOLDER, MONTH

from servers.validator import validate

pytestmark = pytest.mark.hapi
TESTS = Path(__file__).parents[1]
CASES = sorted((TESTS / "golden" / "cases").glob("*.bundle.json"))


def drafts(files: list[Path], month: str) -> list[dict[str, Any]]:
    from bhi_fhir.jobs.bundle import bundle
    from bhi_fhir.jobs.desk import Desk
    from bhi_fhir.jobs.evaluate import evaluate

    done = evaluate(Desk.open(TESTS / "golden" / "site", month), [str(file) for file in files])
    return [entry["resource"] for entry in json.loads(bundle(done, done.desk.month.last_day))["entry"]]


def provenances() -> list[dict[str, Any]]:
    from drafts.samples import COCM_FIRST, MARIA, RUN, SITE

    from bhi_fhir.drafts.models import draft
    from bhi_fhir.drafts.provenance import provenance

    made = draft(COCM_FIRST, MARIA, RUN)
    plain = [json.loads(resource.model_dump_json()) for resource in made.resources]
    written = [(f"{content['resourceType']}/{n}/_history/1", content) for n, content in enumerate(plain)]
    return [json.loads(provenance(written, made.evidence, datetime(2026, 4, 1, 6, tzinfo=UTC), SITE).model_dump_json())]


def audit_events(folder: Path) -> list[dict[str, Any]]:
    """One of each that the audit writes."""
    everything(audit(folder))
    return [json.loads(line)["event"] for file in folder.glob("*.ndjson") for line in file.read_bytes().splitlines()]


# A draft is read by programs, so it has no narrative; and the value set of security labels in FHIR 4.0.1 is older
# than the code 42CFRPart2, which stands in the code system that the draft names.
BETTER_KNOWN = {"http://hl7.org/fhir/StructureDefinition/DomainResource#dom-6", "Terminology_TX_NoValid_13"}


def test_every_draft_is_valid_r4() -> None:
    made = [*drafts(CASES, "2026-03"), *drafts(sorted(FOLDER.glob("*.json")), MONTH), *provenances()]
    assert {r["resourceType"] for r in made} == {"ChargeItem", "Claim", "OperationOutcome", "Provenance"}
    issues = validate(made)
    assert [issue for issue in issues if issue.wrong] == []
    doubted = [issue for issue in issues if issue.severity == "warning" and issue.rule not in BETTER_KNOWN]
    assert doubted == []
    assert {i.message.partition(" was not")[0].rpartition("#")[2] for i in issues if i.rule.startswith("Termin")} <= {
        "42CFRPart2)"
    }


def test_every_audit_event_is_valid_r4(tmp_path: Path) -> None:
    # IHE's profiles are not in the core package; tests/audit checks what they ask for.
    issues = [issue for issue in validate(audit_events(tmp_path)) if "profiles.ihe.net" not in issue.message]
    assert [issue for issue in issues if issue.wrong] == []


def test_what_is_wrong_is_found() -> None:
    """One mistake of each kind, so that the silence above means something."""
    claim = next(r for r in drafts(CASES, "2026-03") if r["resourceType"] == "Claim")
    wrong = [
        {**claim, "id": "required-code", "status": "nonsense"},
        {name: value for name, value in claim.items() if name != "insurance"} | {"id": "missing"},
        {**claim, "id": "unknown-element", "nonsense": True},
        {**claim, "id": "reference-type", "patient": {"reference": "Practitioner/nobody"}},
        {**claim, "id": "instant", "created": "2026-02-30"},
        {**claim, "id": "invariant", "patient": {"extension": [{"url": "urn:bhi-fhir:nothing-in-it"}]}},
    ]
    found = {issue.resource for issue in validate(wrong) if issue.wrong}
    assert found == {f"Claim/{resource['id']}" for resource in wrong}
