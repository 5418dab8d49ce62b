"""Throughput of stateless evaluation over HTTP, against a FastAPI handler that only parses the same body with orjson.

    python tests/benchmarks/over_http.py [--seconds 2] [--rounds 5] [--connections 16] [--profile]

One worker each, on one core; the client on the other. The runs are interleaved, so that a busy machine slows
both. Wants orjson (`pip install orjson`) for the baseline. `--profile` shows instead where an evaluation's time goes.
(Not `http.py`: a script by that name hides the standard library's.)
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import multiprocessing
import os
import pstats
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from fastapi import FastAPI, Request, Response
from make_examples import FOLDER, MONTH
from served import free_port

SITE = Path(__file__).parents[2] / "mappings" / "sites" / "example"
SIZE, RESOURCES = 30_000, 20


def bundle() -> bytes:
    """20 resources, about 30 KB: an example patient with the narrative that servers add."""
    found: dict[str, Any] = json.loads((FOLDER / "no-coverage-on-file.json").read_text())
    found["entry"] = found["entry"][:RESOURCES]
    room = (SIZE - len(json.dumps(found))) // RESOURCES - 60
    for entry in found["entry"]:
        text = ("<p>As the server tells it.</p>" * 60)[: max(room, 0)]
        entry["resource"]["text"] = {"status": "generated", "div": f"<div>{text}</div>"}
    return json.dumps(found).encode()


def _serve(port: int, evaluating: bool) -> None:
    import uvicorn

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    uvicorn.run(_evaluating() if evaluating else _parsing(), port=port, log_level="error", access_log=False)


def _evaluating() -> Any:
    from bhi_fhir.web import logs
    from bhi_fhir.web.app import create_app

    sys.stderr = open(os.devnull, "w")  # noqa: SIM115, PTH123  # log lines are written, as in production, to nowhere
    logs.configure()
    return create_app(SITE, ["serve.requests_per_minute=0", *os.environ.get("SET", "").split()], is_open=True)


def _parsing() -> Any:
    import orjson

    app = FastAPI()

    @app.post("/parse")
    async def parse(request: Request) -> Response:
        found = orjson.loads(await request.body())
        return Response(b'{"entries":%d}' % len(found["entry"]), media_type="application/json")

    return app


class Caller(asyncio.Protocol):
    """One connection that asks again as soon as it has an answer."""

    def __init__(self, request: bytes) -> None:
        self._request, self._got, self.answers = request, b"", 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        if not end or len(body) < int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]):
            return
        if not head.startswith(b"HTTP/1.1 200"):
            raise SystemExit(self._got.decode())
        self._got, self.answers = b"", self.answers + 1
        self._transport.write(self._request)


async def _rate(port: int, request: bytes, seconds: float, connections: int) -> float:
    loop = asyncio.get_running_loop()
    callers = [
        (await loop.create_connection(lambda: Caller(request), "127.0.0.1", port))[1] for _ in range(connections)
    ]
    await asyncio.sleep(0.2)
    before, began = sum(c.answers for c in callers), time.perf_counter()
    await asyncio.sleep(seconds)
    rate = (sum(c.answers for c in callers) - before) / (time.perf_counter() - began)
    for caller in callers:
        caller._transport.abort()
    return rate


def _request(path: str, accept: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/fhir+json\r\nAccept: {accept}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _wait(port: int) -> None:
    import socket

    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)


def measure(seconds: float, rounds: int, connections: int) -> None:
    body, ports = bundle(), (free_port(), free_port())
    context = multiprocessing.get_context("spawn")
    servers = [context.Process(target=_serve, args=(port, i == 0), daemon=True) for i, port in enumerate(ports)]
    for server in servers:
        server.start()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    path = f"/fhir/$evaluate-bhi?month={MONTH}"
    asked = {
        "parse with orjson": (ports[1], _request("/parse", "*/*", body)),
        "decision as JSON": (ports[0], _request(path, "application/json", body)),
        "drafts as FHIR": (ports[0], _request(path, "application/fhir+json", body)),
    }
    for port in ports:
        _wait(port)
    rates: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(rounds):
        for name, (port, request) in asked.items():
            rates[name].append(asyncio.run(_rate(port, request, seconds, connections)))
    print(f"{len(body)} bytes, {RESOURCES} resources, {connections} connections, {rounds} rounds of {seconds} s")
    for name, found in rates.items():
        middle = statistics.median(found)
        ratio = statistics.median(r / b for r, b in zip(found, rates["parse with orjson"], strict=True))
        print(f"{name:20} {middle:8.0f} requests/s  {min(found):.0f}-{max(found):.0f}  ratio {ratio:.2f}")
    for server in servers:
        server.terminate()


def profile() -> None:
    """Where the time of one evaluation goes, beside the HTTP."""
    from bhi_fhir.web import evaluate
    from bhi_fhir.web.app import create_app

    shared, body = create_app(SITE, is_open=True).state.service, bundle()
    for kind in ("application/json", "application/fhir+json"):
        for _ in range(20):
            evaluate._stateless(shared, body, MONTH, kind)
        began, times = time.perf_counter(), 300
        for _ in range(times):
            evaluate._stateless(shared, body, MONTH, kind)
        print(f"{kind}: {(time.perf_counter() - began) / times * 1e6:.0f} µs")
        seen = cProfile.Profile()
        seen.enable()
        for _ in range(times):
            evaluate._stateless(shared, body, MONTH, kind)
        seen.disable()
        pstats.Stats(seen).sort_stats("cumulative").print_stats(25)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seconds", type=float, default=2.0)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--connections", type=int, default=16)
    options.add_argument("--profile", action="store_true")
    chosen = options.parse_args()
    if chosen.profile:
        profile()
    else:
        measure(chosen.seconds, chosen.rounds, chosen.connections)
