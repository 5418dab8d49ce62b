"""An EHR for the browser's tests: oidc-provider as a process of its own, and a gate before a FHIR server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from joserfc.jwk import RSAKey

from bhi_fhir.web.granted import wanted

from .installed import node
from .running import _free_port, _process

BACKEND = "SECRET-backend"
NAMES = {"pcp": "Dr. Ada Physician", "manager": "Casey Manager", "biller": "Bo Biller", "stranger": "Sam Stranger"}
GROUPS = {"manager": ["bhi-team"], "biller": ["bhi-billing"], "stranger": ["kitchen"]}


@dataclass(frozen=True)
class Ehr:
    """`port` of localhost; what people there allow is set by `say`."""

    port: int
    packages: Path

    @property
    def origin(self) -> str:
        return f"http://localhost:{self.port}"

    @property
    def fhir(self) -> str:
        return f"{self.origin}/fhir"

    def say(self, **state: Any) -> None:
        httpx.post(f"{self.origin}/state", json=state, trust_env=False).raise_for_status()

    def chart(self, address: str) -> str:
        """The page of the EHR that shows `address` in a frame."""
        return f"{self.origin}/chart?app={quote(address, safe='')}"


@contextmanager
def ehr(behind: str, clients: list[dict[str, Any]]) -> Iterator[Ehr]:
    run, folder = node("ehr")
    port = _free_port()
    scopes = [*wanted(standalone=False, v1=False).split(), *wanted(standalone=True, v1=True).split()]
    key = RSAKey.generate_key(2048, {"kid": "ehr", "use": "sig", "alg": "RS256"})
    given = {
        "port": port,
        "behind": behind,
        "clients": clients,
        "scopes": [each for each in dict.fromkeys(scopes) if "/" in each and each != "launch/patient"],
        "jwks": {"keys": [key.as_dict(private=True)]},
        "backend": BACKEND,
        "patient": "nobody",
        "names": NAMES,
        "groups": GROUPS,
    }
    found = Ehr(port, folder)

    def answers() -> bool:
        with suppress(httpx.TransportError):
            return httpx.get(f"{found.fhir}/metadata", trust_env=False, timeout=10).status_code == 200
        return False

    with _process([run, str(folder / "ehr.mjs"), json.dumps(given)], answers):
        yield found
