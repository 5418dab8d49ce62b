"""Content types: JSON only, by name. XML is off: there are no entities to expand and nothing to fetch."""

from __future__ import annotations

from functools import lru_cache

from starlette.requests import Request

from bhi_fhir.web.problems import FHIR, JSON, bad

_FHIR_VERSIONS = frozenset({"", "4.0", "4.0.1"})


def sent_json(request: Request) -> None:
    """415 unless the body says that it is JSON, and UTF-8 and FHIR R4 where it says so."""
    if not _is_json(request.headers.get("content-type", "")):
        raise bad("not-supported", f"Send {FHIR} or {JSON}, in UTF-8, FHIR 4.0.", status=415)


def wanted(request: Request, *offered: str) -> str:
    """The first of what is offered that the caller likes best; 406 where it takes none of it."""
    chosen = _best(request.headers.get("accept", "*/*"), offered)
    if not chosen:
        raise bad("not-supported", f"This answers {' or '.join(offered)}.", status=406)
    return chosen


@lru_cache(maxsize=256)
def _is_json(header: str) -> bool:
    kind, parameters = _parse(header)
    charset = parameters.get("charset", "utf-8").lower()
    version = parameters.get("fhirversion", "")
    return kind in (FHIR, JSON) and charset in ("utf-8", "utf8") and version in _FHIR_VERSIONS


@lru_cache(maxsize=256)
def _best(accept: str, offered: tuple[str, ...]) -> str:
    liked = [_parse(part) for part in accept.split(",") if part.strip()] or [("*/*", {})]
    best, chosen = 0.0, ""
    for kind in offered:
        quality = max((_quality(given) for range_, given in liked if _fits(kind, range_)), default=0.0)
        if quality > best:
            best, chosen = quality, kind
    return chosen


def _fits(kind: str, range_: str) -> bool:
    return range_ in (kind, "*/*", f"{kind.partition('/')[0]}/*")


def _quality(parameters: dict[str, str]) -> float:
    if parameters.get("fhirversion", "") not in _FHIR_VERSIONS:
        return 0.0
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0


def _parse(header: str) -> tuple[str, dict[str, str]]:
    kind, *rest = header.split(";")
    pairs = (part.partition("=") for part in rest)
    return kind.strip().lower(), {name.strip().lower(): value.strip().strip('"') for name, _, value in pairs}
