"""A site's settings -> its connection, with the secrets from the environment or a file."""

from __future__ import annotations

import ssl
from typing import Any

import httpx

from bhi_fhir.errors import SiteError
from bhi_fhir.fhir.connection import Connection, basic, bearer, tls_context
from bhi_fhir.fhir.oauth import BackendServices, ClientSecret, Credential, PrivateKey, PrivateKeys
from bhi_fhir.settings import Fhir, FhirAuth, Site
from bhi_fhir.site_file import read_secret


def connection(site: Site) -> Connection:
    """The site's FHIR server. UsageError, which names the key, if an address, a file or a secret is wrong."""
    fhir = site.fhir
    tls = None
    if fhir.ca_file or fhir.client_certificate or fhir.client_key:
        tls = tls_context(fhir.ca_file, fhir.client_certificate, fhir.client_key)
    return Connection(
        base_url=fhir.base_url,
        aliases=tuple(fhir.aliases),
        concurrency=fhir.concurrency,
        timeout_s=float(fhir.timeout_s),
        deadline_s=float(fhir.deadline_s),
        requests_per_second=float(fhir.requests_per_second),
        search_by_post=fhir.search == "post",
        auth=_authorisation(fhir, tls),
        tls=tls,
        fast=True,
    )


def public_jwks(site: Site) -> dict[str, list[dict[str, Any]]]:
    """The JWKS to register with the server: the public halves of the site's keys, the signing one first.

    UsageError if the site does not sign in by private_key_jwt, or its key cannot be read.
    """
    auth = site.fhir.auth
    if auth.kind != "private_key_jwt":
        raise SiteError("fhir.auth.kind is not private_key_jwt: there is no public key to show")
    keys = PrivateKeys.read(_secret(auth), auth.key_id)
    keys.first_signs(auth.algorithm)
    return keys.public()


def _authorisation(fhir: Fhir, tls: ssl.SSLContext | None) -> httpx.Auth | None:
    auth = fhir.auth
    credential: Credential
    match auth.kind:
        case "none":
            return None
        case "basic":
            return basic(auth.user, _secret(auth))
        case "bearer":
            return bearer(_secret(auth))
        case "client_secret":
            credential = ClientSecret(auth.client_id, _secret(auth))
        case "private_key_jwt":
            credential = PrivateKey(auth.client_id, PrivateKeys.read(_secret(auth), auth.key_id), auth.algorithm)
    return BackendServices(
        fhir.base_url,
        credential,
        aliases=tuple(fhir.aliases),
        token_url=auth.token_url,
        scope=auth.scope,
        tls=tls,
        timeout_s=float(fhir.timeout_s),
    )


def _secret(auth: FhirAuth) -> str:
    return read_secret("fhir.auth", auth.secret_env, auth.secret_file)
