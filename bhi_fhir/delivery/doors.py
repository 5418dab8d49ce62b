"""Which destinations a site has, in the order in which they are tried."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from bhi_fhir.delivery.fhir_sink import FhirSink
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.drafts import DraftSite
from bhi_fhir.fhir.capabilities import Capabilities
from bhi_fhir.fhir.client import BhiClient


def doors(folder: Path, client: BhiClient, served: Capabilities, site: DraftSite, recorded: datetime) -> list[Sink]:
    return [FhirSink(client, served, site, recorded)]
