"""A FHIR server that is only slow: it answers each request after the same time, for as many patients as asked for.

    python -m faults.slow_server --port 8099 --patients 10000 --latency 0.05

Every patient has the record of one example patient under an id of their own; nothing is kept but what is written.
Plain asyncio, so that one core serves thousands of requests a second and the client is what is measured.
`GET /counts` says what it saw and begins to count anew.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

EXAMPLES = Path(__file__).parents[2] / "examples" / "patients"
EXAMPLE, PATIENT = "cocm-first-month-in-order", "maria"
PEOPLE = {"Practitioner", "PractitionerRole", "Organization"}
TYPES = (
    "CareTeam", "ChargeItem", "Claim", "Condition", "Consent", "Coverage", "DocumentReference", "Encounter",
    "EpisodeOfCare", "Group", "List", "Observation", "Organization", "Patient", "Practitioner", "PractitionerRole",
    "Procedure", "Provenance", "QuestionnaireResponse",
)  # fmt: skip
PARAMS = ("_id", "beneficiary", "date", "identifier", "patient", "practitioner", "subject", "target")

Json = dict[str, Any]


@dataclass
class Record:
    """What the server knows. Bodies are kept as bytes; the example's patient is replaced when they are sent."""

    patients: int
    base: str
    by_type: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    people: dict[str, bytes] = field(default_factory=dict)
    written: dict[str, bytes] = field(default_factory=dict)
    of_patient: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))
    identified: dict[tuple[str, str], str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for entry in json.loads((EXAMPLES / f"{EXAMPLE}.json").read_text())["entry"]:
            resource = entry["resource"]
            body = json.dumps(resource | {"meta": {"versionId": "1"}}, separators=(",", ":")).encode()
            if resource["resourceType"] in PEOPLE:
                self.people[f"{resource['resourceType']}/{resource['id']}"] = body
            else:
                self.by_type[resource["resourceType"]].append(body)

    def name(self, number: int) -> str:
        return f"{number:07d}-p"

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Status and body for one request below the base."""
        path, _, query = target.partition("?")
        parts = path.strip("/").split("/")
        if parts[-1] == "_search":
            query, method, parts = body.decode(), "GET", parts[:-1]
        if method == "GET":
            if parts == ["metadata"]:
                return 200, _metadata()
            return self._read("/".join(parts)) if len(parts) > 1 else (200, self._search(parts[0], query))
        if parts == [""]:
            entries = [self._entry(entry) for entry in json.loads(body)["entry"]]
            return 200, _dumps({"resourceType": "Bundle", "type": "transaction-response", "entry": entries})
        name = "/".join(parts[:2]) if method == "PUT" else parts[0]
        status, where = self._write(method, name, json.loads(body), headers.get("if-none-exist", ""))
        return status, self.written[where]

    def _read(self, reference: str) -> tuple[int, bytes]:
        reference = reference.partition("/_history/")[0]
        if reference == "List/roster":
            entries = [{"item": {"reference": f"Patient/{self.name(n)}"}} for n in range(self.patients)]
            listed = {"resourceType": "List", "id": "roster", "status": "current", "mode": "working", "entry": entries}
            return 200, _dumps(listed)
        found = self.people.get(reference) or self.written.get(reference)
        if found is None and reference.startswith("Patient/"):
            found = self._of("Patient", reference.removeprefix("Patient/"))[0]
        if found is None:
            issue = {"severity": "error", "code": "not-found"}
            return 404, _dumps({"resourceType": "OperationOutcome", "issue": [issue]})
        return 200, found

    def _of(self, kind: str, patient: str) -> list[bytes]:
        own = [body.replace(PATIENT.encode(), patient.encode()) for body in self.by_type.get(kind, ())]
        return own + [self.written[where] for where in self.of_patient.get((kind, patient), ())]

    def _search(self, kind: str, query: str) -> bytes:
        params = dict(parse_qsl(query))
        patient = params.get("patient") or params.get("subject") or params.get("beneficiary")
        if patient:
            found = self._of(kind, patient.rpartition("/")[2])
        elif "identifier" in params:
            where = self.identified.get((kind, params["identifier"].rpartition("|")[2]))
            found = [self.written[where]] if where else []
        elif "practitioner" in params:
            wanted = f'"Practitioner/{params["practitioner"].rpartition("/")[2]}"'.encode()
            found = [b for n, b in self.people.items() if n.startswith(f"{kind}/") and wanted in b]
        else:
            found = []
        url = f"{self.base}/{kind}".encode()
        entries = b",".join(
            b'{"fullUrl":"%b/%d","resource":%b,"search":{"mode":"match"}}' % (url, n, body)
            for n, body in enumerate(found)
        )
        link = _dumps([{"relation": "self", "url": f"{self.base}/{kind}?{query}"}])
        head = b'{"resourceType":"Bundle","type":"searchset","total":%d,"link":%b' % (len(found), link)
        return head + (b',"entry":[%b]}' % entries if entries else b"}")

    def _entry(self, entry: Json) -> Json:
        request = entry["request"]
        if request["method"] == "GET":
            status, body = self.answer("GET", request["url"], {}, b"")
            return {"resource": json.loads(body), "response": {"status": str(status)}}
        status, where = self._write(
            request["method"], request["url"], entry["resource"], request.get("ifNoneExist", "")
        )
        return {"response": {"status": str(status), "location": f"{where}/_history/1", "etag": 'W/"1"'}}

    def _write(self, method: str, url: str, resource: Json, condition: str) -> tuple[int, str]:
        kind = resource["resourceType"]
        value = next((i["value"] for i in resource.get("identifier", ()) if "value" in i), "")
        if condition and (known := self.identified.get((kind, unquote(condition).rpartition("|")[2]))):
            return 200, known
        where = url if method == "PUT" else f"{kind}/{len(self.written) + 1}"
        fresh = where not in self.written
        body = resource | {"id": where.split("/")[1], "meta": {**resource.get("meta", {}), "versionId": "1"}}
        self.written[where] = _dumps(body)
        if value:
            self.identified[kind, value] = where
        subject = (resource.get("subject") or resource.get("patient") or {}).get("reference", "").rpartition("/")[2]
        if fresh and subject:
            self.of_patient[kind, subject].append(where)
        return (201 if fresh else 200), where


def _metadata() -> bytes:
    kinds = [
        {
            "type": kind,
            "interaction": [{"code": c} for c in ("read", "vread", "search-type", "create", "update")],
            "versioning": "versioned",
            "conditionalCreate": True,
            "updateCreate": True,
            "searchParam": [{"name": p, "type": "token"} for p in PARAMS],
        }
        for kind in TYPES
    ]
    interactions = [{"code": "transaction"}, {"code": "batch"}]
    rest = [{"mode": "server", "resource": kinds, "interaction": interactions}]
    return _dumps({"resourceType": "CapabilityStatement", "fhirVersion": "4.0.1", "format": ["json"], "rest": rest})


@dataclass
class Counts:
    requests: int = 0
    writes: int = 0
    at_once: int = 0
    most_at_once: int = 0
    first: float = 0.0
    last: float = 0.0


@dataclass
class Slow:
    record: Record
    latency: float
    counts: Counts = field(default_factory=Counts)

    def connection(self) -> asyncio.Protocol:
        return _Connection(self)

    def take(self, connection: _Connection, method: str, target: str, headers: dict[str, str], body: bytes) -> None:
        loop = asyncio.get_running_loop()
        if target == "/counts":
            connection.send(200, _dumps(self.counts.__dict__ | {"written": len(self.record.written)}))
            self.counts = Counts()
            return
        counts = self.counts
        counts.requests += 1
        counts.writes += method != "GET"
        counts.at_once += 1
        counts.most_at_once = max(counts.most_at_once, counts.at_once)
        counts.first = counts.first or time.monotonic()

        def answer() -> None:
            below = target.removeprefix(urlsplit(self.record.base).path)
            status, said = self.record.answer(method, below, headers, body)
            counts.at_once -= 1
            counts.last = time.monotonic()
            connection.send(status, said)

        loop.call_later(self.latency, answer)


class _Connection(asyncio.Protocol):
    """One connection; one request at a time, as httpx sends them."""

    def __init__(self, slow: Slow) -> None:
        self.slow = slow
        self.unread = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.unread += data
        head, end, rest = self.unread.partition(b"\r\n\r\n")
        if not end:
            return
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
        size = int(headers.get("content-length", 0))
        if len(rest) < size:
            return
        self.unread = rest[size:]
        method, target, _ = first.split(" ")
        self.slow.take(self, method, target, headers, rest[:size])

    def send(self, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/fhir+json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)  # type: ignore[attr-defined]


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


async def serve(port: int, patients: int, latency: float) -> None:
    slow = Slow(Record(patients, f"http://127.0.0.1:{port}/fhir"), latency)
    server = await asyncio.get_running_loop().create_server(slow.connection, "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--latency", type=float, default=0.05)
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.port, chosen.patients, chosen.latency))


if __name__ == "__main__":
    main()
