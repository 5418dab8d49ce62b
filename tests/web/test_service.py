"""What requests share in one worker, over the weeks that it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from delivery.charges import APPROVED, with_content

from bhi_fhir.jobs.desk import Desk
from bhi_fhir.web.pool import Pool
from bhi_fhir.web.service import Service

pytestmark = pytest.mark.server

FIRST = datetime(2026, 4, 2, 18, tzinfo=UTC)


@dataclass
class _Running(Service):
    at: datetime = FIRST

    def now(self) -> datetime:
        return self.at


async def test_what_is_sent_is_dated_when_it_is_sent_however_long_the_service_runs(
    fhir_server: str, tmp_path: Path
) -> None:
    (tmp_path / "site.toml").write_text(
        'name = "Weeks"\ntime_zone = "America/Chicago"\n[delivery]\nsink = "dft"\n'
        f'[delivery.dft]\nfolder = "messages"\npatient_identifier_system = ""\n[fhir]\nbase_url = "{fhir_server}"\n'
    )
    patient = {"resourceType": "Patient", "id": str(uuid4()), "name": [{"family": "Rivera"}]}
    httpx.put(f"{fhir_server}/Patient/{patient['id']}", json=patient).raise_for_status()
    charge = with_content(APPROVED, subject={"reference": f"Patient/{patient['id']}"}, performer=[])
    service = _Running(Desk.open(tmp_path, "2026-03"), Pool(1, 1))
    sent = []
    for revision in (1, 2):
        office = await service.office_for(service.desk)
        (receipt,) = await office.delivery.sinks[0].create([replace(charge, revision=revision)])
        sent.append((tmp_path / "messages" / f"{receipt.reference}.hl7").read_text())
        service.at += timedelta(days=30)
    await service.close()
    assert [message.partition("EVN|P03|")[2][:8] for message in sent] == ["20260402", "20260502"]
