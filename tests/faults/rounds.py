"""One round: example patients under new ids in a new site, what a month of theirs must come to, what was found.

What must be there is the examples' own table (`make_examples`), not what the program says; what is there is
read from the server itself with plain HTTP, not through the proxy and not with the program's client.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
from make_examples import EXPECTED, FOLDER, MONTH

STEMS = (
    "cocm-first-month-in-order",
    "cocm-long-month-with-add-ons",
    "general-bhi-in-order",
    "psychologist-in-person",
    "no-coverage-on-file",
)
WITHOUT_CLAIM = "no-coverage-on-file"
DRAFT = "urn:bhi-fhir:draft"
_PEOPLE = {"Practitioner", "PractitionerRole", "Organization"}

Resource = dict[str, Any]


@dataclass(frozen=True)
class Round:
    """`charges` and `claims`: how often each (patient, code) and each patient's claim must be there."""

    name: str
    folder: Path
    charges: Counter[tuple[str, str]]
    claims: Counter[str]
    ledger: str = ""

    @property
    def arguments(self) -> list[str]:
        return ["sync", "--site", str(self.folder), "--month", MONTH, "--write", "--format", "json"]

    def point_at(self, base_url: str, concurrency: int = 8) -> None:
        """Write site.toml. The round's own month may not be over yet where the clock is behind."""
        ledger = f'ledger = "{self.ledger}"\n' if self.ledger else ""
        (self.folder / "site.toml").write_text(
            f'name = "{self.name}"\ntime_zone = "America/Chicago"\n'
            f'[roster]\nfrom = "file:{self.folder / "roster.txt"}"\n'
            f"[delivery]\nwrite_open_month = true\n{ledger}"
            f'[fhir]\nbase_url = "{base_url}"\nconcurrency = {concurrency}\n'
        )


@dataclass
class Found:
    """What a server holds for a round. `violations`: sentences; none is the only good number."""

    duplicates: int = 0
    missing: int = 0
    extra: int = 0
    violations: list[str] = field(default_factory=list)
    asked: int = 0
    """Lines that are missing and said to be unknown: a person is to find out."""
    unattested: int = 0
    """Drafts that no Provenance names: no violation of exactly-once."""
    attested_twice: int = 0

    def add(self, other: Found) -> None:
        self.duplicates += other.duplicates
        self.missing += other.missing
        self.extra += other.extra
        self.asked += other.asked
        self.unattested += other.unattested
        self.attested_twice += other.attested_twice
        self.violations += other.violations


async def prepare(server: str, folder: Path, name: str, stems: Iterable[str] = STEMS, ledger: str = "") -> Round:
    """Load the round's patients, straight to the server, and make the site's folder without its site.toml."""
    folder.mkdir(parents=True)
    charges: Counter[tuple[str, str]] = Counter()
    claims: Counter[str] = Counter()
    async with _client() as http:
        for stem in stems:
            resources, patient = _renamed(stem, name)
            await _load(http, server, resources)
            codes = EXPECTED[stem]["billable"]
            charges.update((patient, code) for code in codes)
            claims.update([patient] if codes and stem != WITHOUT_CLAIM else [])
    patients = sorted({patient for patient, _ in charges})
    (folder / "roster.txt").write_text("\n".join(patients))
    return Round(name, folder, charges, claims, ledger)


def _renamed(stem: str, name: str) -> tuple[list[Resource], str]:
    """An example's resources under ids of this round; people are the same in every round."""
    resources = [e["resource"] for e in json.loads((FOLDER / f"{stem}.json").read_text())["entry"]]
    new = {f"{r['resourceType']}/{r['id']}": f"{r['resourceType']}/{_id(name, r)}" for r in resources}

    def renamed(node: Any) -> Any:
        if isinstance(node, dict):
            # A Consent's actor has a reference that is itself a Reference.
            named = node.get("reference")
            moved = {"reference": new.get(named, named)} if isinstance(named, str) else {}
            return {k: renamed(v) for k, v in node.items()} | moved
        return [renamed(v) for v in node] if isinstance(node, list) else node

    moved = [renamed(r) | {"id": new[f"{r['resourceType']}/{r['id']}"].split("/")[1]} for r in resources]
    return moved, next(f"Patient/{r['id']}" for r in moved if r["resourceType"] == "Patient")


def _id(name: str, resource: Resource) -> str:
    whose = "people" if resource["resourceType"] in _PEOPLE else name
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{whose}/{resource['resourceType']}/{resource['id']}"))


async def _load(http: httpx.AsyncClient, server: str, resources: list[Resource]) -> None:
    entries = [
        {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}} for r in resources
    ]
    answer = await http.post(server, json={"resourceType": "Bundle", "type": "transaction", "entry": entries})
    answer.raise_for_status()
    refused = [e["response"] for e in answer.json()["entry"] if not e["response"]["status"].startswith("2")]
    if refused:
        raise RuntimeError(f"the server did not take an example: {refused[0]}")


async def examine(server: str, done: Round) -> Found:
    """Compare what the server holds for the round's patients with what must be there."""
    found = Found()
    patients = sorted({patient for patient, _ in done.charges})
    async with _client() as http:
        charges = [r for p in patients async for r in search(http, server, "ChargeItem", {"subject": p})]
        claims = [r for p in patients async for r in search(http, server, "Claim", {"patient": p})]
        # All of them: a search by target does not find a target of a certain version everywhere (Medplum).
        provenances = [r async for r in search(http, server, "Provenance", {})]
    attested = Counter(t["reference"].partition("/_history/")[0] for p in provenances for t in p["target"])
    numbers = [attested[f"{draft['resourceType']}/{draft['id']}"] for draft in (*charges, *claims)]
    found.unattested = sum(number == 0 for number in numbers)
    found.attested_twice = sum(number > 1 for number in numbers)
    _compare(found, done, "ChargeItem", Counter(_charged(r) for r in charges), done.charges)
    _compare(found, done, "Claim", Counter(r["patient"]["reference"] for r in claims), done.claims)
    values = Counter(_identifier(r) for r in (*charges, *claims))
    for value, number in values.items():
        if number > 1 or not value:
            found.violations.append(f"{done.name}: identifier {value or '(none)'} is on {number} resources")
    for claim in claims:
        codes = {i["productOrService"]["coding"][0]["code"] for i in claim["item"]}
        wanted = {code for patient, code in done.charges if patient == claim["patient"]["reference"]}
        if codes != wanted:
            found.violations.append(f"{done.name}: Claim/{claim['id']} holds {sorted(codes)}, not {sorted(wanted)}")
    return found


def _compare(found: Found, done: Round, kind: str, there: Counter[Any], wanted: Counter[Any]) -> None:
    for line in sorted(there.keys() | wanted.keys()):
        if there[line] > max(1, wanted[line]):
            found.duplicates += there[line] - max(1, wanted[line])
            found.violations.append(f"{done.name}: {kind} {line} is there {there[line]} times")
        elif there[line] < wanted[line]:
            found.missing += wanted[line] - there[line]
            found.violations.append(f"{done.name}: {kind} {line} is missing")
        if not wanted[line]:
            found.extra += there[line]
            found.violations.append(f"{done.name}: {kind} {line} should not be there")


def created(output: Path) -> int | None:
    """How many drafts a run says that it made; None if its output is no report."""
    try:
        return int(json.loads(output.read_bytes())["counts"]["created"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def told(output: Path) -> list[str]:
    """What a run says of lines that it neither made nor found, and of patients that failed."""
    try:
        months = json.loads(output.read_bytes())["months"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    lines = [f"{d['resource_type']} {d['outcome']}: {d['reason']}" for m in months for d in m.get("delivered", ())
             if d["outcome"] not in {"created", "unchanged"}]  # fmt: skip
    return lines + [f"failed: {m['failed']}" for m in months if m.get("failed")]


def given_to_a_person(found: Found, said: Iterable[str]) -> Found:
    """Without the missing lines, if the last run says of as many that it is unknown what became of them."""
    unknown = sum(" unknown: " in line for line in said)
    if found.missing and unknown == found.missing:
        others = [sentence for sentence in found.violations if not sentence.endswith("is missing")]
        return replace(found, missing=0, asked=unknown, violations=others)
    return found


async def search(http: httpx.AsyncClient, server: str, kind: str, params: dict[str, str]) -> AsyncIterator[Resource]:
    """Every match, page by page; links are followed on the server's own origin."""
    url: str | None = str(httpx.URL(f"{server}/{kind}", params={**params, "_count": "200"}))
    while url:
        # HAPI repeats a search from its cache for a minute.
        answer = await http.get(url, headers={"Cache-Control": "no-cache", "Accept": "application/fhir+json"})
        answer.raise_for_status()
        page = answer.json()
        for entry in page.get("entry", ()):
            if entry["resource"]["resourceType"] == kind:
                yield entry["resource"]
        link = next((each["url"] for each in page.get("link", ()) if each["relation"] == "next"), None)
        url = _here(server, link) if link else None


def _here(server: str, link: str) -> str:
    parts = urlsplit(urljoin(f"{server}/", link))
    origin = urlsplit(server)
    return parts._replace(scheme=origin.scheme, netloc=origin.netloc).geturl()


def _client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=120, trust_env=False, headers={"Content-Type": "application/fhir+json"})


def _charged(charge: Resource) -> tuple[str, str]:
    return charge["subject"]["reference"], charge["code"]["coding"][0]["code"]


def _identifier(resource: Resource) -> str:
    return next((i["value"] for i in resource.get("identifier", ()) if i.get("system") == DRAFT), "")
