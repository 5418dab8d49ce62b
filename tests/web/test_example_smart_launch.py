"""examples/smart-launch: its site.toml is one that the service starts with, and its README names what is registered."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from joserfc.jwk import ECKey
from served import running

from bhi_fhir.web.app import create_app

EXAMPLE = Path(__file__).parents[2] / "examples" / "smart-launch"


def test_the_service_starts_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = json.dumps(ECKey.generate_key("P-384").as_dict(private=True))
    monkeypatch.setenv("BHI_BACKEND_KEY", key)
    monkeypatch.setenv("BHI_SMART_KEY", key)
    monkeypatch.setenv("BHI_CASELOAD_SECRET", "SECRET-caseload")
    monkeypatch.setenv("BHI_ENGINE_KEY_SHA256", "0" * 64)
    site = tmp_path / "site"
    shutil.copytree(EXAMPLE / "site", site)
    readme = (EXAMPLE / "README.md").read_text()
    with running(create_app(site)) as client:
        (service,) = client.get("/cds-services").json()["services"]
        assert f"/cds-services/{service['id']}" in readme
        answer = client.get("/launch", params={"iss": "https://evil.example/fhir", "launch": "x"})
        assert answer.status_code == 403
        assert "This EHR is not known here" in answer.text
        assert "frame-ancestors https://ehr.example.org" in answer.headers["content-security-policy"]
        for path in ("/launch", "/callback", "/caseload/callback"):
            assert f"https://bhi.example.org{path}`" in readme
            assert client.get(path, params={"iss": "x", "launch": "y"}).status_code in (400, 403)
        assert client.get("/patient").status_code == 401
