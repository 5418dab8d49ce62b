"""An EHR's own colours (`smart_style_url`): colours only, from the EHR's own address, and only if they can be read."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import Any

import httpx
import msgspec

from bhi_fhir.errors import Incomplete
from bhi_fhir.fhir.gate import Gate, is_loopback, is_safe
from bhi_fhir.views.common import UNREADABLE

_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_LEAST_CONTRAST = 4.5
"""WCAG 2.2, 1.4.3, of text on its ground."""
_TIMEOUT_S = 2.0
_MAX_BODY = 2**14


async def chosen_style(gate: Gate, url: str | None) -> dict[str, str]:
    """Ground, text and accent, or nothing: a style that cannot be had or read is no reason to show no page."""
    if not url or not is_safe(url) or not gate.is_home(url):
        return {}
    try:
        client = httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=not is_loopback(url))
        async with client, client.stream("GET", url) as answer:
            body = b""
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _MAX_BODY:
                    return {}
        return _safe(msgspec.json.decode(body, type=dict[str, Any])) if answer.status_code == 200 else {}
    except (httpx.HTTPError, httpx.InvalidURL, Incomplete, *UNREADABLE):
        return {}


def _safe(said: dict[str, Any]) -> dict[str, str]:
    found = {name: _color(said.get(f"color_{name}")) for name in ("background", "text", "highlight")}
    ground, text, accent = found["background"], found["text"], found["highlight"]
    if not ground or not text or contrast(ground, text) < _LEAST_CONTRAST:
        return {}
    if not accent or contrast(ground, accent) < _LEAST_CONTRAST:
        accent = text
    return {"ground": ground, "text": text, "accent": accent}


def _color(said: object) -> str:
    return said.lower() if isinstance(said, str) and _HEX.fullmatch(said) else ""


def contrast(one: str, other: str) -> float:
    light, dark = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def sheet(style: dict[str, str]) -> str:
    """The style sheet that puts them on a page."""
    if not style:
        return ""
    ground, text, accent = (style[name] for name in ("ground", "text", "accent"))
    names = {"ground": ground, "card": ground, "text": text, "soft": text, "accent": accent, "on-accent": ground}
    said = " ".join(f"--{name}: {color};" for name, color in names.items())
    return f":root {{ color-scheme: light; {said} }}\n"


@cache
def own() -> str:
    """The style sheet of all pages."""
    return (files("bhi_fhir.web.pages") / "static" / "page.css").read_text(encoding="utf-8")
