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
from bhi_fhir.delivery.hand import IN_THE_WAY, Delivery, Hand, Wanted, begins, delivered, in_the_way
from bhi_fhir.delivery.line import Content, Draft, Line, Seen, Standing
from bhi_fhir.delivery.reconcile import Step, never_arrived, reconcile, standing_state
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
    steps = await _steps(delivery, wanted, known)
    before = {line.identifier: line for line in known}
    held = dict.fromkeys(in_the_way(steps, wanted), wanted.blocked or IN_THE_WAY)
    return [_foreseen(delivery, step, before, held) for step in steps if step.action != "rest"]


async def release(
    delivery: Delivery, patient: str, month: str, identifiers: Sequence[str], by: Person, audit: PatientAudit
) -> list[Delivered]:
    """A named person approves lines of a patient's month: charges become billable, Claims stay drafts.

    Only what stands as we left it can be approved; where the destination has no drafts, this is what sends it.
    """
    async with writing(delivery.ledger.engine, _key(delivery, patient, month)) as lock:
        known = [line for line in await _known(delivery, patient, month) if line.identifier in identifiers]
        steps = [await _to_release(delivery, line) for line in known]
        before = {line.identifier: line for line in known}
        hand = Hand(delivery, Wanted(patient, month, [line.draft for line in known]), audit, lock, before)
        return await hand.release(steps, by)


async def _to_release(delivery: Delivery, line: Line) -> Step:
    if line.state == "withdrawn":  # by a sync, since the person looked
        return Step("leave", line, "it was taken back: the record did not support it")
    return await _step(delivery, line, line.replaces or line.draft, whole=True)


async def resolve(delivery: Delivery, patient: str, line: Line, *, arrived: bool) -> None:
    """A person has found out whether an unanswered send arrived. One that was answered meanwhile stays as it is."""
    async with writing(delivery.ledger.engine, _key(delivery, patient, line.month)):
        for now in await _known(delivery, patient, line.month):
            if now.identifier == line.identifier and now.unanswered:
                stands = replace(now, state=standing_state(now.draft), replaces=None, reason="")
                known = stands if arrived else never_arrived(now)
                await asyncio.to_thread(delivery.ledger.put, patient, [known])


def _key(delivery: Delivery, patient: str, month: str) -> str:
    return f"{delivery.ledger.site}\n{delivery.ledger.key(patient)}\n{month}"


async def _known(delivery: Delivery, patient: str, month: str) -> list[Line]:
    return await asyncio.to_thread(delivery.ledger.lines, patient, month)


async def _steps(delivery: Delivery, wanted: Wanted, known: Sequence[Line]) -> list[Step]:
    new = {draft.identifier: draft for draft in wanted.drafts}
    # A Claim goes on to hold the line that a person has released, though that now counts as charged.
    compared = new | {draft.identifier: draft for draft in wanted.standing}
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
    if not line.content and line.state not in ("prepared", "withdrawn"):
        return Step("leave", line, "what was handed over is no longer kept (keep_months): see to it by hand")
    seen = await sink.look(line)
    age = (delivery.ledger.now() - line.changed_at).total_seconds() if line.changed_at else 0.0
    step = reconcile(line, draft, seen, whole=whole, keyed=sink.keyed, age_s=age, zone=delivery.zone)
    if step.action == "update" and draft is not None:
        step = replace(step, line=replace(step.line, draft=_with_labels(draft, seen)))
    if isinstance(seen, Standing) and line.state == "prepared":
        # Another ledger's, or that of a run before this ledger, which has seen to its Provenance.
        step = replace(step, line=replace(step.line, sink=sink.name, witnessed=True))
    return step


_FORESEEN: Mapping[str, Outcome] = {
    "create": "created",
    "redo": "created",
    "update": "updated",
    "withdraw": "withdrawn",
    "hold": "held",
    "leave": "left-alone",
}


def _foreseen(delivery: Delivery, step: Step, before: Mapping[str, Line], held: Mapping[str, str]) -> Delivered:
    line = step.line
    if begins(step, before) and line.draft.resource_type in held:
        return delivered(line, "held", held[line.draft.resource_type])
    if step.action == "keep":
        return delivered(line, "approved" if line.approved_by else "unchanged")
    if step.action == "leave" and line.unanswered:
        return delivered(line, "unknown", step.because)
    if step.action == "redo" and line.replaces:
        return delivered(line, "withdrawn" if standing_state(line.draft) == "withdrawn" else "updated")
    if step.action == "create":
        free = delivery.free(line)
        ways = (sink for sink in delivery.sinks if sink.takes(line.draft) and free.sink in ("", sink.name))
        sink = next(ways, None)
        if sink is not None and not (sink.drafts or line.approved_by):
            return delivered(line, "waiting")
    return delivered(line, _FORESEEN[step.action], step.because)


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
