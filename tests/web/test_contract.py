"""schemathesis against /openapi.json: what the document says of requests and answers holds, and nothing breaks.

A few hundred examples of each operation; BHI_EXAMPLES=10000 for the long form (.ci/long). One check is left out: that
what the schema allows is accepted. A schema of FHIR that said all that a record must be would be FHIR's own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import pytest
from hospital import Hospital
from joserfc.jwk import ECKey
from served import published, running

from bhi_fhir.web.app import create_app

KEY = "a-key-for-schemathesis-of-thirty-two-characters"
EXAMPLES = int(os.environ.get("BHI_EXAMPLES", "150"))
SITE = """
[serve]
public_url = "https://bhi.example.org"
requests_per_minute = 0
max_body_mib = 1
[serve.callers.engine]
scope = "system/*.rs"
key_env = "ENGINE_KEY"
[[cds.clients]]
iss = "https://ehr.example.org"
jwks_url = "JWKS"
"""


CDS_KEY = ECKey.generate_key("P-384", {"kid": "one", "use": "sig", "alg": "ES384"})


@pytest.fixture(scope="module")
def guarded(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A service that asks who calls, with a month that was synced: the cards have something to tell."""
    hospital = Hospital(fhir_server, tmp_path_factory.mktemp("contract") / "site")
    hospital.admit("cocm-first-month-in-order")
    with published(CDS_KEY) as jwks, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_KEY", sha256(KEY.encode()).hexdigest())
        hospital.configure(SITE.replace("JWKS", jwks))
        hospital.sync(write=False, month=f"{datetime.now(ZoneInfo('America/Chicago')):%Y-%m}", now=datetime.now(UTC))
        with running(create_app(hospital.folder)) as client:
            yield client


def test_the_service_keeps_to_its_document(guarded: httpx.Client, tmp_path: Path) -> None:
    # Its own command: its pytest plugin does not know pytest 9.
    command = [Path(sys.executable).with_name("st"), "run", f"{guarded.base_url}/openapi.json"]
    command += ["--max-examples", str(EXAMPLES), "--exclude-checks", "positive_data_acceptance", "--seed", "1"]
    command += ["--no-color", "--generation-database", "none"]
    hooks = {
        "SCHEMATHESIS_HOOKS": "contract_callers",
        "CONTRACT_KEY": KEY,
        "CONTRACT_CDS_KEY": json.dumps(CDS_KEY.as_dict(private=True)),
        "PYTHONPATH": str(Path(__file__).parent),
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, **hooks}
    )
    assert done.returncode == 0, done.stdout[:3000] + done.stdout[-8000:] + done.stderr[-2000:]
    sys.stdout.write(done.stdout)  # shown by -rP
