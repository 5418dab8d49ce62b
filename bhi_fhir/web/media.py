"""Content types: JSON only, by name. XML is off (no entities to expand, nothing to fetch)."""

from __future__ import annotations

from email.message import Message

from starlette.requests import Request

FHIR, JSON = "application/fhir+json", "application/json"
_FHIR_VERSIONS = {"", "4.0", "4.0.1"}


def sent_json(request: Request) -> None:
    """415 unless the body says that it is JSON, in UTF-8 and FHIR R4 where it says so."""
    from bhi_fhir.web.problems import bad  # noqa: PLC0415  # problems answer in these types

    kind, parameters = _parse(request.headers.get("content-type", ""))
    plain = parameters.get("charset", "utf-8").lower() in ("utf-8", "utf8")
    if kind not in (FHIR, JSON) or not plain or parameters.get("fhirversion", "") not in _FHIR_VERSIONS:
        raise bad("not-supported", f"Send {FHIR} or {JSON}, in UTF-8, FHIR 4.0.", status=415)
