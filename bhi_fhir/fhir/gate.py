"""One gate for every outbound URL.

A server's links are foreign text: HAPI, fhirpy and Medplum have each sent credentials to the host that a link
named (GHSA-vr79-8m62-wh98, hapi-fhir #7707, medplum #9947). So no link is ever requested as it came. It must
name the configured server or an alias of it, and what is requested is rewritten onto the configured base.
"""

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

import httpx

from bhi_fhir.errors import Incomplete, UsageError

# Visible ASCII without the backslash, which browsers read as a slash; bounded, because decoding is repeated.
_VISIBLE = re.compile(r"[!-\[\]-~]{1,2000}")
_HOST = re.compile(r"[a-z0-9._:-]+")  # no userinfo, no %, no unicode; colons for IPv6
_QUERY = re.compile(r"[^\x00-\x1f\x7f#\ud800-\udfff]{0,60000}")
# `Encounter`, `Patient/maria`, `Claim/$submit`: nothing here can lead anywhere but under the base.
_PLAIN = re.compile(r"[A-Za-z0-9_$-]+(?:/[A-Za-z0-9_$-]+)*")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class _Place:
    """Where an absolute URL leads; its path has no dot segment."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port == _PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def loopback(self) -> bool:
        return is_this_machine(self.host)


class Gate:
    """Admits URLs of one FHIR server.

    Raises UsageError if `base_url` or an alias is no plain address, or is http beyond this machine.
    """

    def __init__(self, base_url: str, aliases: Iterable[str] = ()) -> None:
        base = _configured("base_url", base_url)
        if base.scheme == "http" and not base.loopback:
            raise UsageError("[fhir] base_url: http is for this machine only; use https.")
        self.base_url = base.origin + base.path
        self._under = self.base_url + "/"
        self.loopback = base.loopback
        # An alias without a path is another spelling of the origin and has the base's path.
        others = [_configured("aliases", alias) for alias in aliases]
        self._known = [base] + [_Place(a.scheme, a.host, a.port, a.path or base.path) for a in others]

    def admit(self, url: str) -> str:
        """The URL to request for a link, absolute or relative, on the configured base.

        Path and query after the base stay as they came: paging links are opaque. Raises Incomplete if the
        link leads anywhere else.
        """
        head, mark, query = url.partition("?")
        relative = head.removeprefix(self._under)
        if len(head) < 2000 and _PLAIN.fullmatch(relative) and _QUERY.fullmatch(query):
            return self._under + relative + mark + query
        target = self._target(head, is_query_only=bool(mark))
        if target is None or not _QUERY.fullmatch(query):
            raise Incomplete("A link has odd characters or an odd path and is not followed.")
        for known in self._known:
            if _same_server(target, known) and _is_under(target.path, known.path):
                return self.base_url + target.path[len(known.path) :] + mark + query
        raise Incomplete(
            f"A link leads to {target.origin}, outside [fhir] base_url, and is not followed; "
            "if that is the same server, add its address to [fhir] aliases."
        )

    def is_home(self, url: str) -> bool:
        """Whether the URL has the origin of the server or of an alias, path aside."""
        place = _place(url)
        return place is not None and any(place.origin == known.origin for known in self._known)

    def _target(self, head: str, *, is_query_only: bool) -> _Place | None:
        if not head:
            return _place(self.base_url) if is_query_only else None
        if head.startswith("//") or not _VISIBLE.fullmatch(head):
            return None
        if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", head):
            return _place(head)
        return _place(urljoin(self.base_url + "/", head))


def is_safe(url: str) -> bool:
    """Whether the URL is a plain absolute address, without userinfo or query, by https or on this machine."""
    place = _place(url)
    if place is None or not _can_be_requested(place.origin):
        return False
    return place.scheme == "https" or place.loopback


def is_this_machine(host: str) -> bool:
    """Of a name or an address without port; an IPv6 address without brackets."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_loopback(url: str) -> bool:
    """Whether the URL leads to this machine."""
    place = _place(url)
    return place is not None and place.loopback


def _configured(key: str, url: str) -> _Place:
    place = _place(url)
    if place is None or not _can_be_requested(place.origin):
        raise UsageError(f"[fhir] {key}: give a plain address such as https://ehr.example/fhir.")
    return _Place(place.scheme, place.host, place.port, place.path.rstrip("/"))


def _can_be_requested(origin: str) -> bool:
    try:
        return bool(httpx.URL(origin).host)
    except (httpx.InvalidURL, ValueError):  # 999.1.1.1; a broken punycode name
        return False


def _place(url: str) -> _Place | None:
    """None unless the URL is absolute, http or https, and has no userinfo, query, fragment or dot segment."""
    if not _VISIBLE.fullmatch(url) or "#" in url or "?" in url:
        return None
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or "@" in parts.netloc or not _HOST.fullmatch(host):
        return None
    if port == 0 or _has_dots(parts.path):
        return None
    return _Place(parts.scheme, host, port or _PORTS[parts.scheme], parts.path)


def _has_dots(path: str) -> bool:
    """A dot segment in any decoding: proxies decode once more than we do, and Tomcat reads `..;x` as `..`."""
    while (plain := unquote(path)) != path:
        path = plain
    return any(part.partition(";")[0] in {".", ".."} for part in re.split(r"[/\\]", path))


def _same_server(target: _Place, known: _Place) -> bool:
    if target.host != known.host:
        return False
    if (target.scheme, target.port) == (known.scheme, known.port):
        return True
    # Behind a TLS proxy servers write http links, HAPI even http://host:443. Only upward, never to http.
    return (target.scheme, known.scheme) == ("http", "https") and (
        target.port == known.port or (target.port, known.port) == (80, 443)
    )


def _is_under(path: str, base: str) -> bool:
    return path == base or path.startswith(base + "/")
