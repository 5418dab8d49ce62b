"""Errors of the pages, as pages that say what to do."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from bhi_fhir.errors import BhiError, ServerError
from bhi_fhir.web import logs
from bhi_fhir.web.pages.html import error_page
from bhi_fhir.web.problems import Problem


class Told(Exception):
    """A request that ends in a page with one heading and one sentence. Never patient data."""

    def __init__(self, status: int, title: str, sentence: str) -> None:
        super().__init__(title)
        self.status, self.title, self.sentence = status, title, sentence


def told(status: int, title: str, sentence: str) -> Told:
    return Told(status, title, sentence)


class PageRoute(APIRoute):
    """A route whose errors are pages, too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def shown(request: Request) -> Response:
            try:
                return await answer(request)
            except Told as said:
                return _error(request, said)
            except Problem as problem:
                shown = _error(request, Told(problem.status, "This cannot be shown", problem.issues[0].sentence))
                shown.headers.update(problem.headers)
                return shown
            except ServerError:
                return _error(
                    request,
                    Told(
                        502,
                        "The record cannot be read",
                        "The FHIR server refused or did not answer. Try again shortly.",
                    ),
                )
            except BhiError as error:
                logs.event("misconfigured", because=str(error))
                return _error(request, Told(500, "This cannot be shown", "The service's own log says why."))

        return shown


def _error(request: Request, said: Told) -> Response:
    return error_page(request, said.status, said.title, said.sentence)
