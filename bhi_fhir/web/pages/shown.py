"""HTML answers: templates with everything escaped, nothing from elsewhere, and errors that say what to do.

No script at all: what opens is `details`, what is chosen is a link or a form. The policy of content allows our own
style sheets and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from functools import cache
from typing import Any

import jinja2
from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from bhi_fhir.errors import BhiError, ServerError
from bhi_fhir.web import logs
from bhi_fhir.web.problems import Problem

HTML = "text/html; charset=utf-8"


class Told(Exception):
    """A request that ends in a page with one heading and one sentence. Never patient data."""

    def __init__(self, status: int, title: str, sentence: str) -> None:
        super().__init__(title)
        self.status, self.title, self.sentence = status, title, sentence


def told(status: int, title: str, sentence: str) -> Told:
    return Told(status, title, sentence)


@cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("bhi_fhir.web.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page(template: str, context: dict[str, Any], *, frames: Iterable[str] = (), status: int = 200) -> Response:
    """`frames`: origins that may show it in a frame. `context` has at least `title`."""
    body = _templates().get_template(template).render({"style": "", **context})
    return Response(body, status, {"content-security-policy": _policy(frames)}, HTML)


def _policy(frames: Iterable[str]) -> str:
    ancestors = " ".join(frames) or "'none'"
    return f"default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors {ancestors}"


def frames(request: Request) -> tuple[str, ...]:
    """The origins of site.toml that may frame the clinician's page."""
    return tuple(request.app.state.service.site.smart.frame_ancestors)


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
                return _error(request, Told(problem.status, "This cannot be shown", problem.issues[0].sentence))
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
    context = {"title": said.title, "sentence": said.sentence}
    return page("error.html", context, frames=frames(request), status=said.status)
