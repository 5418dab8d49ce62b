"""The authorisation against a real token server: sekmet's, in its own process, with its own JWT library."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from joserfc.jwk import ECKey, RSAKey

from bhi_fhir.errors import Refused, Unreachable
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.oauth import BackendServices
from bhi_fhir.fhir.reading import search
from bhi_fhir.jobs.connecting import connection, public_jwks
from bhi_fhir.jobs.local_server import START_UP_S, _free_port, _stop
from bhi_fhir.settings import Site
from bhi_fhir.site_file import site_of

pytestmark = pytest.mark.server
KEYS = {"ES384": ECKey.generate_key("P-384"), "RS384": RSAKey.generate_key(2048)}
STRANGER = ECKey.generate_key("P-384")


def site(base_url: str, **auth: str) -> Site:
    facts = {"name": "Test", "time_zone": "America/Chicago", "fhir": {"base_url": base_url, "auth": auth}}
    return site_of(facts)


def keyed(base_url: str, algorithm: str, key: ECKey | RSAKey, monkeypatch: pytest.MonkeyPatch, **more: str) -> Site:
    monkeypatch.setenv("BHI_TEST_KEY", key.as_pem(private=True).decode())
    facts = {"kind": "private_key_jwt", "client_id": algorithm, "algorithm": algorithm, "secret_env": "BHI_TEST_KEY"}
    return site(base_url, **{**facts, "scope": "system/*.rs", **more})


@contextmanager
def _serving(folder: Path, clients: list[dict[str, Any]]) -> Iterator[str]:
    port = _free_port()
    base_url = f"http://127.0.0.1:{port}/fhir"
    facts = {
        "base_url": base_url,
        "host": "127.0.0.1",
        "port": port,
        "simulator": {"enabled": False},
        "server_auth": {"types": ["smart"], "smart_clients": clients, "token_lifetime": 300},
    }
    (folder / "settings.yaml").write_text(json.dumps(facts))
    process = subprocess.Popen(
        [sys.executable, "-m", "sekmet.cli", "serve", "--config", str(folder / "settings.yaml")],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={name: value for name, value in os.environ.items() if not name.startswith("SEKMET_")},
    )
    try:
        deadline = time.monotonic() + START_UP_S
        while time.monotonic() < deadline and process.poll() is None:
            with suppress(httpx.TransportError):
                httpx.get(f"{base_url}/.well-known/smart-configuration", trust_env=False)
                break
            time.sleep(0.1)
        yield base_url
    finally:
        _stop(process)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The base URL of a server that lets nobody in without a token."""
    with pytest.MonkeyPatch.context() as patch:
        known = [
            {"client_id": name, "jwks": public_jwks(keyed("", name, key, patch)), "scopes": "system/*.rs"}
            for name, key in KEYS.items()
        ]
    known.append({"client_id": "secret", "client_secret": "hunter2", "scopes": "system/Patient.rs"})
    with _serving(tmp_path_factory.mktemp("guarded"), known) as base_url:
        yield base_url


@pytest.mark.parametrize("algorithm", KEYS)
async def test_a_signed_assertion_opens_the_server(
    guarded: str, algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = connection(keyed(guarded, algorithm, KEYS[algorithm], monkeypatch))
    async with BhiClient(facts) as client:
        assert (await search(client, "Patient", {"name": "nobody"})).complete
    assert isinstance(facts.auth, BackendServices)
    assert (facts.auth.granted_scope, facts.auth.missing_scopes) == ("system/*.rs", ())


async def test_without_a_token_the_server_is_closed(guarded: str) -> None:
    async with BhiClient(connection(site(guarded))) as client:
        with pytest.raises(Refused, match="401"):
            await search(client, "Patient", {"name": "nobody"})


async def test_the_key_of_a_stranger_opens_nothing(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with BhiClient(connection(keyed(guarded, "ES384", STRANGER, monkeypatch))) as client:
        with pytest.raises(Unreachable, match=r"refuses \(401, invalid_client\)") as caught:
            await search(client, "Patient", {"name": "nobody"})
    assert not caught.value.sent


async def test_a_client_secret_opens_what_its_scope_allows(guarded: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BHI_TEST_SECRET", "hunter2")
    facts = connection(
        site(
            guarded,
            kind="client_secret",
            client_id="secret",
            secret_env="BHI_TEST_SECRET",
            scope="system/Patient.rs system/Claim.cu",
        )
    )
    async with BhiClient(facts) as client:
        assert (await search(client, "Patient", {"name": "nobody"})).complete
        with pytest.raises(Refused, match="403"):
            await search(client, "Encounter", {"patient": "nobody"})
    assert isinstance(facts.auth, BackendServices)
    assert facts.auth.missing_scopes == ("system/Claim.cu",)
