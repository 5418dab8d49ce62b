"""An EHR that lets everybody in, and a browser as far as its cookies go: who signs in when, to the single request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, parse_qsl, quote, urlsplit

import httpx
from fastapi import FastAPI, HTTPException, Request
from joserfc import jwt
from joserfc.jwk import ECKey
from served import running

KEY = ECKey.generate_key("P-384", {"kid": "ehr", "use": "sig", "alg": "ES384"})


@dataclass
class Authorizing:
    """`base`: of its FHIR server. `names_people`: by an id token.

    `revoked`: the tokens that it was given back, for each of which it takes `slow_s`, or fails if it is `lost`.
    """

    base: str = ""
    revoked: list[str] = field(default_factory=list)
    names_people: bool = True
    slow_s: float = 0.0
    lost: bool = False

    def back(self, begun: httpx.Response, patient: str, person: str = "ada") -> str:
        """The way back of a sign-in that was sent to it."""
        asked = parse_qs(urlsplit(begun.headers["location"]).query)
        return f"/callback?state={asked['state'][0]}&code={patient}~{person}~{asked['nonce'][0]}"

    def grant(self, code: str) -> dict[str, Any]:
        patient, person, nonce = code.split("~")
        issuer, now = self.base.removesuffix("/fhir"), int(time.time())
        claims = {"iss": issuer, "aud": "bhi-fhir", "sub": person, "nonce": nonce, "iat": now, "exp": now + 300}
        return {
            "access_token": f"SECRET-access-{patient}",
            "refresh_token": f"SECRET-refresh-{patient}",
            "token_type": "Bearer",
            "expires_in": 300,
            "patient": patient,
            "smart_style_url": f"{self.base}/style/{patient}",
            **(
                {"id_token": jwt.encode({"alg": "ES384", "kid": "ehr"}, claims, KEY, algorithms=["ES384"])}
                if self.names_people
                else {}
            ),
        }

    def site(self, more: str = "") -> str:
        """What a site says that it launches."""
        return (
            '[serve]\npublic_url = "https://bhi.example.org"\n[serve.callers.test]\nkey_env = "TEST_KEY"\n'
            f'[smart]\nclient_id = "bhi-fhir"\n{more}\n'
        )


@contextmanager
def authorizing() -> Iterator[Authorizing]:
    app, known = FastAPI(), Authorizing()

    @app.get("/fhir/.well-known/smart-configuration")
    def configuration() -> dict[str, Any]:
        issuer = known.base.removesuffix("/fhir")
        places = {f"{name}_endpoint": f"{issuer}/{name}" for name in ("authorization", "token", "revocation")}
        return {"issuer": issuer, "jwks_uri": f"{issuer}/jwks", "capabilities": ["permission-v2"], **places}

    @app.get("/jwks")
    def jwks() -> dict[str, Any]:
        return {"keys": [KEY.as_dict(private=False)]}

    @app.post("/token")
    async def token(request: Request) -> dict[str, Any]:
        return known.grant(dict(parse_qsl((await request.body()).decode()))["code"])

    @app.post("/revocation")
    async def revocation(request: Request) -> None:
        if known.lost:
            raise HTTPException(503)
        await asyncio.sleep(known.slow_s)
        known.revoked.append(dict(parse_qsl((await request.body()).decode()))["token"])

    @app.get("/fhir/style/{patient}")
    def style(patient: str) -> dict[str, str]:
        return {"color_background": "#ffffff", "color_text": color(patient)}

    with running(app) as client:
        known.base = f"{str(client.base_url).rstrip('/')}/fhir"
        yield known


def color(patient: str) -> str:
    """By which a patient's page is known: nothing of the record has to be read for it."""
    return f"#0000{sum(patient.encode()) % 256:02x}"


@dataclass
class Browser:
    """Cookies by name. What is asked and what is kept of its answer are two steps, so that answers may cross."""

    http: httpx.Client
    cookies: dict[str, str] = field(default_factory=dict)

    def ask(self, path: str) -> httpx.Response:
        said = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        return self.http.get(path, headers={"cookie": said} if said else {})

    def keep(self, answer: httpx.Response) -> httpx.Response:
        for line in answer.headers.get_list("set-cookie"):
            (name, _, value), attributes = line.partition(";")[0].partition("="), line.lower()
            self.cookies.pop(name, None)
            if "max-age=0" not in attributes:
                self.cookies[name] = value
        return answer

    def launch(self, ehr: Authorizing) -> httpx.Response:
        return self.ask(f"/launch?iss={quote(ehr.base)}&launch=x")

    def sign_in(self, ehr: Authorizing, patient: str, person: str = "ada") -> httpx.Response:
        begun = self.keep(self.launch(ehr))
        return self.keep(self.ask(ehr.back(begun, patient, person)))

    def shows(self, page: httpx.Response, patient: str) -> bool:
        """Whether the page to which this sign-in led is open here and is this patient's."""
        at = parse_qs(urlsplit(page.headers.get("location", "")).query).get("at", [""])[0]
        return color(patient) in self.ask(f"/patient/style.css?at={at}").text
