"""What named persons vouch for: kept in the ledger, and gone as soon as the record that it rests on changes."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from bhi_fhir.audit import PatientAudit, Person
from bhi_fhir.delivery.ledger import Attested, Ledger
from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Attestation, Chart
from bhi_fhir.domain.value import replace
from bhi_fhir.errors import Incomplete, Refused, UsageError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import read
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import Office
from bhi_fhir.views.common import UNREADABLE

_PATIENT = re.compile(r"Patient/[A-Za-z0-9.-]{1,64}")
_REFERENCE = re.compile(r"[A-Z][A-Za-z]{2,39}/[A-Za-z0-9.-]{1,64}")


async def basis(client: BhiClient, decision: Decision, requirement: str, reference: str) -> str:
    """A digest of what an attestation rests on: what the record says of the requirement, and what it refers to.

    `decision` was made without attestations. UsageError if the requirement is not one for review in this
    month, or if `reference` names a resource that the server does not have, or another patient's.
    """
    found = [
        (candidate.code, finding.outcome, finding.because, finding.evidence)
        for candidate in decision.candidates
        for finding in candidate.findings
        if finding.requirement == requirement and finding.level == "review"
    ]
    if not found:
        asked = {f.requirement for c in decision.candidates for f in c.findings if f.level == "review" and f.open}
        named = ", ".join(sorted(asked)) or "nothing"
        raise UsageError(f"{requirement} is no review requirement of this month; open for review: {named}.")
    digest = hashlib.sha256(msgspec.json.encode(found))
    if _REFERENCE.fullmatch(reference):
        digest.update(await _content(client, reference, decision.patient))
    return digest.hexdigest()


async def _content(client: BhiClient, reference: str, patient: str) -> bytes:
    """The resource without what every touch of the server changes."""
    try:
        resource = msgspec.json.decode(await read(client, reference), type=dict[str, Any])
    except UNREADABLE:
        raise Incomplete("What the server gave for the reference cannot be read.") from None
    except Refused as refused:
        raise UsageError(f"The reference cannot be read on the server ({refused.status}).") from None
    if _patient_of(resource) not in ("", patient):
        raise UsageError("The reference is not this patient's.")
    resource.pop("meta", None)
    return msgspec.json.encode(resource, order="sorted")


def _patient_of(resource: dict[str, Any]) -> str:
    """Whose it is, as "Patient/id"; "" for what is nobody's, or says it in another way."""
    if resource.get("resourceType") == "Patient":
        return f"Patient/{resource.get('id')}"
    said = [resource[name] for name in ("subject", "patient") if isinstance(resource.get(name), dict)]
    found = _PATIENT.search(str(said[0].get("reference", ""))) if said else None
    return found[0] if found else ""


async def attest(
    office: Office,
    audit: PatientAudit,
    by: Person,
    decision: Decision,
    requirement: str,
    because: str,
    reference: str,
) -> None:
    """A named person vouches for it: audited, then kept. `decision` and UsageError as for `basis`."""
    rests_on = await basis(office.client, decision, requirement, reference)
    desk = office.desk
    day = office.now.astimezone(desk.site.zone).date()
    said = Attestation(requirement, by.name, day, because, reference)
    await office.to_thread(audit.attested, by, requirement, because)
    await office.to_thread(office.ledger.attest, decision.patient, str(desk.month), said, rests_on)


async def still_attested(
    client: BhiClient, ledger: Ledger, decision: Decision, attested: Sequence[Attested]
) -> tuple[tuple[Attestation, ...], tuple[str, ...]]:
    """What holds still, and one sentence for each that has lapsed; those are written down as lapsed."""
    holding, lapsed = [], []
    for each in attested:
        said = each.attestation
        try:
            now = await basis(client, decision, said.requirement, said.reference)
        except UsageError:
            now = ""
        if now == each.basis:
            holding.append(said)
        else:
            await asyncio.to_thread(ledger.lapse, each.id, "the record that it rests on has changed")
            lapsed.append(f"the attestation of {said.requirement} by {said.by} lapsed: the record has changed")
    return tuple(holding), tuple(lapsed)


def with_attestations(
    desk: Desk, chart: Chart, holding: tuple[Attestation, ...], lapsed: tuple[str, ...]
) -> tuple[Decision, Chart]:
    """The month decided again with what is vouched for."""
    vouched = replace(chart, attested=holding, warnings=chart.warnings + lapsed)
    return desk.decide_chart(vouched), vouched
