"""Somebody who is signed in, without a browser: a synced hospital, its service, and a session of each kind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from hospital import NOW, Hospital
from make_examples import MONTH
from served import running

from bhi_fhir.web.app import create_app
from bhi_fhir.web.cookies import named, new_secret
from bhi_fhir.web.granted import wanted

SITE = """
[serve]
public_url = "https://bhi.example.org"
requests_per_minute = 0
launches_per_minute = 0
[serve.callers.test]
key_env = "TEST_KEY"
[smart]
client_id = "bhi-fhir"
frame_ancestors = ["https://ehr.example.org"]
[caseload]
issuer = "https://login.example.org"
client_id = "bhi-list"
may_view = ["team"]
may_approve = ["team"]
may_attest = ["team"]
"""
CSRF = "csrf-of-this-test"
IDLE = timedelta(minutes=30)
PERSON = {"name": "Casey Manager", "sub": "manager", "issuer": "https://login.example.org", "token": ""}


@dataclass
class Inside:
    """`launch`: the name of the launch of the first patient; `key`: that patient's pseudonym on the list."""

    http: httpx.Client
    app: Any
    hospital: Hospital
    secret: str
    launch: str
    key: str

    @property
    def cookie(self) -> dict[str, str]:
        return {"cookie": f"{named(self.secret)}={self.secret}"}

    def get(self, path: str, **params: str) -> httpx.Response:
        return self.http.get(path, params={"month": MONTH, **params}, headers=self.cookie)

    def post(self, path: str, **form: str) -> httpx.Response:
        return self.http.post(path, data={"month": MONTH, "csrf": CSRF, **form}, headers=self.cookie)


def launch_of(hospital: Hospital, patient: str, **change: Any) -> dict[str, Any]:
    """What a launch's session holds."""
    return {
        "iss": hospital.base_url,
        "patient": patient,
        "person": {**PERSON, "reference": ""},
        "scope": wanted(standalone=False, v1=False),
        "banner": True,
        "style": {},
        "csrf": CSRF,
        "access": "SECRET-access",
        "until": (datetime.now(UTC) + timedelta(hours=1)).isoformat(),
        "refresh": "",
        **change,
    }


@contextmanager
def inside(fhir_server: str, folder: Path, *stems: str, now: datetime = NOW) -> Iterator[Inside]:
    """Example patients of a synced month, and somebody signed in at the list and in a launch of the first."""
    hospital = Hospital(fhir_server, folder / "site")
    for stem in stems:
        hospital.admit(stem)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", "0" * 64)
        hospital.configure(SITE)
        hospital.sync(now=now)
        app = create_app(hospital.folder)
        sessions, secret = app.state.launches.sessions, new_secret()
        said = {"person": PERSON, "groups": ["team"], "csrf": CSRF}
        asyncio.run(sessions.open("caseload", secret, said, IDLE))
        launch = asyncio.run(sessions.open("launch", secret, launch_of(hospital, hospital.patients[0]), IDLE))
        key = app.state.caseload.last.key(hospital.patients[0])
        with running(app) as client:
            yield Inside(client, app, hospital, secret, launch, key)
