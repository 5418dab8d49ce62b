"""How fast a page of a search is read: fhirpy's own fetch, and our search on each of the two pools.

    python tests/benchmarks/wire.py [rounds]

One server, a process of its own, answers every request with the same page of 14 KB on loopback; 16 requests run at a
time. All clients take turns within each round, so that what else the machine does falls on all of them. Printed are
the medians: microseconds of processor and of the clock for one search, and how many times faster than fhirpy it is.
"""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
from fhirpy import AsyncFHIRClient

from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection, bearer
from bhi_fhir.fhir.reading import search

CONCURRENCY = 16
SEARCHES = 480
ENTRIES = 21

Fetch = Callable[[], Awaitable[None]]


def page(base: str) -> bytes:
    """A searchset of Encounters as an EHR writes them, about 14 KB."""
    system = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    encounters = [
        {
            "resourceType": "Encounter",
            "id": f"e{number}",
            "meta": {"versionId": "1", "lastUpdated": "2026-03-02T10:00:00Z"},
            "status": "finished",
            "class": {"system": system, "code": "AMB", "display": "ambulatory"},
            "type": [{"coding": [{"system": "urn:example:visits", "code": "BHI", "display": "Care management call"}]}],
            "subject": {"reference": "Patient/maria"},
            "participant": [{"individual": {"reference": "Practitioner/p1", "display": "A. Manager"}}],
            "period": {"start": "2026-03-02T10:00:00-06:00", "end": "2026-03-02T10:20:00-06:00"},
        }
        for number in range(ENTRIES)
    ]
    entry = [{"fullUrl": f"{base}/Encounter/{e['id']}", "resource": e, "search": {"mode": "match"}} for e in encounters]
    return json.dumps({"resourceType": "Bundle", "type": "searchset", "total": ENTRIES, "entry": entry}).encode()


class _Server(asyncio.Protocol):
    """Says the same to every request, without reading it."""

    answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._rest = b""

    def data_received(self, data: bytes) -> None:
        *heads, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for _ in heads:
            self._transport.write(self.answer)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Server, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    body = page(f"http://127.0.0.1:{port}/fhir")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n"
    _Server.answer = head.encode() + body
    print(port, len(body), flush=True)
    await server.serve_forever()


async def timed(fetch: Fetch) -> tuple[float, float]:
    """Microseconds of processor and of the clock for one search."""

    async def worker() -> None:
        for _ in range(SEARCHES // CONCURRENCY):
            await fetch()

    clock, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
    scale = 1e6 / SEARCHES
    return (time.process_time() - processor) * scale, (time.perf_counter() - clock) * scale


async def measure(base: str, rounds: int) -> dict[str, tuple[float, float]]:
    """Name to the medians of processor and clock."""
    url = f"{base}/Encounter?patient=maria"
    stock = AsyncFHIRClient(base, authorization="Bearer x")
    facts = {"concurrency": CONCURRENCY, "auth": bearer("x")}
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with (
        BhiClient(Connection(base, fast=True, **facts)) as fast,
        BhiClient(Connection(base, **facts)) as slow,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONCURRENCY)) as bare,
        httpx.AsyncClient(limits=limits, trust_env=False) as bare_httpx,
    ):

        async def fhirpy() -> None:
            assert len(await stock.resources("Encounter").search(patient="maria").fetch()) == ENTRIES

        def ours(client: BhiClient) -> Fetch:
            async def fetch() -> None:
                assert len((await search(client, "Encounter", {"patient": "maria"})).entries) == ENTRIES

            return fetch

        async def only_aiohttp() -> None:
            async with bare.get(url) as response:
                await response.read()

        async def only_httpx() -> None:
            await bare_httpx.get(url)

        contestants: dict[str, Fetch] = {
            "fhirpy fetch()": fhirpy,
            "bhi-fhir search, aiohttp's pool": ours(fast),
            "bhi-fhir search, httpx's pool": ours(slow),
            "aiohttp alone, bytes only": only_aiohttp,
            "httpx alone, bytes only": only_httpx,
        }
        for fetch in contestants.values():
            await fetch()
        taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
        for _ in range(rounds):
            for name, fetch in contestants.items():
                taken[name].append(await timed(fetch))
    return {
        name: (statistics.median(each[0] for each in times), statistics.median(each[1] for each in times))
        for name, times in taken.items()
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    with subprocess.Popen([sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port, size = server.stdout.readline().split()
            found = asyncio.run(measure(f"http://127.0.0.1:{port}/fhir", rounds))
        finally:
            server.kill()
    print(f"one page of {size} bytes, {CONCURRENCY} at a time, median of {rounds} rounds")
    first = found["fhirpy fetch()"]
    for name, (processor, clock) in found.items():
        ratio = f"{first[0] / processor:5.1f} x by processor, {first[1] / clock:5.1f} x by clock"
        print(f"{name:34s}{processor:7.0f} µs processor {clock:7.0f} µs clock  {ratio}")


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        main()
