"""Drafts to a FHIR server: searched for by identifier, then created in one transaction with ifNoneExist.

Exactly once: a run that was cut off is run again and finds what it wrote. What is there already is never
overwritten. A draft that somebody deleted cannot be told from one that never was: that takes the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from fhir.resources.R4B.chargeitem import ChargeItem
from fhir.resources.R4B.claim import Claim
from fhir.resources.R4B.meta import Meta
from fhir.resources.R4B.provenance import Provenance

from bhi_fhir.delivery.delivered import Delivered, Outcome
from bhi_fhir.drafts import DraftSite, PatientDrafts, provenance
from bhi_fhir.errors import Conflict, ServerError
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import find_by_identifier
from bhi_fhir.fhir.writing import EntryAnswer, transact

Draft = ChargeItem | Claim

_NOT_COMPARED = frozenset({"id", "meta", "text", "created"})
"""What the server writes itself, and the day of the run."""


async def deliver(client: BhiClient, drafts: PatientDrafts, site: DraftSite, recorded: datetime) -> list[Delivered]:
    """One patient's drafts; what became of each, in the order of `drafts.resources`.

    `recorded` is now, for the Provenance. Raises ServerError if the server cannot be reached or refuses
    everything; running again is then safe.
    """
    known = [await _known(client, draft) for draft in drafts.resources]
    missing = [draft for draft, found in zip(drafts.resources, known, strict=True) if found is None]
    made = iter(await _create(client, missing, drafts.evidence, site, recorded))
    return [found or next(made) for found in known]


async def _known(client: BhiClient, draft: Draft) -> Delivered | None:
    """What to say of a draft that the server already holds; None if it does not."""
    system, value = _identifier(draft)
    found = await find_by_identifier(client, draft.get_resource_type(), system, value)
    if not found:
        return None
    if len(found) > 1:
        return _left_alone(draft, None, f"{len(found)} resources on the server carry its identifier")
    return _judged(draft, found[0])


def _judged(draft: Draft, body: bytes) -> Delivered:
    reference = f"{draft.get_resource_type()}/{json.loads(body).get('id')}"
    try:
        there = type(draft).model_validate_json(body)
    except (ValueError, KeyError):  # KeyError: a contained resource of a type that R4B does not know
        return _left_alone(draft, reference, "what the server holds is no valid R4")
    if there.status != draft.status:
        return _left_alone(draft, reference, f"somebody has moved it on to {there.status}")
    if differing := _differences(draft, there):
        return _left_alone(draft, reference, f"the server's differs in {', '.join(differing)}")
    return _report(draft, "unchanged", reference)


def _differences(draft: Draft, there: Draft) -> list[str]:
    """The elements that differ; equal instants and numbers may be spelled differently."""
    names = sorted(set(type(draft).model_fields) - _NOT_COMPARED)
    differing = [name for name in names if getattr(draft, name) != getattr(there, name)]
    # The server may add labels, and must not have lost one.
    return differing if _labels(draft.meta) <= _labels(there.meta) else ["meta.security", *differing]


def _labels(meta: Meta | None) -> set[tuple[str | None, str | None]]:
    return {(label.system, label.code) for label in (meta and meta.security) or ()}


async def _create(
    client: BhiClient, missing: Sequence[Draft], evidence: Sequence[str], site: DraftSite, recorded: datetime
) -> list[Delivered]:
    if not missing:
        return []
    try:
        answers = await transact(client, _transaction([_conditional_entry(draft) for draft in missing]))
    except Conflict as conflict:
        return [_left_alone(draft, None, str(conflict)) for draft in missing]
    written = [
        (_versioned(answer), draft)
        for draft, answer in zip(missing, answers, strict=True)
        if answer.status == 201 and answer.reference
    ]
    doubt = await _attest(client, provenance(written, evidence, recorded, site)) if written else ""
    return [await _after(client, draft, answer, doubt) for draft, answer in zip(missing, answers, strict=True)]


async def _after(client: BhiClient, draft: Draft, answer: EntryAnswer, doubt: str) -> Delivered:
    if isinstance(answer.problem, Conflict):
        return _left_alone(draft, answer.reference, str(answer.problem))
    if answer.problem:
        return replace(_report(draft, "refused", None), reason=str(answer.problem))
    if answer.status == 201:
        return replace(_report(draft, "created", answer.reference), reason=doubt)
    # Another run wrote it between our search and our transaction.
    return await _known(client, draft) or _left_alone(draft, answer.reference, "the server does not show it")


async def _attest(client: BhiClient, made: Provenance) -> str:
    """Writes the Provenance in a request of its own: only now it is known what was written.

    Returns what went wrong: the drafts stand, and a server may well take charges and no Provenance (Epic).
    """
    request = {"method": "POST", "url": "Provenance"}
    try:
        (answer,) = await transact(client, _transaction([{"resource": _plain(made), "request": request}]))
    except ServerError as error:
        return f"Its Provenance was not written: {error}"
    return f"Its Provenance was not written: {answer.problem}" if answer.problem else ""


def _transaction(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _conditional_entry(draft: Draft) -> dict[str, Any]:
    system, value = _identifier(draft)
    condition = urlencode({"identifier": f"{system}|{value}"})
    request = {"method": "POST", "url": draft.get_resource_type(), "ifNoneExist": condition}
    return {"fullUrl": f"urn:uuid:{value}", "resource": _plain(draft), "request": request}


def _plain(resource: Draft | Provenance) -> Any:
    return json.loads(resource.model_dump_json())


def _identifier(draft: Draft) -> tuple[str, str]:
    own = (draft.identifier or [])[0]
    return own.system or "", own.value or ""


def _versioned(answer: EntryAnswer) -> str:
    return f"{answer.reference}/_history/{answer.version}" if answer.version else str(answer.reference)


def _report(draft: Draft, outcome: Outcome, reference: str | None) -> Delivered:
    return Delivered(draft.get_resource_type(), _identifier(draft)[1], outcome, reference)


def _left_alone(draft: Draft, reference: str | None, reason: str) -> Delivered:
    return replace(_report(draft, "left-alone", reference), reason=f"Left alone: {reason.rstrip('.')}.")
