"""A browser, the service under TLS, and an EHR that launches it, for the tests of the pages."""

from __future__ import annotations

import datetime as dt
import ipaddress
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from hospital import Hospital
from served import free_port
from servers.ehr import BACKEND, Ehr, ehr
from servers.needs import needs, unavailable

from bhi_fhir.web.app import create_app

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-default-browser-check"]  # fmt: skip


@contextmanager
def chromium() -> Iterator[object]:
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        unavailable("not in this environment: playwright (pip install -e '.[test]')")
    (path,) = needs("chromium")
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def over_tls(folder: Path, port: int) -> Iterator[str]:
    """The service of a site under https://127.0.0.1:port."""
    certificate, key = _self_signed(folder)
    app = create_app(folder)
    config = uvicorn.Config(
        app, port=port, log_config=None, access_log=False, proxy_headers=False,
        ssl_certfile=str(certificate), ssl_keyfile=str(key),
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        yield f"https://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    certificate, secret = folder / "tls.pem", folder / "tls.key"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, secret


@dataclass
class Clinic:
    """A hospital whose EHR launches the service at `url`. `direct`: its FHIR server without the EHR's gate."""

    ehr: Ehr
    hospital: Hospital
    url: str
    site: Path


def clinic_site(ehr: Ehr, port: int, more: str, client: dict[str, Any] | None) -> str:
    kinds = {"client_secret_basic": "client_secret", "private_key_jwt": "private_key_jwt"}
    auth = kinds.get((client or {}).get("token_endpoint_auth_method", ""), "public")
    return (
        f'{more}\n[serve]\npublic_url = "https://127.0.0.1:{port}"\n[serve.callers.test]\nkey_env = "TEST_KEY"\n'
        f'[smart]\nclient_id = "bhi-fhir"\nframe_ancestors = ["{ehr.origin}"]\n'
        f'auth = "{auth}"\nsecret_env = "TEST_APP"\n'
        '[fhir.auth]\nkind = "bearer"\nsecret_env = "TEST_BACKEND"\n'
    )


def environment(patch: pytest.MonkeyPatch) -> None:
    patch.setenv("TEST_BACKEND", BACKEND)
    patch.setenv("TEST_KEY", "0" * 64)


@contextmanager
def clinic(
    fhir_server: str, folder: Path, patch: pytest.MonkeyPatch, more: str = "", client: dict[str, Any] | None = None
) -> Iterator[Clinic]:
    """An EHR before `fhir_server` and the service that it launches. `client`: how the app is registered there."""
    environment(patch)
    port = free_port()
    url = f"https://127.0.0.1:{port}"
    clients = [
        {"client_id": "bhi-fhir", "redirect_uris": [f"{url}/callback"],
         **(client or {"token_endpoint_auth_method": "none"}),
         "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]},
        {"client_id": "bhi-list", "client_secret": "SECRET-list", "redirect_uris": [f"{url}/caseload/callback"],
         "grant_types": ["authorization_code"], "response_types": ["code"]},
    ]  # fmt: skip
    hospital = Hospital(fhir_server, folder / "direct")
    with ehr(fhir_server, clients) as running:
        site = folder / "site"
        site.mkdir()
        roster = folder / "direct" / "roster.txt"
        (site / "site.toml").write_text(
            f'name = "Clinic {hospital.mark}"\ntime_zone = "America/Chicago"\n'
            f'[roster]\nfrom = "file:{roster}"\n'
            f'[fhir]\nbase_url = "{running.fhir}"\naliases = ["{fhir_server}"]\n'
            + clinic_site(running, port, more.replace("ISSUER", running.origin), client)
        )
        with over_tls(site, port):
            yield Clinic(running, hospital, url, site)
