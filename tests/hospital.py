"""A hospital for one test: example patients under their own ids on a real FHIR server; people change things there."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from make_examples import FOLDER, MONTH

from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.sync import Report, sync

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
_SHARED = {"Practitioner", "PractitionerRole", "Organization"}
Resource = dict[str, Any]


@dataclass
class Hospital:
    """`folder` is the site; resources keep their names, with a mark of this test behind them."""

    base_url: str
    folder: Path
    extra: str = ""
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:8])
    patients: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.configure(self.extra)

    def configure(self, extra: str = "") -> None:
        (self.folder / "site.toml").write_text(
            f'name = "Test {self.mark}"\ntime_zone = "America/Chicago"\n{extra}\n'
            f'[roster]\nfrom = "file:{self.folder / "roster.txt"}"\n[fhir]\nbase_url = "{self.base_url}"\n'
        )

    def admit(self, stem: str, change: Callable[[Resource], object] = lambda resource: None) -> str:
        """Load an example; `change` may alter each resource. The patient's reference."""
        bundle = json.loads((FOLDER / f"{stem}.json").read_text())
        own = {f"{r['resourceType']}/{r['id']}" for r in (e["resource"] for e in bundle["entry"])}
        text = json.dumps([e["resource"] for e in bundle["entry"]])
        for reference in sorted(own, key=len, reverse=True):
            text = text.replace(f'"{reference}"', f'"{reference}-{self.mark}"')
        patient = ""
        entries = []
        for resource in json.loads(text):
            resource["id"] += f"-{self.mark}"
            change(resource)
            url = f"{resource['resourceType']}/{resource['id']}"
            entries.append({"resource": resource, "request": {"method": "PUT", "url": url}})
            patient = url if resource["resourceType"] == "Patient" else patient
        # At once: HAPI wants what is referred to to be there.
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
        httpx.post(self.base_url, json=bundle, timeout=60).raise_for_status()
        self.patients.append(patient)
        (self.folder / "roster.txt").write_text("\n".join(self.patients))
        return patient

    # -- what people do -----------------------------------------------------------------------------

    def put(self, resource: Resource) -> None:
        answer = httpx.put(f"{self.base_url}/{resource['resourceType']}/{resource['id']}", json=resource, timeout=30)
        answer.raise_for_status()

    def get(self, reference: str) -> Resource:
        answer = httpx.get(f"{self.base_url}/{reference}", headers={"Cache-Control": "no-cache"}, timeout=30)
        answer.raise_for_status()
        found: Resource = answer.json()
        return found

    def change(self, reference: str, **values: Any) -> None:
        """Somebody edits a resource; None takes an element away."""
        resource = {**self.get(reference), **values}
        self.put({name: value for name, value in resource.items() if value is not None})

    def own(self, reference: str) -> str:
        """`Encounter/maria-work-1` as it is called here."""
        return f"{reference}-{self.mark}"

    def lasts(self, reference: str, minutes: int) -> None:
        """Somebody corrects how long an encounter took: the period goes, a length stays."""
        start = self.get(self.own(reference))["period"]["start"]
        length = {"value": minutes, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
        self.change(self.own(reference), length=length, period={"start": start})

    def delete(self, reference: str) -> None:
        """With what refers to it: HAPI keeps what is still referred to."""
        for each in self.all("Provenance"):
            if any(t["reference"].split("/_history")[0] == reference for t in each["target"]):
                httpx.delete(f"{self.base_url}/Provenance/{each['id']}", timeout=30).raise_for_status()
        httpx.delete(f"{self.base_url}/{reference}", timeout=30).raise_for_status()

    # -- what stands there --------------------------------------------------------------------------

    def drafts(self, kind: str = "ChargeItem") -> dict[str, Resource]:
        """Our drafts of these patients, as the server has them: code (of a Claim: the patient) to resource."""
        found: dict[str, Resource] = {}
        for each in self.all(kind):
            mine = (each.get("subject") or each.get("patient") or {}).get("reference")
            if mine in self.patients:
                name = each["code"]["coding"][0]["code"] if kind == "ChargeItem" else mine
                assert name not in found or len(self.patients) > 1, f"{name} stands twice"
                found[name] = each
        return found

    def all(self, kind: str) -> list[Resource]:
        found: list[Resource] = []
        url: str | None = f"{self.base_url}/{kind}?_count=200"
        while url:
            answer = httpx.get(url, headers={"Cache-Control": "no-cache"}, timeout=30)
            page = answer.raise_for_status().json()
            found += [e["resource"] for e in page.get("entry", ())]
            url = next((link["url"] for link in page.get("link", ()) if link["relation"] == "next"), None)
        return found

    # -- the program --------------------------------------------------------------------------------

    def sync(self, *, write: bool = True, month: str = MONTH, now: datetime = NOW, afresh: bool = False) -> Report:
        desk = Desk.open(self.folder, month)
        job = sync(desk, write=write, now=now, progress=lambda now: None, started=lambda roster: None, afresh=afresh)
        return asyncio.run(job)

    def outcomes(self, report: Report) -> dict[str, str]:
        """What became of the charges of the only patient: code to outcome."""
        (month,) = report.months()
        assert not month.failed, month.failed
        return {d.code: d.outcome for d in month.delivered if d.resource_type == "ChargeItem"}
