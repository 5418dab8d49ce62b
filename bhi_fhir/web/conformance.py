"""What this service is, what it does and by what rule, as FHIR resources. Law and description: nobody is asked."""

from __future__ import annotations

import asyncio
from datetime import date
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from bhi_fhir import __version__
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.jobs.catalogue import Catalogue, Entry, catalogue
from bhi_fhir.jobs.draft_run import canonical_base
from bhi_fhir.policy import policy
from bhi_fhir.policy.model import RULESET
from bhi_fhir.settings import Site
from bhi_fhir.web import asked, documents, service
from bhi_fhir.web.media import wanted
from bhi_fhir.web.problems import FHIR, JSON, bad

router = APIRouter(prefix="/fhir", tags=["what this is"])

Json = dict[str, Any]
OPERATION = "evaluate-bhi"
PUBLISHER = "bhi-fhir"
_US = [{"coding": [{"system": "urn:iso:std:iso:3166", "code": "US"}]}]
_CPT = "CPT® is a registered trademark of the American Medical Association; only the bare code stands here."


@router.get("/metadata", summary="CapabilityStatement", response_class=Response, responses=documents.CONFORMANCE)
async def metadata(request: Request) -> Response:
    shared = service.of(request)
    return _answer(request, capability_statement(shared.site, shared.began.date()))


@router.get(
    "/OperationDefinition/{name}",
    summary="OperationDefinition",
    response_class=Response,
    responses=documents.CONFORMANCE | documents.NOT_THERE,
)
async def operation(request: Request, name: str) -> Response:
    if name != OPERATION:
        raise bad("not-found", "There is one operation: evaluate-bhi.", status=404)
    return _answer(request, operation_definition(service.of(request).site))


@router.get(
    "/ChargeItemDefinition/{code}",
    summary="By what rule a code is decided in a month (this month, if none is named)",
    response_class=Response,
    responses=documents.CONFORMANCE | documents.NOT_THERE,
    openapi_extra={"parameters": [documents.MONTH]},
)
async def charge_item(request: Request, code: str) -> Response:
    shared = service.of(request)
    month = asked.month(request.query_params.get("month", f"{shared.today():%Y-%m}"))
    shared.desk_for(month)
    known = await asyncio.to_thread(_catalogue, month)
    entry = next((each for each in known.entries if each.code == code), None)
    if entry is None:
        raise bad("not-found", "This code is not modelled.", status=404)
    return _answer(request, charge_item_definition(shared.site, entry, month))


@lru_cache(maxsize=24)
def _catalogue(month: str) -> Catalogue:
    return catalogue(month)


def _answer(request: Request, resource: Json) -> Response:
    return Response(msgspec.json.encode(resource), media_type=wanted(request, FHIR, JSON))


def capability_statement(site: Site, day: date) -> Json:
    base = canonical_base(site)
    called = {"name": OPERATION, "definition": f"{base}/OperationDefinition/{OPERATION}"}
    read = {"interaction": [{"code": "read"}]}
    address = {"url": base} if base.startswith("http") else {}
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": str(day),
        "publisher": PUBLISHER,
        "kind": "instance",
        "software": {"name": "bhi-fhir", "version": __version__},
        "implementation": {"description": f"Behavioral Health Integration services, rules {RULESET}", **address},
        "fhirVersion": "4.0.1",
        "format": [FHIR, JSON],
        "rest": [
            {
                "mode": "server",
                "security": {"cors": False, **_security(site)},
                "resource": [
                    {"type": "ChargeItemDefinition", **read},
                    {"type": "OperationDefinition", **read},
                    {"type": "Patient", "operation": [called]},
                ],
                "operation": [called],
            }
        ],
    }


def _security(site: Site) -> Json:
    if not site.serve.jwt.issuer:
        return {"description": "An API key or a client certificate, by arrangement with the site."}
    system = "http://terminology.hl7.org/CodeSystem/restful-security-service"
    return {
        "service": [{"coding": [{"system": system, "code": "SMART-on-FHIR"}]}],
        "description": f"Bearer tokens of {site.serve.jwt.issuer} with SMART v2 system scopes.",
    }


def operation_definition(site: Site) -> Json:
    return {
        "resourceType": "OperationDefinition",
        "id": OPERATION,
        "url": f"{canonical_base(site)}/OperationDefinition/{OPERATION}",
        "version": __version__,
        "name": "EvaluateBhi",
        "title": "Evaluate Behavioral Health Integration",
        "status": "active",
        "kind": "operation",
        "publisher": PUBLISHER,
        "description": (
            "Decides which Medicare Behavioral Health Integration services one calendar month of a record supports. "
            "Answers a Bundle of planned ChargeItems, draft Claims and an OperationOutcome for what stands in their "
            "way; with Accept: application/json the decision itself. Nothing is written."
        ),
        "jurisdiction": _US,
        "affectsState": False,
        "code": OPERATION,
        "resource": ["Patient"],
        "system": True,
        "type": False,
        "instance": True,
        "parameter": [
            {
                "name": "month",
                "use": "in",
                "min": 1,
                "max": "1",
                "documentation": "The calendar month, YYYY-MM; also as ?month=.",
                "type": "date",
            },
            {
                "name": asked.RECORD,
                "use": "in",
                "min": 0,
                "max": "1",
                "documentation": "The whole record, where the operation is not called on a Patient. It may also be "
                "the body by itself, with ?month=.",
                "type": "Bundle",
            },
            {
                "name": "return",
                "use": "out",
                "min": 1,
                "max": "1",
                "documentation": "A collection: drafts, and OperationOutcomes.",
                "type": "Bundle",
            },
        ],
    }


def charge_item_definition(site: Site, entry: Entry, month: str) -> Json:
    """`entry`: the code in `month`."""
    until = {"end": str(_last_day(entry.until))} if entry.until else {}
    cpt = {"copyright": _CPT} if "ama-assn" in entry.system else {}
    required = [_sentence("Blocking", name) for name in entry.block]
    required += [_sentence("For review", name) for name in entry.review]
    return {
        "resourceType": "ChargeItemDefinition",
        "id": entry.code,
        "url": f"{canonical_base(site)}/ChargeItemDefinition/{entry.code}",
        "version": RULESET,
        "title": entry.title,
        "status": "active" if entry.in_force else "retired",
        "publisher": PUBLISHER,
        "description": _description(site, entry, month),
        "jurisdiction": _US,
        **cpt,
        "effectivePeriod": {"start": f"{entry.since}-01", **until},
        "code": {"coding": [{"system": entry.system, "code": entry.code}], "text": entry.title},
        **({"applicability": [{"description": sentence} for sentence in required]} if required else {}),
    }


def _sentence(level: str, requirement: str) -> str:
    found = policy().requirements[requirement]
    return f"{level}: {requirement}: {found.rule} ({found.cite})"


def _description(site: Site, entry: Entry, month: str) -> str:
    readings = ", ".join(f"{key} = {value}" for key, value in sorted(site.policy.items()))
    sentences = [
        f"{entry.cite}.",
        f"Minutes in {month}: {entry.minutes} ({entry.cite_minutes})." if entry.minutes else "",
        f"Billed by: {', '.join(entry.billers)}." if entry.billers else "",
        f"Added to: {', '.join(entry.adds_to)}." if entry.adds_to else "",
        f"Not together with: {', '.join(entry.excludes)}." if entry.excludes else "",
        f"Source re-read for {entry.verified_from} to {entry.verified_through}.",
        f"This site reads otherwise: {readings}." if readings else "",
    ]
    return " ".join(filter(None, sentences))


def _last_day(month: str) -> date:
    return ServiceMonth.parse(month, ZoneInfo("UTC")).last_day
