"""schemathesis against /openapi.json: what the document says of requests and answers holds, and nothing breaks.

A few hundred examples each; BHI_EXAMPLES=10000 for the long form. One check is left out: that what the schema allows
is accepted. A schema of FHIR that said all that a record must be would be FHIR's own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from served import served

KEY = "a-key-for-schemathesis-of-thirty-two-characters"
EXAMPLES = int(os.environ.get("BHI_EXAMPLES", "150"))
SITE = """
[serve]
requests_per_minute = 0
max_body_mib = 1
[serve.callers.engine]
scope = "system/*.rs"
key_env = "SCHEMATHESIS_KEY"
"""


@pytest.fixture(scope="module")
def guarded(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    os.environ["SCHEMATHESIS_KEY"] = sha256(KEY.encode()).hexdigest()
    with served(tmp_path_factory.mktemp("site"), SITE, fhir_server, is_open=False) as client:
        yield client


def test_the_service_keeps_to_its_document(guarded: httpx.Client, tmp_path: Path) -> None:
    # Its own command: its pytest plugin does not know pytest 9.
    command = [Path(sys.executable).with_name("st"), "run", f"{guarded.base_url}/openapi.json"]
    command += ["--max-examples", str(EXAMPLES), "--exclude-checks", "positive_data_acceptance", "--seed", "1"]
    command += ["--header", f"X-API-Key: {KEY}", "--no-color", "--generation-database", "none"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[:3000] + done.stdout[-8000:] + done.stderr[-2000:]
