"""The app as a confidential client: it shows the EHR's token endpoint who it is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from browsing import chromium, clinic
from joserfc.jwk import ECKey

pytestmark = pytest.mark.server
KEY = ECKey.generate_key("P-384", {"kid": "app", "use": "sig", "alg": "ES384"})
SECRET = "SECRET-" + "app" * 12
APPS: dict[str, tuple[str, dict[str, Any]]] = {
    "client_secret": (SECRET, {"token_endpoint_auth_method": "client_secret_basic", "client_secret": SECRET}),
    "private_key_jwt": (
        json.dumps(KEY.as_dict(private=True)),
        {
            "token_endpoint_auth_method": "private_key_jwt",
            "token_endpoint_auth_signing_alg": "ES384",
            "jwks": {"keys": [KEY.as_dict(private=False)]},
        },
    ),
}


@pytest.mark.parametrize("kind", APPS)
def test_it_is_let_in_by_its_secret_or_its_key(
    fhir_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    secret, client = APPS[kind]
    monkeypatch.setenv("TEST_APP", secret)
    with clinic(fhir_server, tmp_path, monkeypatch, client=client) as found, chromium() as browser:
        patient = found.hospital.admit("cocm-first-month-in-order")
        found.ehr.say(patient=patient.split("/")[1], life=2)
        tab = browser.new_context(ignore_https_errors=True).new_page()
        tab.goto(f"{found.url}/launch?iss={found.ehr.fhir}&launch=abc")
        tab.fill("input[name=login]", "pcp")
        tab.fill("input[name=password]", "SECRET")
        tab.click("button[type=submit]")
        tab.wait_for_timeout(2500)  # the token is renewed, which shows again who it is
        tab.goto(f"{tab.url}&month=2026-09")
        assert "99492 × 1: supported" in tab.inner_text(".headline")
