"""What a FHIR server does where servers differ: one probe a behaviour, over plain HTTP and without our own client.

A probe says in a few words what it saw. Probes share a server: each uses identifiers of its own.
"""

from __future__ import annotations

import re
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

    def send(
        self, path: str, text: str, method: str = "POST", kind: str = "application/fhir+json", if_match: str = "*"
    ) -> httpx.Response:
        """As it is written, digit for digit."""
        said = {"Content-Type": kind} | ({"If-Match": if_match} if if_match != "*" else {})
        return self._http.request(method, path, content=text, headers=said)

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
    return crowd(server, value, lambda: server.ask("POST", "/ChargeItem", charge(value), If_None_Exist=by(value)))


@probe(f"The same transaction with ifNoneExist, {AT_ONCE} at once")
def transactions_at_once(server: Server) -> str:
    value = fresh()
    return crowd(server, value, lambda: server.ask("POST", "", transaction(once(value))))


def crowd(server: Server, value: str, write: Callable[[], httpx.Response]) -> str:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = [sent.result() for sent in [pool.submit(write) for _ in range(AT_ONCE)]]
    # How many of those that came too late were refused (HAPI: 409) differs from run to run.
    odd = sorted({answer.status_code for answer in answers} - {200, 201, 409})
    return written(server, value) + (f"; {odd}" if odd else "")


def written(server: Server, value: str) -> str:
    return f"{len(server.found('ChargeItem', by(value)))} written"


@probe("PUT with an id of ours: new, again")
def update_create(server: Server) -> str:
    patient = {"resourceType": "Patient", "id": fresh()}
    return statuses(*(server.ask("PUT", f"/Patient/{patient['id']}", patient) for _ in range(2)))


@probe("PUT with an id of ours that is a number")
def numeric_id(server: Server) -> str:
    number = str(uuid4().int)[:12]
    return statuses(server.ask("PUT", f"/Patient/{number}", {"resourceType": "Patient", "id": number}))


@probe("PUT with If-Match: current, stale")
def if_match(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    changed = {**made, "status": "billable"}
    tag = f'W/"{made["meta"]["versionId"]}"'
    return statuses(*(server.ask("PUT", f"/ChargeItem/{made['id']}", changed, If_Match=tag) for _ in range(2)))


@probe("DELETE with a stale If-Match")
def delete_if_match(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    server.ask("PUT", f"/ChargeItem/{made['id']}", {**made, "status": "billable"})
    tag = f'W/"{made["meta"]["versionId"]}"'
    return statuses(server.ask("DELETE", f"/ChargeItem/{made['id']}", If_Match=tag))


@probe("Transaction of which one entry has a stale ifMatch")
def transaction_conflict(server: Server) -> str:
    patient = {"resourceType": "Patient", "id": fresh()}
    server.ask("PUT", f"/Patient/{patient['id']}", patient)
    return beside(server, put({**patient, "active": True}, ifMatch='W/"77"'))


@probe("Transaction of which one entry has an object where a date belongs")
def transaction_with_a_wrong_shape(server: Server) -> str:
    return beside(server, put({"resourceType": "Patient", "id": fresh(), "birthDate": {"no": "date"}}))


@probe("Transaction of which one entry names another id than its resource")
def transaction_with_a_wrong_id(server: Server) -> str:
    return beside(server, put({"resourceType": "Patient", "id": fresh()}, url=f"Patient/{fresh()}"))


def beside(server: Server, entry: Resource) -> str:
    value = fresh()
    answer = server.ask("POST", "", transaction(once(value), entry))
    inside = f", inside {', '.join(inner(answer))}" if answer.is_success else ""
    return f"{statuses(answer)}{inside}; {written(server, value)} of the other"


@probe("Transaction with PUT by identifier (conditional update), twice")
def conditional_update(server: Server) -> str:
    value = fresh()
    request = {"method": "PUT", "url": f"ChargeItem?{by(value)}"}
    entry = {"fullUrl": f"urn:uuid:{fresh()}", "resource": charge(value), "request": request}
    answers = [server.ask("POST", "", transaction(entry)) for _ in range(2)]
    return f"{statuses(*answers)}; inside {', '.join(inner(a)[0] for a in answers)}; {written(server, value)}"


@probe("A reference within a transaction (urn:uuid)")
def inner_reference(server: Server) -> str:
    value, local = fresh(), f"urn:uuid:{fresh()}"
    patient = {
        "fullUrl": local,
        "resource": {"resourceType": "Patient"},
        "request": {"method": "POST", "url": "Patient"},
    }
    item = once(value)
    item["resource"]["subject"] = {"reference": local}
    server.ask("POST", "", transaction(patient, item))
    (made,) = server.found("ChargeItem", by(value))
    return "resolved" if made["subject"]["reference"].startswith("Patient/") else "left as it was"


@probe("PUT of what is there already, unchanged: the version")
def unchanged(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    same = server.ask("PUT", f"/ChargeItem/{made['id']}", made).json()
    return "stays" if same["meta"]["versionId"] == made["meta"]["versionId"] else "counts on"


@probe("Version ids")
def version_ids(server: Server) -> str:
    version = server.ask("POST", "/ChargeItem", charge(fresh())).json()["meta"]["versionId"]
    return "numbers" if version.isdigit() else "UUIDs"


@probe("Headers of a create: ETag, Location")
def headers(server: Server) -> str:
    answer = server.ask("POST", "/ChargeItem", charge(fresh()))
    version = "with" if "/_history/" in answer.headers.get("Location", "") else "without"
    return f"{'yes' if 'ETag' in answer.headers else 'no'}, {version} version"


@probe("Reading an earlier version")
def earlier_version(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    server.ask("PUT", f"/ChargeItem/{made['id']}", {**made, "status": "billable"})
    return statuses(server.ask("GET", f"/ChargeItem/{made['id']}/_history/{made['meta']['versionId']}"))


@probe("Read of what is deleted, of what never was")
def deleted(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    server.ask("DELETE", f"/ChargeItem/{made['id']}")
    return statuses(server.ask("GET", f"/ChargeItem/{made['id']}"), server.ask("GET", f"/ChargeItem/{fresh()}"))


@probe("After a delete: search by identifier, conditional create")
def after_delete(server: Server) -> str:
    value = fresh()
    made = server.ask("POST", "/ChargeItem", charge(value), If_None_Exist=by(value)).json()
    server.ask("DELETE", f"/ChargeItem/{made['id']}")
    found = len(server.found("ChargeItem", by(value)))
    return f"{found} found, {statuses(server.ask('POST', '/ChargeItem', charge(value), If_None_Exist=by(value)))}"


@probe("PUT onto what is deleted")
def undelete(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    server.ask("DELETE", f"/ChargeItem/{made['id']}")
    return statuses(server.ask("PUT", f"/ChargeItem/{made['id']}", made))


@probe("Search by identifier right after writing, having searched before")
def search_at_once(server: Server) -> str:
    value = fresh()
    before = len(server.found("ChargeItem", by(value)))
    server.ask("POST", "/ChargeItem", charge(value))
    return f"{before}, then {len(server.found('ChargeItem', by(value)))}"


@probe("Search by identifier in the other case")
def other_case(server: Server) -> str:
    value = fresh()
    server.ask("POST", "/ChargeItem", charge(value))
    return "found" if server.found("ChargeItem", by(value.upper())) else "not found"


@probe("POST _search with the parameters in the body")
def search_by_post(server: Server) -> str:
    value = fresh()
    server.ask("POST", "/ChargeItem", charge(value))
    return f"{len(matches(server.form('/ChargeItem/_search', identifier=f'{SYSTEM}|{value}')))} found"


@probe("An unknown parameter: handling=strict, lenient, nothing said")
def unknown_parameter(server: Server) -> str:
    server.ask("POST", "/Patient", {"resourceType": "Patient"})

    def one(**said: str) -> str:
        answer = server.ask("GET", "/Patient?favourite-colour=blue", **said)
        if not answer.is_success:
            return str(answer.status_code)
        return "ignored" if matches(answer) else "nothing found"

    return ", ".join((one(Prefer="handling=strict"), one(Prefer="handling=lenient"), one()))


@probe("Search for ChargeItem by patient: Patient/id, id alone, patient.identifier")
def charges_by_patient(server: Server) -> str:
    return by_patient(server, lambda patient: charge(fresh(), subject=patient))


@probe("Search for Encounter by patient: Patient/id, id alone, patient.identifier")
def encounters_by_patient(server: Server) -> str:
    kind = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "AMB"}
    encounter = {"resourceType": "Encounter", "status": "finished", "class": kind}
    return by_patient(server, lambda patient: {**encounter, "subject": patient})


def by_patient(server: Server, about: Callable[[Resource], Resource]) -> str:
    patient, value = fresh(), fresh()
    identifier = [{"system": SYSTEM, "value": value}]
    server.ask("PUT", f"/Patient/{patient}", {"resourceType": "Patient", "id": patient, "identifier": identifier})
    resource = about({"reference": f"Patient/{patient}"})
    kind = resource["resourceType"]
    server.ask("POST", f"/{kind}", resource)
    asked = (f"patient=Patient/{patient}", f"patient={patient}", f"patient.{by(value)}")
    return ", ".join("found" if server.found(kind, query) else "not found" for query in asked)


@probe("_count=2 of 5: entries, total, link to more")
def paging(server: Server) -> str:
    value = fresh()
    for _ in range(5):
        server.ask("POST", "/ChargeItem", charge(value))
    bundle = server.ask("GET", f"/ChargeItem?{by(value)}&_count=2").json()
    more = any(link["relation"] == "next" for link in bundle.get("link", []))
    return f"{len(bundle['entry'])}, {bundle.get('total', 'none')}, {'yes' if more else 'no'}"


@probe("No _count: entries of the first page, of 30")
def default_count(server: Server) -> str:
    value = fresh()
    server.ask("POST", "", transaction(*(
        {"resource": charge(value), "request": {"method": "POST", "url": "ChargeItem"}} for _ in range(30)
    )))  # fmt: skip
    return str(len(server.found("ChargeItem", by(value))))


@probe("fullUrl in the entries of a search")
def full_url(server: Server) -> str:
    value = fresh()
    server.ask("POST", "/ChargeItem", charge(value))
    (entry,) = server.ask("GET", f"/ChargeItem?{by(value)}").json()["entry"]
    return "yes" if "fullUrl" in entry else "no"


@probe("A reference to nobody")
def dangling(server: Server) -> str:
    return statuses(server.ask("POST", "/ChargeItem", charge(fresh(), subject={"reference": f"Patient/{fresh()}"})))


@probe("A Claim without insurance, a status that FHIR does not know, an element that it does not know")
def invalid(server: Server) -> str:
    claim = {
        "resourceType": "Claim", "status": "draft", "use": "claim", "created": "2026-04-01",
        "type": {"text": "professional"}, "priority": {"text": "normal"},
        "patient": {"display": "somebody"}, "provider": {"display": "somebody"},
    }  # fmt: skip
    odd = charge(fresh(), status="nonsense"), charge(fresh(), nonsense=True)
    return statuses(server.ask("POST", "/Claim", claim), *(server.ask("POST", "/ChargeItem", one) for one in odd))


@probe("Kept of meta: security, tag, profile")
def meta(server: Server) -> str:
    system = "urn:bhi-fhir:probe"
    said = {
        "security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}],
        "tag": [{"system": system, "code": "ours"}],
        "profile": ["urn:bhi-fhir:profile"],
    }
    made = server.ask("POST", "/ChargeItem", charge(fresh(), meta=said)).json()
    kept = server.ask("GET", f"/ChargeItem/{made['id']}").json()["meta"]
    return ", ".join("yes" if name in kept else "no" for name in said)


@probe("meta.security that a PUT no longer names")
def meta_dropped(server: Server) -> str:
    said = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}
    made = server.ask("POST", "/ChargeItem", charge(fresh(), meta=said)).json()
    server.ask("PUT", f"/ChargeItem/{made['id']}", {**made, "meta": {}, "status": "billable"})
    return "stays" if "security" in server.ask("GET", f"/ChargeItem/{made['id']}").json()["meta"] else "is gone"


@probe("Numbers and instants: 1.50 and 2026-04-01T00:00:00-05:00 come back as")
def as_written(server: Server) -> str:
    body = charge(fresh(), quantity={"value": 1.5}, occurrenceDateTime="2026-04-01T00:00:00-05:00")
    text = httpx.Request("POST", "http://x", json=body).content.decode().replace("1.5", "1.50")
    made = server.send("/ChargeItem", text)
    kept = server.ask("GET", f"/ChargeItem/{made.json()['id']}")
    number = re.search(r'"quantity":\s*{\s*"value":\s*([0-9.]+)', kept.text)
    return f"{number and number[1]}, {kept.json()['occurrenceDateTime']}"


@probe("PATCH with JSON Patch, with If-Match: current, stale")
def patch(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    tag = f'W/"{made["meta"]["versionId"]}"'
    change = '[{"op": "replace", "path": "/status", "value": "entered-in-error"}]'
    kind = "application/json-patch+json"
    return statuses(*(server.send(f"/ChargeItem/{made['id']}", change, "PATCH", kind, tag) for _ in range(2)))


@probe("Provenance for a version: written, found by target")
def provenance(server: Server) -> str:
    made = server.ask("POST", "/ChargeItem", charge(fresh())).json()
    reference = f"ChargeItem/{made['id']}"
    answer = server.ask("POST", "/Provenance", {
        "resourceType": "Provenance", "recorded": "2026-04-01T00:00:00Z",
        "target": [{"reference": f"{reference}/_history/{made['meta']['versionId']}"}],
        "agent": [{"who": {"display": "bhi-fhir"}}],
    })  # fmt: skip
    found = "found" if server.found("Provenance", f"target={reference}") else "not found"
    return f"{statuses(answer)}, {found}"


@probe("An error says why (OperationOutcome)")
def says_why(server: Server) -> str:
    answer = server.ask("GET", f"/ChargeItem/{fresh()}")
    return "yes" if answer.json().get("resourceType") == "OperationOutcome" else "no"
