"""The stateless operation: the same answers as the command line, and what is wrong is said with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
from click.testing import CliRunner
from fhir.resources.R4B.operationoutcome import OperationOutcome
from make_examples import FOLDER, MONTH

from bhi_fhir.cli import cli
from bhi_fhir.web.documents import schemas

FHIR, JSON = "application/fhir+json", "application/json"
EXAMPLES = sorted(FOLDER.glob("*.json"))
EVALUATE = "/fhir/$evaluate-bhi"


def ask(
    client: httpx.Client, body: Any, *, month: str | None = MONTH, accept: str = FHIR, sent: str = FHIR
) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body)
    params = {"month": month} if month else {}
    return client.post(EVALUATE, content=content, params=params, headers={"content-type": sent, "accept": accept})


def parameters(record: Any, month: Any = MONTH) -> dict[str, Any]:
    said = [{"name": "month", "valueDate": month}, {"name": "record", "resource": record}]
    return {"resourceType": "Parameters", "parameter": said}


def one() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "general-bhi-in-order.json").read_text())
    return found


def outcome(answer: httpx.Response) -> list[dict[str, Any]]:
    """The issues; every one has a code and a sentence."""
    assert answer.headers["content-type"] == FHIR
    found = answer.json()
    OperationOutcome.model_validate(found)
    issues: list[dict[str, Any]] = found["issue"]
    assert all(issue["code"] and issue["diagnostics"] for issue in issues)
    return issues


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_a_record_sent_is_decided_as_on_the_command_line(service: httpx.Client, tmp_path: Path, file: Path) -> None:
    (tmp_path / "site.toml").write_text('name = "Served Family Medicine"\ntime_zone = "America/Chicago"\n')
    said = CliRunner().invoke(
        cli, ["evaluate", "--site", str(tmp_path), "--month", MONTH, "--format", "json", str(file)]
    )
    expected = json.loads(said.stdout.replace(json.dumps(str(file)), '"record"'))
    bare = ask(service, file.read_bytes(), accept=JSON)
    assert bare.status_code == 200
    assert bare.json() == expected
    wrapped = ask(service, parameters(json.loads(file.read_text())), month=None, accept=JSON)
    assert wrapped.json() == expected


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: file.stem)
def test_the_answer_keeps_to_the_published_schema(service: httpx.Client, file: Path) -> None:
    parts = service.get("/openapi.json").json()["components"]["schemas"]
    assert json.loads(json.dumps(schemas())).items() <= parts.items()
    schema = {"$ref": "#/components/schemas/DecisionDocument", "components": {"schemas": parts}}
    jsonschema.validate(ask(service, file.read_bytes(), accept=JSON).json(), schema)


def test_drafts_name_the_definitions_that_this_service_serves(service: httpx.Client) -> None:
    answer = ask(service, one())
    assert answer.headers["content-type"] == FHIR
    charges = [e["resource"] for e in answer.json()["entry"] if e["resource"]["resourceType"] == "ChargeItem"]
    (definition,) = {url for charge in charges for url in charge["definitionCanonical"]}
    assert definition == "https://bhi.example.org/fhir/ChargeItemDefinition/99484|2026.1"
    served = service.get(definition.removeprefix("https://bhi.example.org").partition("|")[0]).json()
    assert f"{served['url']}|{served['version']}" == definition


@pytest.mark.parametrize(
    ("body", "month", "code", "place"),
    [
        (b"", MONTH, "structure", None),
        (b"<Bundle xmlns='http://hl7.org/fhir'/>", MONTH, "structure", None),
        (b'{"resourceType": "Bundle"', MONTH, "structure", None),
        (b"[]", MONTH, "structure", None),
        (b"null", MONTH, "structure", None),
        (b"\xff\xfe{}", MONTH, "structure", None),
        (b'{"resourceType": 7}', MONTH, "structure", None),
        ({"resourceType": "Patient", "id": "x"}, MONTH, "invalid", "resourceType"),
        ({"resourceType": "Bundle", "entry": {}}, MONTH, "structure", "Bundle.entry"),
        ({"resourceType": "Bundle", "entry": [{}, 7]}, MONTH, "structure", "Bundle.entry[1]"),
        (b'{"resourceType": "Bundle", "entry": ' + b"[" * 100 + b"]" * 100 + b"}", MONTH, "structure", None),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, MONTH, "structure", None),
        ({"resourceType": "Bundle"}, None, "required", None),
        ({"resourceType": "Bundle"}, "2026-13", "value", None),
        ({"resourceType": "Bundle"}, "1026-03", "value", None),
        (parameters(one(), "2026-9"), None, "value", "Parameters.parameter[0]"),
        (parameters(one(), 2026), None, "structure", "Parameters.parameter[0]"),
        (parameters(one(), None), None, "required", "Parameters.parameter[0]"),
        (parameters({"resourceType": "Patient"}), None, "structure", "Parameters.parameter[1].resource"),
        (parameters({"resourceType": "Bundle", "entry": [0]}), None, "structure",
         "Parameters.parameter[1].resource.entry[0]"),
        (parameters(one()), "2026-08", "invalid", "Parameters.parameter[0]"),
        (parameters(one()), "soon", "value", None),
        ({"resourceType": "Parameters"}, MONTH, "required", "Parameters"),
        ({"resourceType": "Parameters", "parameter": [{"name": "reocrd"}]}, MONTH, "not-supported",
         "Parameters.parameter[0]"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_place(
    service: httpx.Client, body: Any, month: str | None, code: str, place: str | None
) -> None:
    answer = ask(service, body, month=month)
    assert answer.status_code == 400
    (issue,) = outcome(answer)
    assert issue["code"] == code
    assert issue.get("expression") == ([place] if place else None)


def test_a_record_with_nobody_in_it_is_refused_with_what_was_set_aside(service: httpx.Client) -> None:
    answer = ask(
        service,
        parameters({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Encounter", "status": 7}}]}),
    )
    assert answer.status_code == 422
    (issue,) = outcome(answer)
    assert issue["expression"] == ["Parameters.parameter[1].resource.entry[0]"]
    empty = ask(service, {"resourceType": "Bundle"})
    assert empty.status_code == 422
    assert outcome(empty)[0]["diagnostics"] == "The record holds no patient."


def test_what_is_broken_beside_a_patient_is_set_aside_and_the_rest_decided(service: httpx.Client) -> None:
    record = one()
    record["entry"].append({"resource": {"resourceType": "Encounter", "id": "broken", "status": 7}})
    decided = ask(service, record, accept=JSON).json()
    assert decided["results"][0]["lines"]
    (aside,) = decided["set_aside"]
    assert (aside["file"], aside["at"]) == ("record", f"entry[{len(record['entry']) - 1}]")


def test_a_body_or_a_bundle_beyond_the_limit_is_refused(service: httpx.Client) -> None:
    long = ask(service, b" " * (1 << 20) + b"{}")
    assert (long.status_code, outcome(long)[0]["code"]) == (413, "too-long")
    parts = iter([b"{", b" " * (1 << 20), b"}"])
    streamed = service.post(EVALUATE, params={"month": MONTH}, content=parts, headers={"content-type": FHIR})
    assert streamed.status_code == 413
    many = ask(service, {"resourceType": "Bundle", "entry": [{}] * 101})
    assert (many.status_code, outcome(many)[0]["code"]) == (413, "too-costly")


@pytest.mark.parametrize(
    "sent",
    ["", "application/xml", "application/fhir+xml", "text/json", "multipart/form-data", f"{JSON}; charset=latin-1",
     f"{FHIR}; fhirVersion=5.0"],
)  # fmt: skip
def test_other_content_types_are_refused(service: httpx.Client, sent: str) -> None:
    answer = ask(service, one(), sent=sent)
    assert answer.status_code == 415
    outcome(answer)


@pytest.mark.parametrize(
    ("accept", "given"),
    [("*/*", FHIR), ("", FHIR), ("application/*", FHIR), (f"{JSON};q=0.5, {FHIR}", FHIR),
     (f"{FHIR};q=0.1,{JSON}", JSON),
     (f"{FHIR}; fhirVersion=4.0", FHIR), ("application/fhir+xml", None), ("text/html", None),
     (f"{FHIR}; fhirVersion=5.0", None)],
)  # fmt: skip
def test_the_accept_header_chooses_between_drafts_and_decision(
    service: httpx.Client, accept: str, given: str | None
) -> None:
    answer = ask(service, one(), accept=accept)
    assert answer.status_code == (200 if given else 406)
    assert answer.headers["content-type"] == (given or FHIR)


def test_every_answer_carries_the_security_headers_and_a_request_id(service: httpx.Client) -> None:
    for answer in (service.get("/fhir/metadata"), service.get("/nowhere"), ask(service, b"")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["strict-transport-security"]
        assert len(answer.headers["x-request-id"]) == 16
        assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]


def test_unknown_addresses_and_methods_are_told_as_fhir_under_fhir(service: httpx.Client) -> None:
    assert outcome(service.get("/fhir/Encounter/1"))[0]["code"] == "not-found"
    wrong = service.get(EVALUATE)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")
    outcome(wrong)
    assert service.get("/nowhere").json() == {"detail": "There is nothing at this address."}


def test_the_examples_of_the_openapi_document_can_be_sent(service: httpx.Client) -> None:
    path = service.get("/openapi.json").json()["paths"][EVALUATE]["post"]
    for kind, content in path["requestBody"]["content"].items():
        for example in content["examples"].values():
            assert ask(service, example["value"], month=None, sent=kind).status_code == 200
