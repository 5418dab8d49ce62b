"""The service on a port of this machine, for as long as a block."""

from __future__ import annotations

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from bhi_fhir.web.app import create_app


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def site(folder: Path, extra: str = "", base_url: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    server = f'[fhir]\nbase_url = "{base_url}"\n' if base_url else ""
    (folder / "site.toml").write_text(
        f'name = "Served Family Medicine"\ntime_zone = "America/Chicago"\n{extra}\n{server}'
    )
    return folder


@contextmanager
def running(app: FastAPI) -> Iterator[httpx.Client]:
    """A client of the app under a real uvicorn in a thread."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, access_log=False, proxy_headers=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the service did not start"
            time.sleep(0.01)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            yield client
    finally:
        server.should_exit = True
        thread.join(20)


@contextmanager
def served(folder: Path, extra: str = "", base_url: str = "", *, is_open: bool = True) -> Iterator[httpx.Client]:
    """A client of the service of a site with these settings."""
    with running(create_app(site(folder, extra, base_url), is_open=is_open)) as client:
        yield client


@contextmanager
def published(*keys: Any) -> Iterator[str]:
    """Where an EHR publishes its public keys, on a port of this machine."""
    body = json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()

    class Keys(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Keys)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/jwks.json"
    finally:
        server.shutdown()
        server.server_close()
