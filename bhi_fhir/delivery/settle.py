"""One patient's month brought into line with what is wanted: look, decide line by line, hand over, write down.

Exactly once, whatever fails and whenever: under the one writer's lock (writer.py), each line is written down as
`sending` before it is sent, and looked for before it is sent again (reconcile.py, hand.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from bhi_fhir.audit import PatientAudit, Person
from bhi_fhir.delivery.delivered import Delivered, Outcome
from bhi_fhir.delivery.hand import Delivery, Hand, Wanted, delivered
from bhi_fhir.delivery.line import Content, Draft, Line, Seen, Standing
from bhi_fhir.delivery.reconcile import Step, reconcile
from bhi_fhir.delivery.writer import writing


async def settle(delivery: Delivery, wanted: Wanted, audit: PatientAudit) -> list[Delivered]:
    """Every line of the patient's month, written and reported.

    Raises ServerError where a destination cannot be looked into, SiteError where the ledger or the audit fails.
    """
    async with writing(delivery.ledger.engine, _key(delivery, wanted.patient, wanted.month)) as lock:
        known = await _known(delivery, wanted.patient, wanted.month)
        steps = await _steps(delivery, wanted, known)
        before = {line.identifier: line for line in known}
        return await Hand(delivery, wanted, audit, lock, before).over(steps)


async def foresee(delivery: Delivery, wanted: Wanted) -> list[Delivered]:
    """What `settle` would do now; nothing is sent and nothing is written down."""
    known = await _known(delivery, wanted.patient, wanted.month)
    return [_foreseen(step) for step in await _steps(delivery, wanted, known) if step.action != "rest"]


async def release(
    delivery: Delivery, patient: str, month: str, identifiers: Sequence[str], by: Person, audit: PatientAudit
) -> list[Delivered]:
    """A named person approves lines of a patient's month: charges become billable, Claims stay drafts.

    Only what stands as we left it can be approved; where the destination has no drafts, this is what sends it.
    """
    async with writing(delivery.ledger.engine, _key(delivery, patient, month)) as lock:
        known = [line for line in await _known(delivery, patient, month) if line.identifier in identifiers]
        steps = [await _step(delivery, line, line.draft, whole=True) for line in known]
        before = {line.identifier: line for line in known}
        hand = Hand(delivery, Wanted(patient, month, [line.draft for line in known]), audit, lock, before)
        return await hand.release(steps, by)


async def resolve(delivery: Delivery, patient: str, line: Line, *, arrived: bool) -> None:
    """A person has found out whether an unanswered send arrived."""
    state = replace(line, state="confirmed", reason="") if arrived else replace(line, state="prepared", reason="")
    async with writing(delivery.ledger.engine, _key(delivery, patient, line.month)):
        await asyncio.to_thread(delivery.ledger.put, patient, [state])


def _key(delivery: Delivery, patient: str, month: str) -> str:
    return f"{delivery.ledger.site}\n{delivery.ledger.key(patient)}\n{month}"


async def _known(delivery: Delivery, patient: str, month: str) -> list[Line]:
    return await asyncio.to_thread(delivery.ledger.lines, patient, month)


async def _steps(delivery: Delivery, wanted: Wanted, known: Sequence[Line]) -> list[Step]:
    new = {draft.identifier: draft for draft in wanted.drafts}
    compared = {draft.identifier: draft for draft in wanted.standing} | new
    lines = {line.identifier: line for line in known}
    for identifier, draft in new.items():
        lines.setdefault(identifier, Line(draft, wanted.month, "prepared"))
    return [await _step(delivery, line, compared.get(key), whole=wanted.whole) for key, line in lines.items()]


async def _step(delivery: Delivery, line: Line, draft: Draft | None, *, whole: bool) -> Step:
    sink = delivery.sink_of(line)
    if sink is None and line.sink:
        return Step("hold", line, f"it went by {line.sink}, which this site no longer names as a sink")
    if sink is None:
        return Step("hold", line, f"no destination of this site takes a {line.draft.resource_type}")
    seen = await sink.look(line)
    age = (delivery.ledger.now() - line.changed_at).total_seconds() if line.changed_at else 0.0
    step = reconcile(line, draft, seen, whole=whole, keyed=sink.keyed, age_s=age)
    if step.action == "update" and draft is not None:
        return replace(step, line=replace(step.line, draft=_with_labels(draft, seen)))
    return step


_FORESEEN: Mapping[str, Outcome] = {
    "create": "created",
    "redo": "created",
    "update": "updated",
    "withdraw": "withdrawn",
    "keep": "unchanged",
    "hold": "held",
    "leave": "left-alone",
}


def _foreseen(step: Step) -> Delivered:
    outcome = "approved" if step.action == "keep" and step.line.approved_by else _FORESEEN[step.action]
    return delivered(step.line, outcome, step.because if step.action != "keep" else "")


def _with_labels(draft: Draft, seen: Seen) -> Draft:
    """Labels that the server added stay on what we write."""
    if not isinstance(seen, Standing):
        return draft
    return replace(draft, content={**draft.content, "meta": _merged(draft.content, seen.content)})


def _merged(ours: Content, theirs: Content) -> Any:
    meta = dict(ours.get("meta") or {})
    mine = list(meta.get("security") or ())
    added = [label for label in (theirs.get("meta") or {}).get("security") or () if label not in mine]
    return {**meta, "security": [*mine, *added]} if mine or added else meta
