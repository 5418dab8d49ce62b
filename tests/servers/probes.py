"""What a FHIR server does where servers differ: one probe a behaviour, over plain HTTP and without our own client.

A probe says in a few words what it saw. Probes share a server: each uses identifiers of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

SYSTEM = "urn:bhi-fhir:probe"
AT_ONCE = 8
Resource = dict[str, Any]


@dataclass(frozen=True)
class Probe:
    """`question` is the row's name; `run` asks one server."""

    question: str
    run: Callable[[Server], str]


class Server:
    """One FHIR server; `ask` sends as it is told, and takes any status for an answer."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.Client(
            base_url=base_url, headers={"Accept": "application/fhir+json"}, timeout=60.0, trust_env=False
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, body: Resource | None = None, **headers: str) -> httpx.Response:
        """`headers`: with _ for -."""
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            said["Content-Type"] = "application/fhir+json"
        return self._http.request(method, path, json=body, headers=said)

    def form(self, path: str, **fields: str) -> httpx.Response:
        return self._http.post(path, data=fields)

    def version(self) -> str:
        software = self.ask("GET", "/metadata").json()["software"]
        return f"{software['name']} {software['version'].partition('-')[0]}"

    def found(self, kind: str, query: str) -> list[Resource]:
        """The matches of a search, of its first page."""
        return matches(self.ask("GET", f"/{kind}?{query}"))


def matches(answer: httpx.Response) -> list[Resource]:
    entries = answer.json().get("entry", [])
    return [e["resource"] for e in entries if e.get("search", {}).get("mode", "match") == "match"]


PROBES: list[Probe] = []


def probe(question: str) -> Callable[[Callable[[Server], str]], Callable[[Server], str]]:
    def keep(run: Callable[[Server], str]) -> Callable[[Server], str]:
        PROBES.append(Probe(question, run))
        return run

    return keep


def fresh() -> str:
    return str(uuid4())


def charge(value: str, **elements: Any) -> Resource:
    return {
        "resourceType": "ChargeItem",
        "status": "planned",
        "identifier": [{"system": SYSTEM, "value": value}],
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "99492"}]},
        "subject": {"identifier": {"system": SYSTEM, "value": "somebody"}},
        **elements,
    }


def by(value: str) -> str:
    return f"identifier={SYSTEM}|{value}"


def transaction(*entries: Resource) -> Resource:
    return {"resourceType": "Bundle", "type": "transaction", "entry": list(entries)}


def once(value: str) -> Resource:
    request = {"method": "POST", "url": "ChargeItem", "ifNoneExist": by(value)}
    return {"fullUrl": f"urn:uuid:{fresh()}", "resource": charge(value), "request": request}


def put(resource: Resource, **request: str) -> Resource:
    url = f"{resource['resourceType']}/{resource['id']}"
    return {"fullUrl": f"urn:uuid:{fresh()}", "resource": resource, "request": {"method": "PUT", "url": url, **request}}


def inner(answer: httpx.Response) -> list[str]:
    """The status of each entry of a transaction's answer."""
    return [entry["response"]["status"][:3] for entry in answer.json().get("entry", [])]


def statuses(*answers: httpx.Response) -> str:
    return ", ".join(str(answer.status_code) for answer in answers)


def several(answers: list[httpx.Response]) -> list[httpx.Response]:
    return answers


@probe("Conditional create: first, again, with two matches")
def conditional_create(server: Server) -> str:
    value = fresh()
    first, again = (server.ask("POST", "/ChargeItem", charge(value), If_None_Exist=by(value)) for _ in range(2))
    server.ask("POST", "/ChargeItem", charge(value))
    return statuses(first, again, server.ask("POST", "/ChargeItem", charge(value), If_None_Exist=by(value)))


@probe("Conditional create that finds one: what comes back")
def conditional_create_found(server: Server) -> str:
    value = fresh()
    made, found = (server.ask("POST", "/ChargeItem", charge(value), If_None_Exist=by(value)) for _ in range(2))
    if not found.content:
        return "no body"
    return "the one that is there" if found.json().get("id") == made.json()["id"] else "something else"


@probe("Transaction with ifNoneExist, twice")
def transaction_twice(server: Server) -> str:
    value = fresh()
    first, again = (server.ask("POST", "", transaction(once(value))) for _ in range(2))
    return f"{statuses(first, again)}; inside {inner(first)[0]}, {inner(again)[0]}; {written(server, value)}"


@probe("Transaction with ifNoneExist: where the answer says which resource")
def transaction_location(server: Server) -> str:
    value = fresh()
    said = []
    for _ in range(2):
        entry = server.ask("POST", "", transaction(once(value))).json()["entry"][0]
        said.append(" and ".join(
            name for name, there in (("location", "location" in entry["response"]), ("resource", "resource" in entry))
            if there
        ) or "nowhere")  # fmt: skip
    return "made: {}; found: {}".format(*said)


@probe("Transaction with two ifNoneExist for one identifier")
def transaction_doubled(server: Server) -> str:
    value = fresh()
    answer = server.ask("POST", "", transaction(once(value), once(value)))
    return f"{statuses(answer)}; {written(server, value)}"


@probe(f"The same conditional create, {AT_ONCE} at once")
def at_once(server: Server) -> str:
    value = fresh()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(server.ask, "POST", "/ChargeItem", charge(value), If_None_Exist=by(value)) for _ in range(AT_ONCE)]
        answers = [one.result() for one in sent]
    return f"{written(server, value)}; {tally(answers)}"


@probe(f"The same transaction with ifNoneExist, {AT_ONCE} at once")
def transactions_at_once(server: Server) -> str:
    value = fresh()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(server.ask, "POST", "", transaction(once(value))) for _ in range(AT_ONCE)]
        answers = [one.result() for one in sent]
    return f"{written(server, value)}; {tally(answers)}"


def tally(answers: list[httpx.Response]) -> str:
    return ", ".join(f"{n} x {status}" for status, n in sorted(Counter(a.status_code for a in answers).items()))


def written(server: Server, value: str) -> str:
    return f"{len(server.found('ChargeItem', by(value)))} written"
