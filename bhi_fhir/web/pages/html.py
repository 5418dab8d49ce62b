"""Templates with everything escaped and nothing from elsewhere.

No script at all: what opens is `details`, what is chosen is a link or a form. The policy of content allows our own
style sheets and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import Response

HTML = "text/html; charset=utf-8"


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


def error_page(request: Request, status: int, title: str, sentence: str) -> Response:
    """One heading and one sentence, also within the EHR's frame. Never patient data."""
    return page("error.html", {"title": title, "sentence": sentence}, frames=frames(request), status=status)
