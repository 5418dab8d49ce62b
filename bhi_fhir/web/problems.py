"""What goes wrong, as an answer: an OperationOutcome under /fhir, elsewhere a page or `{"detail": …}`.

Never patient data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from bhi_fhir.errors import BhiError, Refused, ServerError, Unreachable
from bhi_fhir.web import logs
from bhi_fhir.web.pages.html import error_page

FHIR, JSON = "application/fhir+json", "application/json"


class Issue(msgspec.Struct, frozen=True):
    """One thing that is wrong. `code`: of OperationOutcome.issue.code; `at`: FHIRPaths of what was sent."""

    code: str
    sentence: str
    at: tuple[str, ...] = ()
    severity: str = "error"


class Problem(Exception):
    """A request that is refused with a status and what is wrong."""

    def __init__(self, status: int, *issues: Issue, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(issues[0].sentence)
        self.status = status
        self.issues = issues
        self.headers = dict(headers or {})


def bad(code: str, sentence: str, *at: str, status: int = 400) -> Problem:
    return Problem(status, Issue(code, sentence, at))


def of_status(status: int, headers: Mapping[str, str] | None = None) -> Problem:
    """What the framework itself refuses."""
    code, sentence = _STATUSES.get(status, ("processing", "The request cannot be answered."))
    return Problem(status, Issue(code, sentence), headers=headers)


_STATUSES = {
    400: ("invalid", "The request cannot be read."),
    404: ("not-found", "There is nothing at this address."),
    405: ("not-supported", "This address does not take this method."),
    500: ("exception", "The service has a fault of its own; its log says where."),
    504: ("timeout", "The answer took too long and was given up."),
}


def of_error(error: BhiError) -> Problem:
    """What the program says, as a status: the site's server is a gateway's other side, the rest is the site's own."""
    match error:
        case Refused(status=404 | 410):
            return bad("not-found", "The site's FHIR server does not have this resource.", status=404)
        case Refused():
            return bad("processing", f"The site's FHIR server refused ({error.status}).", status=502)
        case Unreachable():
            issue = Issue("transient", "The site's FHIR server does not answer.")
            return Problem(503, issue, headers={"Retry-After": "30"})
        case ServerError():
            return bad("incomplete", "The site's FHIR server did not answer as a whole.", status=502)
    return bad("exception", "The service cannot do this as it is configured; its log says why.", status=500)


def answer(request: Request, problem: Problem) -> Response:
    """The problem as it is sent; to a browser as a page."""
    if under_fhir(request.scope["path"]):
        return Response(outcome(problem.issues), problem.status, problem.headers, media_type=FHIR)
    if "text/html" in request.headers.get("accept", ""):
        shown = error_page(request, problem.status, "This cannot be shown", problem.issues[0].sentence)
        shown.headers.update(problem.headers)
        return shown
    detail = msgspec.json.encode({"detail": problem.issues[0].sentence})
    return Response(detail, problem.status, problem.headers, media_type=JSON)


def under_fhir(path: str) -> bool:
    return path == "/fhir" or path.startswith("/fhir/")


def outcome(issues: Iterable[Issue]) -> bytes:
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [_issue(each) for each in issues]})


def _issue(issue: Issue) -> dict[str, Any]:
    said: dict[str, Any] = {"severity": issue.severity, "code": issue.code, "diagnostics": issue.sentence}
    return {**said, "expression": list(issue.at)} if issue.at else said


def install(app: FastAPI) -> None:
    """Every error that a handler raises becomes an answer here; what is left is the door's."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return answer(request, error)

    @app.exception_handler(BhiError)
    async def _said(request: Request, error: BhiError) -> Response:
        if not isinstance(error, ServerError):
            logs.event("misconfigured", because=str(error))
        return answer(request, of_error(error))

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        return answer(request, of_status(error.status_code, error.headers))

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        # What was sent is never repeated; the names of parameters are ours.
        named = sorted({".".join(str(part) for part in each["loc"][1:]) for each in error.errors()})
        return answer(request, bad("invalid", f"Missing or wrong: {', '.join(named) or 'the request'}."))
