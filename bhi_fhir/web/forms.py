"""The forms of our own pages: read whole but not without end, and taken from nobody else's page."""

from __future__ import annotations

import hmac
from urllib.parse import parse_qsl

from fastapi import Request

from bhi_fhir.web.pages.shown import told
from bhi_fhir.web.session import Session

_LONGEST, _MOST_FIELDS = 2**15, 200


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that one of our pages sent; the last of a name counts but for `line`, which is joined."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise told(415, "This form cannot be read", "Open the page again.")
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _LONGEST:
            raise told(413, "This form is too long", "Nothing was done. Shorten what you wrote.")
    found: dict[str, str] = {}
    try:
        fields = parse_qsl(body.decode("utf-8", "replace"), max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise told(400, "This form cannot be read", "Nothing was done. Open the page again.") from None
    for name, value in fields:
        found[name] = f"{found[name]} {value}" if name == "line" and name in found else value
    return found


def same_origin(request: Request, found: Session, form: dict[str, str]) -> None:
    """A form of this very page: by its token, and by the origin where the browser says it."""
    origin = request.headers.get("origin", "")
    ours = request.app.state.service.site.serve.public_url.rstrip("/")
    is_ours = origin in ("", "null", ours) and request.headers.get("sec-fetch-site", "same-origin") in (
        "same-origin",
        "none",
    )
    if not is_ours or not hmac.compare_digest(form.get("csrf", "").encode(), found.data["csrf"].encode()):
        raise told(403, "This form is not from this page", "Nothing was done. Open the page again.")
