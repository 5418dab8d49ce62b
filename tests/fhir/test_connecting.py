"""settings.py -> a connection; secrets by environment or file, and in no message."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from joserfc.jwk import ECKey, RSAKey

from bhi_fhir.errors import SiteError, UsageError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.oauth import BackendServices
from bhi_fhir.jobs.connecting import connection, public_jwks
from bhi_fhir.settings import Site
from bhi_fhir.site_file import site_of

BASE = "https://ehr.example/fhir"
KEY = ECKey.generate_key("P-384")


def site(auth: dict[str, Any] | None = None, **fhir: Any) -> Site:
    facts = {"base_url": BASE, "auth": auth or {}, **fhir}
    return site_of({"name": "Test", "time_zone": "America/Chicago", "fhir": facts})


def test_every_setting_of_the_wire_arrives() -> None:
    facts = connection(
        site(
            aliases=["https://other.example"],
            concurrency=3,
            requests_per_second=7,
            timeout_s=11,
            deadline_s=13,
            search="post",
        )
    )
    assert (facts.base_url, facts.aliases, facts.concurrency) == (BASE, ("https://other.example",), 3)
    assert (facts.requests_per_second, facts.timeout_s, facts.deadline_s) == (7.0, 11.0, 13.0)
    assert (facts.search_by_post, facts.fast, facts.auth, facts.tls) == (True, True, None, None)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ({"kind": "basic", "user": "user"}, "Basic dXNlcjpTRUNSRVQ="),
        ({"kind": "bearer"}, "Bearer SECRET"),
    ],
)
@pytest.mark.parametrize("by_file", [True, False])
async def test_a_secret_comes_from_the_environment_or_a_file(
    auth: dict[str, str],
    header: str,
    by_file: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    respx_mock: respx.MockRouter,
) -> None:
    file = tmp_path / "secret"
    file.write_text("SECRET\n" if by_file else "other")
    if not by_file:
        monkeypatch.setenv("BHI_TEST_SECRET", " SECRET\n")
    facts = connection(site({**auth, "secret_env": "BHI_TEST_SECRET", "secret_file": str(file)}))
    assert "SECRET" not in repr(facts)
    assert facts.auth is not None
    signed = await anext(facts.auth.async_auth_flow(httpx.Request("GET", BASE)))
    assert signed.headers["authorization"] == header


@pytest.mark.parametrize("kind", ["basic", "bearer", "client_secret", "private_key_jwt"])
@pytest.mark.parametrize("where", ["nowhere", "absent", "folder", "odd"])
def test_a_secret_that_cannot_be_read_is_named_by_its_key(kind: str, where: str, tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    path = {"nowhere": "", "absent": str(tmp_path / "absent"), "folder": str(tmp_path), "odd": str(tmp_path / "odd")}
    with pytest.raises(SiteError, match=r"^fhir\.auth"):
        connection(site({"kind": kind, "client_id": "bhi", "secret_file": path[where]}))


def test_a_variable_that_is_not_set_is_named() -> None:
    with pytest.raises(SiteError, match=r"^fhir\.auth\.secret_env: the environment variable BHI_NOWHERE is not set$"):
        connection(site({"kind": "bearer", "secret_env": "BHI_NOWHERE"}))


def test_a_private_key_becomes_backend_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BHI_TEST_SECRET", KEY.as_pem(private=True).decode())
    auth = {"kind": "private_key_jwt", "client_id": "bhi", "secret_env": "BHI_TEST_SECRET"}
    assert isinstance(connection(site(auth)).auth, BackendServices)
    with pytest.raises(UsageError, match=r"client_id"):
        connection(site({**auth, "client_id": ""}))
    with pytest.raises(UsageError, match=r"algorithm = RS384"):
        connection(site({**auth, "algorithm": "RS384"}))
    with pytest.raises(UsageError, match=r"token_url"):
        connection(site({**auth, "token_url": "http://sign-in.example"}))


def test_the_jwks_of_a_site_shows_the_public_halves_with_the_signing_one_first(tmp_path: Path) -> None:
    old = RSAKey.generate_key(2048)
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"keys": [KEY.as_dict(private=True), old.as_dict(private=True)]}))
    auth = {"kind": "private_key_jwt", "client_id": "bhi", "secret_file": str(file), "key_id": "2026"}
    shown = public_jwks(site(auth))
    assert [key["kid"] for key in shown["keys"]] == ["2026", old.thumbprint()]
    private = [
        KEY.as_dict(private=True)["d"],
        *(old.as_dict(private=True)[name] for name in ("d", "p", "q", "dp", "dq", "qi")),
    ]
    assert not [part for part in private if str(part) in json.dumps(shown)]


def test_without_a_private_key_there_is_no_jwks() -> None:
    with pytest.raises(SiteError, match="no public key"):
        public_jwks(site({"kind": "bearer"}))


def test_wrong_files_for_tls_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\[fhir\] ca_file"):
        connection(site(ca_file=str(tmp_path / "absent.pem")))


async def test_a_wrong_address_is_said_before_anything_is_asked() -> None:
    with pytest.raises(UsageError, match=r"\[fhir\] base_url"):
        BhiClient(connection(site(base_url="http://ehr.example/fhir")))
