"""schemathesis' hooks: who calls. Each call of the CDS service is signed anew, for the address that it calls."""

from __future__ import annotations

import json
import os
import time
import uuid
from typing import Any

import schemathesis
from joserfc import jwt
from joserfc.jwk import ECKey

_KEY = ECKey.import_key(json.loads(os.environ["CONTRACT_CDS_KEY"]))
_ISSUER, _PUBLIC = "https://ehr.example.org", "https://bhi.example.org"


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/cds-services/")
class Ehr:
    def get(self, case: Any, context: Any) -> str:
        now = int(time.time())
        aud = f"{_PUBLIC}{case.operation.path}"
        claims = {"iss": _ISSUER, "aud": aud, "iat": now, "exp": now + 300, "jti": str(uuid.uuid4())}
        return jwt.encode({"alg": "ES384", "kid": "one", "typ": "JWT"}, claims, _KEY, algorithms=["ES384"])

    def set(self, case: Any, data: str, context: Any) -> None:
        case.headers = {**(case.headers or {}), "Authorization": f"Bearer {data}"}


@schemathesis.auth(refresh_interval=None).apply_to(path_regex="^/fhir/")
class Engine:
    def get(self, case: Any, context: Any) -> str:
        return os.environ["CONTRACT_KEY"]

    def set(self, case: Any, data: str, context: Any) -> None:
        """A generated token would be looked at first."""
        others = {name: value for name, value in (case.headers or {}).items() if name.lower() != "authorization"}
        case.headers = {**others, "X-API-Key": data}
