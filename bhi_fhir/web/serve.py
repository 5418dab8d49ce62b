"""`bhi-fhir serve`: may it start here, and then under uvicorn, with one worker or many."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from bhi_fhir.errors import UsageError
from bhi_fhir.fhir.connection import no_passphrase
from bhi_fhir.fhir.gate import is_this_machine
from bhi_fhir.settings import Serve, Site
from bhi_fhir.site_file import load_site
from bhi_fhir.web import logs, metrics, visitors
from bhi_fhir.web.app import create_app
from bhi_fhir.web.callers import is_configured

_CHOSEN = "BHI_FHIR_SERVE"
"""How the workers, processes of their own, learn what was chosen."""


def serve(site: Path, overrides: Iterable[str], *, host: str, port: int, workers: int, is_open: bool) -> None:
    """Serves until it is told to stop. UsageError if it may not or cannot start."""
    overrides = tuple(overrides)
    known = load_site(site, overrides)
    settings = known.serve
    is_open = may_start(known, host, is_open=is_open)
    # Whatever is wrong with the site is said here, once; the workers open their own.
    asyncio.run(create_app(site, overrides, is_open=is_open, workers=workers).state.service.close())
    _is_free(host, port)
    tls = _tls(settings)
    os.environ[_CHOSEN] = json.dumps(
        {"site": str(site), "overrides": overrides, "is_open": is_open, "workers": workers}
    )
    logs.configure()
    logs.event("serving", host=host, port=port, workers=workers)
    with _shared_metrics(workers), _told_to_stop_is_done():
        uvicorn.run(
            f"{__name__}:worker",
            factory=True,
            host=host,
            port=port,
            workers=workers,
            log_config=None,
            access_log=False,
            server_header=False,
            ws="none",
            proxy_headers=False,  # who is believed stands in site.toml and nowhere else (app.py)
            timeout_graceful_shutdown=settings.time_limit_s,
            **tls,
        )


def worker() -> FastAPI:
    """One worker's app, for uvicorn."""
    chosen = json.loads(os.environ[_CHOSEN])
    logs.configure()
    return create_app(Path(chosen["site"]), chosen["overrides"], is_open=chosen["is_open"], workers=chosen["workers"])


def may_start(site: Site, host: str, *, is_open: bool) -> bool:
    """Whether it is open to everybody on this machine. UsageError where nobody said who may call.

    [smart], [caseload] and [cds] ask by themselves who comes: with one of them and no callers, what needs a caller
    answers 401 to everybody.
    """
    settings = site.serve
    if is_configured(settings):
        if is_open:
            raise UsageError("--open: this site says who may call; leave --open out.")
        return False
    if visitors.expected(site) and not is_open and not (settings.open_on_loopback and is_this_machine(host)):
        return False
    if not is_this_machine(host):
        raise UsageError(
            "Nobody has said who may call: give [serve.jwt] or [serve.callers] in site.toml. Without them the service "
            "starts only on this machine (--host 127.0.0.1 --open)."
        )
    if not (is_open or settings.open_on_loopback):
        raise UsageError(
            "Nobody has said who may call: give [serve.jwt] or [serve.callers] in site.toml, or, to try it on this "
            "machine, --open (serve.open_on_loopback = true)."
        )
    return True


def _is_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            pass
    except OSError as error:
        raise UsageError(f"Nothing can be served on {host} port {port}: {error.strerror}.") from None


def _tls(settings: Serve) -> dict[str, Any]:
    """What uvicorn wants to know. UsageError for files that cannot be used."""
    tls = settings.tls
    if not tls.certificate:
        if tls.client_ca or tls.key:
            raise UsageError("serve.tls.certificate is missing")
        return {}
    for name, file in (("certificate", tls.certificate), ("key", tls.key), ("client_ca", tls.client_ca)):
        _can_be_read(f"serve.tls.{name}", file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key or None, password=no_passphrase)
    except (OSError, ValueError):
        raise UsageError("serve.tls: certificate and key are not PEM without a passphrase, or do not match") from None
    try:
        if tls.client_ca:
            context.load_verify_locations(cafile=tls.client_ca)
    except (OSError, ValueError):
        raise UsageError("serve.tls.client_ca is not PEM") from None
    required = {"ssl_ca_certs": tls.client_ca, "ssl_cert_reqs": ssl.CERT_REQUIRED} if tls.client_ca else {}
    return {"ssl_certfile": tls.certificate, "ssl_keyfile": tls.key or None, **required}


def _can_be_read(key: str, file: str) -> None:
    try:
        if file:
            Path(file).read_bytes()
    except OSError as error:
        raise UsageError(f"{key}: {file} cannot be read: {error.strerror}") from None


@contextmanager
def _shared_metrics(workers: int) -> Iterator[None]:
    """Several workers count in files of one folder, so that each can tell of all."""
    if workers == 1:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="bhi-fhir-metrics-") as folder:
        os.environ[metrics.FOLDER] = folder
        yield


@contextmanager
def _told_to_stop_is_done() -> Iterator[None]:
    """Status 0: uvicorn, once it has stopped gracefully, sends itself the signal again and would die of it (143)."""
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
