"""Before the service starts: what is wrong is said by its key and once, and nothing is left open."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from served import free_port, site

from bhi_fhir.errors import SiteError, UsageError
from bhi_fhir.site_file import load_site
from bhi_fhir.web import logs
from bhi_fhir.web.callers import Callers
from bhi_fhir.web.rates import Rates
from bhi_fhir.web.serve import serve
from bhi_fhir.web.signing_in import public_url

CASELOAD = """
[serve]
public_url = "https://bhi.example.org"
[caseload]
issuer = "https://login.example.org"
client_id = "list"
may_view = ["team"]
"""


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the process had open when uvicorn was to begin."""
    found: list[str] = []

    def run(*_: Any, **__: Any) -> None:
        found.extend(str(each.readlink()) for each in Path("/proc/self/fd").iterdir() if each.exists())

    monkeypatch.setattr(uvicorn, "run", run)
    monkeypatch.setattr(logs, "configure", lambda: None)
    return found


def begin(folder: Path, *, is_open: bool = False) -> None:
    serve(folder, (), host="127.0.0.1", port=free_port(), workers=1, is_open=is_open)


def test_what_was_opened_to_look_at_the_site_is_closed_before_the_workers_begin(
    tmp_path: Path, started: list[str]
) -> None:
    begin(site(tmp_path / "site", CASELOAD))
    assert started
    assert not [each for each in started if "bhi-fhir.db" in each]


@pytest.mark.parametrize(
    ("tls", "said"),
    [
        ({"certificate": "missing.pem"}, r"serve.tls.certificate: .*missing.pem cannot be read: No such file"),
        ({"certificate": "text", "key": "missing.pem"}, r"serve.tls.key: .*missing.pem cannot be read: No such file"),
        ({"certificate": "text", "client_ca": "missing.pem"}, r"serve.tls.client_ca: .* cannot be read: No such file"),
        ({"certificate": "text"}, r"serve.tls: certificate and key are not PEM"),
        ({"key": "text"}, r"serve.tls.certificate is missing"),
    ],
    ids=str,
)
def test_a_file_that_is_missing_is_not_one_that_is_no_pem(
    tmp_path: Path, started: list[str], tls: dict[str, str], said: str
) -> None:
    (tmp_path / "text").write_text("no PEM")
    table = "\n".join(f'{name} = "{tmp_path / file}"' for name, file in tls.items())
    with pytest.raises(UsageError, match=rf"^{said}"):
        begin(site(tmp_path / "site", f"[serve.tls]\n{table}"), is_open=True)
    assert not started


@pytest.mark.parametrize(
    ("url", "said"),
    [("", "is missing"), ("http://bhi.example.org", "under https only"), ("https://bhi.example.org/x", "a path")],
)
def test_an_address_without_https_is_not_called_missing(tmp_path: Path, url: str, said: str) -> None:
    known = load_site(site(tmp_path, f'[serve]\npublic_url = "{url}"'))
    with pytest.raises(SiteError, match=rf"^serve.public_url.*{said}"):
        public_url(known)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "is not set"),
        ("", "is empty"),
        ("the-key-itself-of-more-than-thirty-two-characters", "holds no SHA-256"),
        (sha256(b"x").hexdigest()[:-1], "holds no SHA-256"),
    ],
)
def test_the_variable_of_a_key_is_named_and_whether_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None, said: str
) -> None:
    monkeypatch.delenv("ENGINE_KEY_SHA256", raising=False)
    if value is not None:
        monkeypatch.setenv("ENGINE_KEY_SHA256", value)
    known = load_site(site(tmp_path, '[serve.callers.engine]\nkey_env = "ENGINE_KEY_SHA256"'))
    with pytest.raises(SiteError) as refused:
        Callers.of(known, tmp_path, Rates(0))
    expected = f"serve.callers.engine.key_env: the environment variable ENGINE_KEY_SHA256 {said}"
    assert str(refused.value).startswith(expected)
    assert not value or value not in str(refused.value)
