"""The hand that writes: one patient's month, step by step, each written down before and after it is sent.

What is to be taken back goes first; while something stands that should not, nothing new is created beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta, tzinfo
from typing import Protocol, runtime_checkable

from bhi_fhir.audit import Item, PatientAudit, Person
from bhi_fhir.delivery.delivered import Delivered, Outcome
from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.line import APPROVED, WITHDRAWN, Draft, Line, Receipt, State
from bhi_fhir.delivery.reconcile import ARRIVES, Step, reconcile, standing_state
from bhi_fhir.delivery.sink import Sink
from bhi_fhir.delivery.writer import Lock
from bhi_fhir.drafts.identity import SYSTEM

_DROPS = frozenset({403, 404, 405, 422})
"""A refusal that means this door: the next one is tried."""
IN_THE_WAY = "another draft of this month must be taken back first"
_UNSUPPORTED = "the record no longer supports it"


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
    """A site's ledger and its sinks, in the order in which they are tried. `zone`: the practice's."""

    ledger: Ledger
    sinks: Sequence[Sink]
    zone: tzinfo

    def sink_of(self, line: Line) -> Sink | None:
        """The door by which the line went; one that went nowhere yet has the first that takes it."""
        if line.sink and line.state != "prepared":
            return next((sink for sink in self.sinks if sink.name == line.sink), None)
        return next((sink for sink in self.sinks if sink.takes(line.draft)), None)

    def free(self, line: Line) -> Line:
        """A line that stands nowhere waits for no door that the site does not have any more."""
        return line if line.sink in {sink.name for sink in self.sinks} else replace(line, sink="")


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
        stuck = [step for step in steps if step.action == "withdraw" and not await self._withdraw(step.line)]
        held = in_the_way(steps, self.wanted) | _kinds(stuck)
        for step in steps:
            if begins(step, self.before) and step.line.draft.resource_type in held:
                self._say(step.line, "held", self.wanted.blocked or IN_THE_WAY)
            elif step.action == "update" or (step.action == "redo" and step.line.replaces):
                await self._replace(step.line, step.line.draft)
            elif step.action in ("keep", "rest", "hold", "leave"):
                await self._note(step)
        await self._create([step for step in steps if step.action == "redo" and not step.line.replaces])
        creating = [step for step in steps if step.action == "create"]
        await self._create([step for step in creating if step.line.draft.resource_type not in held])
        await self._witness()
        order = {step.line.identifier: number for number, step in enumerate(steps)}
        return sorted(self.done, key=lambda said: order[said.identifier])

    # -- one action each ----------------------------------------------------------------------------

    async def _note(self, step: Step) -> None:
        line = step.line
        # What did not change keeps its date: `since when` is what people and reconcile.py go by.
        if line != self.before.get(line.identifier):
            await self._remember([line])
        if step.action == "leave":
            self._say(line, "unknown" if line.unanswered else "left-alone", step.because)
        elif step.action == "hold":
            self._say(line, "held", step.because)
        elif step.action == "keep":
            self._say(line, "approved" if line.approved_by else "unchanged")

    async def _withdraw(self, line: Line) -> bool:
        status = WITHDRAWN[line.draft.resource_type]
        return await self._replace(line, replace(line.draft, content={**line.content, "status": status}))

    async def _replace(self, line: Line, draft: Draft) -> bool:
        """An update, or a withdrawal; whether it stands now."""
        sent, receipt = await self._change(line, draft)
        if receipt.outcome not in ("confirmed", "sent"):
            await self._failed(sent, receipt)
            return False
        if _taken_back(draft):
            await self._close(sent, receipt, "withdrawn", _UNSUPPORTED)
            self._say(sent, "withdrawn", _UNSUPPORTED)
        else:
            await self._close(sent, receipt, receipt.outcome, "")
            self._say(sent, "updated")
        return True

    async def _change(self, line: Line, draft: Draft) -> tuple[Line, Receipt]:
        """The line as it was written down before it was sent, and what became of it."""
        sink = self.delivery.sink_of(line)
        assert sink is not None, line.sink
        # What was handed over is what a credit repeats.
        before = line.replaces or self._was(line).draft
        sending = replace(line, draft=draft, replaces=before, state="sending", revision=_revision(line))
        if not self.lock.sure():
            return sending, _UNLOCKED
        self.audit.announce("update", [_item(line)])
        await self._remember([sending])
        receipt = await sink.change(replace(sending, draft=before), draft)
        self.audit.written("update", _item(line), _status(receipt))
        return sending, receipt

    def _was(self, line: Line) -> Line:
        """The line as the ledger had it before this run; one that it did not have was only prepared."""
        return self.before.get(line.identifier) or replace(line, state="prepared", sink="")

    async def _create(self, steps: Sequence[Step]) -> None:
        """Through the first door that takes them; what it refuses goes to the next."""
        waiting = [self.delivery.free(step.line) for step in steps]
        again = {step.line.identifier for step in steps if step.action == "redo" or self._may_arrive(step.line)}
        refused: dict[str, str] = {}
        for sink in self.delivery.sinks:
            mine = [line for line in waiting if sink.takes(line.draft) and line.sink in ("", sink.name)]
            ready = [line for line in mine if sink.drafts or line.approved_by]
            for line in mine:
                if line not in ready:
                    await self._wait(line, sink)
            waiting = [line for line in waiting if line not in mine]
            for line, receipt in await self._send(sink, ready):
                drops = receipt.outcome == "refused" and receipt.status in _DROPS
                if drops and line.identifier not in again:
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
            await self._failed(line, receipt)
            return
        if receipt.existed:
            await self._found(line)
            return
        reason = "; ".join(filter(None, (receipt.reason, dropped)))
        await self._close(line, receipt, receipt.outcome, reason)
        self._say(replace(line, reference=receipt.reference), "created", reason)

    async def _found(self, line: Line) -> None:
        """It was there already: an earlier send of ours that arrived late, or another ledger's. Looked at anew."""
        sink = self.delivery.sink_of(line)
        assert sink is not None, line.sink
        seen = await sink.look(line)
        step = reconcile(line, line.draft, seen, whole=True, keyed=sink.keyed, age_s=0.0, zone=self.delivery.zone)
        if step.action in ("keep", "leave"):
            await self._note(step)
        else:
            await self._failed(line, Receipt("unknown", reason="the destination does not show it yet"))

    async def _wait(self, line: Line, sink: Sink) -> None:
        waiting = replace(line, state="prepared", sink=sink.name)
        if waiting != self.before.get(line.identifier):
            await self._remember([waiting])
        self._say(line, "waiting", f"{sink.name} takes only what a named person has approved")

    async def _failed(self, line: Line, receipt: Receipt) -> None:
        """Written down as what it is; the next run looks first, and tries what certainly did not happen again."""
        outcome: Outcome = "refused"
        kept = replace(self._was(line), revision=line.revision, reason=receipt.reason)
        if receipt.outcome == "unknown":
            outcome, kept = "unknown", replace(line, state="unknown", reason=receipt.reason)
        elif receipt.outcome == "conflict":
            outcome = "left-alone"
            # A create that lost against another writer's: the next look finds the other's, or nothing.
            changed = replace(kept, state="conflict")
            kept = changed if line.replaces else replace(line, state="unknown", reason=receipt.reason)
        await self._remember([kept])
        self._say(line, outcome, receipt.reason)

    def _may_arrive(self, line: Line) -> bool:
        """An earlier send of it may: through another door it could become a second one."""
        was = self._was(line)
        age = self.delivery.ledger.now() - was.changed_at if was.changed_at else timedelta()
        return was.unanswered and age.total_seconds() < ARRIVES

    async def _close(self, line: Line, receipt: Receipt, state: State, reason: str) -> None:
        closed = replace(
            line,
            replaces=None,
            state=state,
            reference=receipt.reference or line.reference,
            version=receipt.version,
            reason=reason,
        )
        await self._remember([closed])

    # -- approval ------------------------------------------------------------------------------------

    async def release(self, steps: Sequence[Step], by: Person) -> list[Delivered]:
        """Approve what stands as we left it, or waits for this; all else is reported and not touched."""
        for step in steps:
            if step.action == "keep" and not step.line.approved_by and step.line.sink != "worklist":
                await self._approve_standing(step.line, by)
            elif step.action == "create" and not step.line.unanswered:
                await self._approve_waiting(step.line, by)
            elif step.action == "keep" and step.line.approved_by:
                self._say(step.line, "approved")
            elif step.action == "keep":
                self._say(step.line, "left-alone", "it is on the work list: enter it by hand")
            else:
                outcome: Outcome = "unknown" if step.line.unanswered else "left-alone"
                self._say(step.line, outcome, step.because or "it must be written first: run sync --write")
        return self.done

    def _approved(self, line: Line, by: Person) -> Line:
        kind = line.draft.resource_type
        draft = replace(line.draft, content={**line.content, "status": APPROVED[kind]})
        return replace(line, draft=draft, approved_by=by.name, approved_at=self.delivery.ledger.now())

    async def _approve_standing(self, line: Line, by: Person) -> None:
        released = self._approved(line, by)
        self.audit.approved(by, [_item(line)])
        sent, receipt = await self._change(released, released.draft)
        if receipt.outcome in ("confirmed", "sent"):
            await self._close(sent, receipt, "confirmed", "")
            self._say(sent, "approved")
        else:
            await self._failed(sent, receipt)

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


def begins(step: Step, before: Mapping[str, Line]) -> bool:
    """It puts something there where nothing counts now: a new draft, or one that had been taken back."""
    was = before.get(step.line.identifier)
    return step.action == "create" or (step.action == "update" and was is not None and _taken_back(was.draft))


def in_the_way(steps: Sequence[Step], wanted: Wanted) -> frozenset[str]:
    """The kinds of resource that nothing new may be made of now.

    Something that is no longer wanted stands, or may: a new draft beside it could be a second charge.
    """
    if wanted.blocked:
        return frozenset(WITHDRAWN)
    supported = {draft.identifier for draft in (*wanted.drafts, *wanted.standing)}
    waits = ("leave", "hold", "redo")
    return _kinds([step for step in steps if step.action in waits and step.line.identifier not in supported])


def _kinds(steps: Sequence[Step]) -> frozenset[str]:
    """A charge holds up its Claim too; a Claim, which may go with its Coverage, holds up Claims only."""
    kinds = {step.line.draft.resource_type for step in steps}
    return frozenset(WITHDRAWN) if "ChargeItem" in kinds else frozenset(kinds)


def _taken_back(draft: Draft) -> bool:
    return standing_state(draft) == "withdrawn"


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
