"""What the OpenAPI document says of bodies and answers; the decision's JSON Schema is made from its own types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import SetAside
from bhi_fhir.shipped import shipped
from bhi_fhir.web.cds_call import CdsCall, CdsFeedback
from bhi_fhir.web.problems import FHIR, JSON

Json = dict[str, Any]
_EXAMPLE, _EXAMPLE_MONTH = "general-bhi-in-order.json", "2026-09"


class FileDecision(Decision, frozen=True, kw_only=True):
    """One patient's month, and where the record came from."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionDocument:
    """What `bhi-fhir evaluate --format json` prints."""

    month: str
    time_zone: str
    ruleset: str
    results: tuple[FileDecision, ...]
    set_aside: tuple[SetAside, ...]


def schemas() -> Json:
    """JSON Schema of the decision document, of what CDS clients send, and of their parts, by name."""
    kinds = (DecisionDocument, CdsCall, CdsFeedback)
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    return dict(parts)


def _resource(*kinds: str) -> Json:
    return {
        "type": "object",
        "required": ["resourceType"],
        "properties": {"resourceType": {"enum": list(kinds)}},
    }


def _example(name: str, value: Json) -> Json:
    return {name: {"value": value}}


def _record() -> Json:
    found: Json = json.loads((shipped("examples/patients") / _EXAMPLE).read_text(encoding="utf-8"))
    return found


MONTH: Json = {
    "name": "month",
    "in": "query",
    "description": "The calendar month; a Parameters may name it too.",
    "schema": {"type": "string", "pattern": "^20[0-9]{2}-(0[1-9]|1[0-2])$"},
}
_MONTH_PARAMETER: Json = {"name": "month", "valueDate": _EXAMPLE_MONTH}
MONTH_ONLY: Json = {
    "schema": _resource("Parameters"),
    "examples": _example("month", {"resourceType": "Parameters", "parameter": [_MONTH_PARAMETER]}),
}
WHOLE: Json = {
    "schema": _resource("Parameters", "Bundle"),
    "examples": _example(
        "parameters",
        {
            "resourceType": "Parameters",
            "parameter": [_MONTH_PARAMETER, {"name": "record", "resource": _record()}],
        },
    ),
}


def body(content: Json, *, required: bool) -> Json:
    """For `openapi_extra`: the routes read body and month themselves, which FastAPI would take longer for than we."""
    return {
        "parameters": [MONTH],
        "requestBody": {"required": required, "content": {FHIR: content, JSON: content}},
        "security": _SECURITY,
    }


def _refused(sentence: str) -> Json:
    return {"description": sentence, "content": {FHIR: {"schema": _resource("OperationOutcome")}}}


ANSWERS: dict[int | str, Json] = {
    200: {
        "description": "The drafts and what stands in their way, or the decision itself",
        "content": {
            FHIR: {"schema": _resource("Bundle")},
            JSON: {"schema": {"$ref": "#/components/schemas/DecisionDocument"}},
        },
    },
    400: _refused("What was sent cannot be read; `expression` says where"),
    401: _refused("Nobody whom the site knows"),
    403: _refused("The caller's scopes do not cover this"),
    406: _refused("Only FHIR JSON and JSON are answered"),
    413: _refused("Too long, or too many entries"),
    415: _refused("Only FHIR JSON and JSON are taken"),
    422: _refused("There is nobody in it to decide about; the issues say what was set aside"),
    429: _refused("More often than the site allows; see Retry-After"),
    503: _refused("Busy, or something that is needed does not answer; see Retry-After"),
    504: _refused("It took too long"),
}
SERVER_ANSWERS: dict[int | str, Json] = {
    404: _refused("The site's server has no such patient"),
    500: _refused("The service is not configured for this"),
    502: _refused("The site's server refused"),
}

CONFORMANCE: dict[int | str, Json] = {
    200: {
        "description": "A FHIR R4 resource",
        "content": {FHIR: {"schema": {"type": "object"}}, JSON: {"schema": {"type": "object"}}},
    },
    400: _refused("A parameter cannot be read"),
    406: _refused("Only FHIR JSON and JSON are answered"),
}
NOT_THERE: dict[int | str, Json] = {404: _refused("There is no such resource")}

# -- CDS Hooks ---------------------------------------------------------------------------------------

CDS_CALL: Json = {
    "hook": "patient-view",
    "hookInstance": "d1577c69-dfbe-44ad-ba6d-3e05e953b2ea",
    "context": {"userId": "Practitioner/pcp", "patientId": "maria"},
}
CDS_SAID: Json = {
    "feedback": [
        {
            "card": "4e0a3a1e-3283-4575-ab82-028d55fe2719",
            "outcome": "accepted",
            "outcomeTimestamp": "2026-09-24T12:00:00Z",
        }
    ]
}


def cds_body(schema: str, example: Json) -> Json:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "examples": _example("call", example)}
    return {"requestBody": {"required": True, "content": {JSON: content}}, "security": [{"cds": []}]}


def _detail(sentence: str) -> Json:
    told = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
    return {"description": sentence, "content": {JSON: {"schema": told}}}


def _list_of(name: str, *required: str) -> Json:
    each = {"type": "object", "required": list(required)}
    properties = {name: {"type": "array", "items": each}}
    return {JSON: {"schema": {"type": "object", "required": [name], "properties": properties}}}


_NO_CLIENTS = _detail("The site has no CDS clients")
_CDS_REFUSED: dict[int | str, Json] = {
    400: _detail("The body is not what CDS Hooks says"),
    401: _detail("The client's token does not count"),
    404: _NO_CLIENTS,
    413: _detail("Too long"),
    415: _detail("Only JSON is taken"),
    429: _detail("More often than the site allows; see Retry-After"),
    500: _detail("The service is not configured for this"),
    503: _detail("The client's keys cannot be had; see Retry-After"),
    504: _detail("It took too long"),
}
CDS_SERVICES: dict[int | str, Json] = {
    200: {
        "description": "The services",
        "content": _list_of("services", "hook", "id", "description"),
    },
    404: _NO_CLIENTS,
}
CDS_CARDS: dict[int | str, Json] = {
    200: {
        "description": "One card, or none for a patient of no program",
        "content": _list_of("cards", "summary", "indicator", "source"),
    },
    412: _detail("No sync of this month has run, or the chart is of another server"),
    **_CDS_REFUSED,
}
CDS_FEEDBACK: dict[int | str, Json] = {200: {"description": "It is counted"}, **_CDS_REFUSED}

_FASTAPIS = {
    "description": "Validation Error",
    "content": {JSON: {"schema": {"$ref": "#/components/schemas/HTTPValidationError"}}},
}
_SECURITY: list[dict[str, list[str]]] = [{"token": []}, {"key": []}, {"certificate": []}]
_SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT with SMART v2 system scopes"},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "certificate": {"type": "mutualTLS"},
    "cds": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT of a CDS client; aud is the address called"},
}


def install(app: FastAPI) -> None:
    """The OpenAPI document with what FastAPI cannot see: schemas of msgspec and how callers are known.

    The pages are not in it: they are for a browser and a person, and no program is to rely on how they look.
    """

    def openapi() -> Json:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            for operation in (each for path in made["paths"].values() for each in path.values()):
                if operation["responses"].get("422") == _FASTAPIS:
                    del operation["responses"][
                        "422"
                    ]  # what a path holds is text, and text is never refused by its shape
            parts = made.setdefault("components", {})
            parts["schemas"] = schemas()
            parts["securitySchemes"] = parts.get("securitySchemes", {}) | _SCHEMES
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
