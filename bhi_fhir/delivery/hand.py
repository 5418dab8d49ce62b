"""The hand that writes: one patient's month, step by step, each written down before and after it is sent.

What is to be taken back goes first; while something stands that should not, nothing new is created beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from bhi_fhir.audit import Item, PatientAudit, Person
from bhi_fhir.delivery.delivered import Delivered, Outcome
from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.line import APPROVED, WITHDRAWN, Draft, Line, Receipt, State
from bhi_fhir.delivery.reconcile import Step, reconcile
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.delivery.writer import Lock
from bhi_fhir.drafts.identity import SYSTEM

_DROPS = frozenset({403, 404, 405, 422})
"""A refusal that means this door: the next one is tried."""


@dataclass(frozen=True)
class Wanted:
    """What one patient's month should look like at the destination.

    `drafts` may be created; `standing` is what the record supports when our own drafts that a person has moved
    on are left out of it: what they are compared with. `whole`: nothing of the record was withheld. `blocked`:
    why nothing may be created, whatever is wanted.
    """

    patient: str
    month: str
    drafts: Sequence[Draft] = ()
    standing: Sequence[Draft] = ()
    evidence: Sequence[str] = ()
    whole: bool = True
    blocked: str = ""


@runtime_checkable
class Witnessing(Protocol):
    """A sink that can also be told who made its drafts."""

    async def witness(self, lines: Sequence[Line], evidence: Iterable[str]) -> str: ...


@dataclass(frozen=True)
class Delivery:
    """A site's ledger and its sinks, in the order in which they are tried."""

    ledger: Ledger
    sinks: Sequence[Sink]

    def sink_of(self, line: Line) -> Sink | None:
        """The door by which the line went; one that went nowhere yet has the first that takes it."""
        if line.sink and line.state != "prepared":
            return next((sink for sink in self.sinks if sink.name == line.sink), None)
        return next((sink for sink in self.sinks if sink.takes(line.draft)), None)


@dataclass
class Hand:
    """The writing of one patient's month. The lock is ours; `before` is the ledger as it was found."""

    delivery: Delivery
    wanted: Wanted
    audit: PatientAudit
    lock: Lock
    before: Mapping[str, Line]
    done: list[Delivered] = field(default_factory=list)

    async def over(self, steps: Sequence[Step]) -> list[Delivered]:
        stuck = [not await self._withdraw(step) for step in steps if step.action == "withdraw"]
        for step in steps:
            if step.action == "update" or (step.action == "redo" and step.line.replaces):
                await self._update(step)
            elif step.action in ("keep", "rest", "hold", "leave"):
                await self._note(step)
        creating = [step for step in steps if step.action in ("create", "redo") and not step.line.replaces]
        blocked = self.wanted.blocked
        if any(stuck) or any(_in_the_way(step, self.wanted) for step in steps):
            blocked = blocked or "another draft of this month must be taken back first"
        if blocked:
            for step in creating:
                self._say(step.line, "held", blocked)
        else:
            await self._create(creating)
        await self._witness()
        order = {step.line.identifier: number for number, step in enumerate(steps)}
        return sorted(self.done, key=lambda said: order[said.identifier])

    # -- one action each ----------------------------------------------------------------------------

    async def _note(self, step: Step) -> None:
        line = step.line
        await self._remember([line])
        if step.action == "leave":
            self._say(line, "unknown" if line.unanswered else "left-alone", step.because)
        elif step.action == "hold":
            self._say(line, "held", step.because)
        elif step.action == "keep":
            self._say(line, "approved" if line.approved_by else "unchanged")

    async def _withdraw(self, step: Step) -> bool:
        kind = step.line.draft.resource_type
        taken_back = replace(step.line.draft, content={**step.line.content, "status": WITHDRAWN[kind]})
        receipt = await self._change(step.line, taken_back)
        if receipt.outcome in ("confirmed", "sent"):
            await self._close(step.line, taken_back, receipt, "withdrawn", "the record no longer supports it")
            self._say(step.line, "withdrawn", "the record no longer supports it")
            return True
        await self._failed(step.line, taken_back, receipt)
        return False

    async def _update(self, step: Step) -> None:
        receipt = await self._change(step.line, step.line.draft)
        if receipt.outcome in ("confirmed", "sent"):
            state: State = "confirmed" if receipt.outcome == "confirmed" else "sent"
            await self._close(step.line, step.line.draft, receipt, state, "")
            self._say(step.line, "updated")
        else:
            await self._failed(step.line, step.line.draft, receipt)

    async def _change(self, line: Line, draft: Draft) -> Receipt:
        sink = self.delivery.sink_of(line)
        assert sink is not None, line.sink
        if not self.lock.sure():
            return _UNLOCKED
        self.audit.announce("update", [_item(line)])
        # What was handed over is what a credit repeats.
        before = line.replaces or self._was(line).draft
        sending = replace(line, draft=draft, replaces=before, state="sending", revision=_revision(line))
        await self._remember([sending])
        receipt = await sink.change(replace(sending, draft=before), draft)
        self.audit.written("update", _item(line), _status(receipt))
        return receipt

    def _was(self, line: Line) -> Line:
        """The line as the ledger had it before this run; one that it did not have was only prepared."""
        return self.before.get(line.identifier) or replace(line, state="prepared", sink="")

    async def _create(self, steps: Sequence[Step]) -> None:
        """Through the first door that takes them; what it refuses goes to the next."""
        waiting = [step.line for step in steps]
        refused: dict[str, str] = {}
        for sink in self.delivery.sinks:
            mine = [line for line in waiting if sink.takes(line.draft) and line.sink in ("", sink.name)]
            ready = [line for line in mine if sink.drafts or line.approved_by]
            for line in mine:
                if line not in ready:
                    await self._wait(line, sink)
            waiting = [line for line in waiting if line not in mine]
            for line, receipt in await self._send(sink, ready):
                if receipt.outcome == "refused" and receipt.status in _DROPS:
                    refused[line.identifier] = f"{sink.name}: {receipt.reason}"
                    waiting.append(replace(line, sink=""))
                else:
                    await self._created(line, receipt, refused.get(line.identifier, ""))
        for line in waiting:
            because = refused.get(line.identifier) or "no destination of this site takes it"
            await self._remember([replace(line, state="prepared", reason=because)])
            self._say(line, "refused", because)

    async def _send(self, sink: Sink, lines: Sequence[Line]) -> list[tuple[Line, Receipt]]:
        if not lines:
            return []
        sending = [replace(line, state="sending", sink=sink.name, revision=_revision(line)) for line in lines]
        if not self.lock.sure():
            return [(line, _UNLOCKED) for line in sending]
        self.audit.announce("create", [_item(line) for line in sending])
        await self._remember(sending)
        receipts = await sink.create(sending)
        for line, receipt in zip(sending, receipts, strict=True):
            self.audit.written("create", _item(replace(line, reference=receipt.reference)), _status(receipt))
        return list(zip(sending, receipts, strict=True))

    async def _created(self, line: Line, receipt: Receipt, dropped: str) -> None:
        if receipt.outcome not in ("confirmed", "sent"):
            await self._failed(line, line.draft, receipt)
            return
        if receipt.existed:
            await self._found(line)
            return
        state: State = "confirmed" if receipt.outcome == "confirmed" else "sent"
        reason = "; ".join(filter(None, (receipt.reason, dropped)))
        await self._close(line, line.draft, receipt, state, reason)
        self._say(replace(line, reference=receipt.reference), "created", reason)

    async def _found(self, line: Line) -> None:
        """It was there already: an earlier send of ours that arrived late, or another ledger's. Looked at anew."""
        sink = self.delivery.sink_of(line)
        assert sink is not None, line.sink
        seen = await sink.look(line)
        step = reconcile(line, line.draft, seen, whole=True, keyed=sink.keyed, age_s=0.0)
        if step.action in ("keep", "leave"):
            await self._note(step)
        else:
            await self._failed(line, line.draft, Receipt("unknown", reason="the destination does not show it yet"))

    async def _wait(self, line: Line, sink: Sink) -> None:
        await self._remember([replace(line, state="prepared", sink=sink.name)])
        self._say(line, "waiting", f"{sink.name} takes only what a named person has approved")

    async def _failed(self, line: Line, draft: Draft, receipt: Receipt) -> None:
        """Written down as what it is; the next run looks first, and tries what certainly did not happen again."""
        outcome: Outcome = "refused"
        if receipt.outcome in ("unsent", "refused"):
            kept = replace(self._was(line), revision=_revision(line), reason=receipt.reason)
        else:
            outcome = "unknown" if receipt.outcome == "unknown" else "left-alone"
            # A create that lost against another writer's: the next look finds the other's, or nothing.
            state: State = "conflict" if receipt.outcome == "conflict" and line.reference else "unknown"
            kept = replace(line, draft=draft, state=state, reason=receipt.reason)
        await self._remember([kept])
        self._say(line, outcome, receipt.reason)

    async def _close(self, line: Line, draft: Draft, receipt: Receipt, state: State, reason: str) -> None:
        closed = replace(
            line,
            draft=draft,
            replaces=None,
            state=state,
            reference=receipt.reference or line.reference,
            version=receipt.version,
            revision=_revision(line),
            reason=reason,
        )
        await self._remember([closed])

    # -- approval ------------------------------------------------------------------------------------

    async def release(self, steps: Sequence[Step], by: Person) -> list[Delivered]:
        """Approve what stands as we left it, or waits for this; all else is reported and not touched."""
        for step in steps:
            if step.action == "keep" and not step.line.approved_by and step.line.sink != "worklist":
                await self._approve_standing(step.line, by)
            elif step.action == "create":
                await self._approve_waiting(step.line, by)
            elif step.line.approved_by:
                self._say(step.line, "approved")
            else:
                self._say(step.line, "left-alone", step.because or "it must be written first: run sync --write")
        return self.done

    def _approved(self, line: Line, by: Person) -> Line:
        kind = line.draft.resource_type
        draft = replace(line.draft, content={**line.content, "status": APPROVED[kind]})
        return replace(line, draft=draft, approved_by=by.name, approved_at=self.delivery.ledger.now())

    async def _approve_standing(self, line: Line, by: Person) -> None:
        released = self._approved(line, by)
        self.audit.approved(by, [_item(line)])
        receipt = await self._change(released, released.draft)
        if receipt.outcome in ("confirmed", "sent"):
            await self._close(released, released.draft, receipt, "confirmed", "")
            self._say(released, "approved")
        else:
            await self._failed(released, released.draft, receipt)

    async def _approve_waiting(self, line: Line, by: Person) -> None:
        """Written down first: who approved is known also of a send that is cut off."""
        released = self._approved(line, by)
        self.audit.approved(by, [_item(line)])
        await self._remember([replace(released, state="prepared")])
        self.before = {**self.before, line.identifier: replace(released, state="prepared")}
        await self._create([Step("create", released)])

    # -- afterwards ---------------------------------------------------------------------------------

    async def _witness(self) -> None:
        """Provenance for what was created, also by a run that was cut off before it could write it."""
        known = await asyncio.to_thread(self.delivery.ledger.lines, self.wanted.patient, self.wanted.month)
        for sink in self.delivery.sinks:
            unseen = [n for n in known if n.sink == sink.name and n.state == "confirmed" and not n.witnessed]
            if not unseen or not isinstance(sink, Witnessing):
                continue
            doubt = await sink.witness(unseen, self.wanted.evidence)
            if doubt:
                self.done = [_doubted(said, doubt) for said in self.done]
            else:
                await self._remember([replace(line, witnessed=True) for line in unseen])

    async def _remember(self, lines: Sequence[Line]) -> None:
        await asyncio.to_thread(self.delivery.ledger.put, self.wanted.patient, lines)

    def _say(self, line: Line, outcome: Outcome, reason: str = "") -> None:
        self.done.append(delivered(line, outcome, reason))


def delivered(line: Line, outcome: Outcome, reason: str = "") -> Delivered:
    return Delivered(
        resource_type=line.draft.resource_type,
        identifier=line.identifier,
        outcome=outcome,
        reference=line.reference or None,
        reason=reason,
        code=line.draft.code,
        month=line.month,
        sink=line.sink,
    )


_UNLOCKED = Receipt("unsent", reason="the ledger's database has let go of the lock: nothing was sent")


def _in_the_way(step: Step, wanted: Wanted) -> bool:
    """Something that is no longer wanted and stands, or may: a new draft beside it could be a second charge."""
    if step.action not in ("leave", "hold") or step.line.draft.resource_type != "ChargeItem":
        return False
    return step.line.identifier not in {draft.identifier for draft in wanted.drafts}


def _doubted(said: Delivered, doubt: str) -> Delivered:
    return replace(said, reason=said.reason or doubt) if said.outcome == "created" else said


def _revision(line: Line) -> int:
    """A send that was not answered keeps its number: a receiver that knows it takes it for the same one."""
    return line.revision if line.unanswered else line.revision + 1


def _item(line: Line) -> Item:
    return Item(line.draft.resource_type, f"{SYSTEM}|{line.identifier}", line.reference)


def _status(receipt: Receipt) -> int | None:
    """For the audit: what an HTTP answer would have said."""
    return {"confirmed": 200, "sent": 202, "conflict": 409, "refused": receipt.status or 400, "unsent": 503}.get(
        receipt.outcome
    )
