"""Which destinations a site has, in the order in which they are tried.

`sink = "auto"`: the FHIR server itself where its /metadata takes charges, Oracle's operations where they are
offered, then what site.toml names: the DFT interface, the folder. The work list is always last: what no
destination takes goes to people.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Literal

from bhi_fhir.delivery.dft import DftSink, MessageFolder, Transport
from bhi_fhir.delivery.dft_message import Interface
from bhi_fhir.delivery.fhir_sink import FhirSink
from bhi_fhir.delivery.files_sink import FilesSink
from bhi_fhir.delivery.identifying import identifying
from bhi_fhir.delivery.mllp import Mllp
from bhi_fhir.delivery.oracle_sink import OracleSink
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.delivery.work_list import WorkList
from bhi_fhir.drafts.site import DraftSite
from bhi_fhir.errors import SiteError
from bhi_fhir.fhir.capabilities import Capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.settings import Delivery, Dft

SinkName = Literal["fhir", "oracle", "dft", "files", "worklist"]


def doors(
    wanted: Delivery,
    folder: Path,
    client: BhiClient,
    served: Capabilities,
    site: DraftSite,
    clock: Callable[[], datetime],
) -> list[Sink]:
    """The sinks of a site; paths are relative to `folder`. `clock` tells now in the site's zone.

    SiteError where a sink that is asked for lacks what it needs.
    """
    made: dict[SinkName, Callable[[], Sink]] = {
        "fhir": lambda: FhirSink(client, served, site, clock),
        "oracle": lambda: OracleSink(client, wanted.oracle.schedules),
        "dft": lambda: _dft(wanted.dft, folder, client, clock),
        "files": lambda: _files(wanted.folder, folder),
        "worklist": WorkList,
    }
    names: list[SinkName] = _offered(wanted, served) if wanted.sink == "auto" else [wanted.sink]
    return [made[name]() for name in dict.fromkeys((*names, "worklist"))]


def _offered(wanted: Delivery, served: Capabilities) -> list[SinkName]:
    found: list[SinkName] = []
    if not served.types or served.can("ChargeItem", "create"):
        found.append("fhir")
    if "create" in served.operations("ChargeItem"):
        found.append("oracle")
    if wanted.dft.host or wanted.dft.folder:
        found.append("dft")
    if wanted.folder:
        found.append("files")
    return found


def _dft(wanted: Dft, folder: Path, client: BhiClient, clock: Callable[[], datetime]) -> Sink:
    if bool(wanted.host) == bool(wanted.folder):
        raise SiteError("[delivery.dft] give host (and port) of the listener, or folder for message files.")
    transport: Transport
    if wanted.host:
        transport = Mllp(wanted.host, wanted.port, float(wanted.timeout_s), _tls(wanted, folder))
    else:
        transport = MessageFolder(folder / wanted.folder)
    interface = Interface(
        sending_application=wanted.sending_application,
        sending_facility=wanted.sending_facility,
        receiving_application=wanted.receiving_application,
        receiving_facility=wanted.receiving_facility,
        version=wanted.version,
        processing_id=wanted.processing_id,
        patient_identifier_system=wanted.patient_identifier_system,
    )
    review = bool(wanted.review_queue)
    return DftSink(transport, interface, identifying(client), clock, review=review, replays=wanted.replays)


def _tls(wanted: Dft, folder: Path) -> ssl.SSLContext | None:
    if not wanted.ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=str(folder / wanted.ca_file))
    except OSError as error:  # ssl.SSLError is one too
        raise SiteError(f"[delivery.dft] ca_file cannot be used ({error.strerror or error.args[0]}).") from None


def _files(wanted: str, folder: Path) -> Sink:
    if not wanted:
        raise SiteError('[delivery] folder is missing: sink = "files" writes into it.')
    return FilesSink(folder / wanted)
