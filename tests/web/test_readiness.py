"""Is it ready: answered soon, also where the site's server takes a connection and says nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from served import served


@pytest.fixture
def silent() -> Iterator[str]:
    """The base URL of a server that takes connections and never answers."""
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def take() -> None:
            try:
                while True:
                    held.append(server.accept()[0])
            except OSError:
                return

        threading.Thread(target=take, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/fhir"
        server.shutdown(socket.SHUT_RDWR)
    for each in held:
        each.close()


def test_a_server_that_says_nothing_is_said_to_be_away_once_for_all_who_ask(silent: str, tmp_path: Path) -> None:
    with served(tmp_path / "site", "[serve]\ntime_limit_s = 4", silent) as client:
        assert client.get("/readyz").json() == {"server": "does not answer", "ledger": "ok"}
        began = time.monotonic()
        assert client.get("/readyz").status_code == 503
        assert time.monotonic() - began < 1
