"""What to do about one line: pure, from what the ledger remembers, what is wanted now, and what stands there.

The promises of this file: nothing that a person has touched, approved, billed or deleted is ever touched; nothing
is handed over again whose first hand-over may still arrive; nothing is taken back on the word of half a record.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import tzinfo
from typing import Literal

from bhi_fhir.delivery.comparing import differences
from bhi_fhir.delivery.line import WITHDRAWN, Draft, Line, Nothing, Seen, Several, Standing, State

Action = Literal["create", "redo", "update", "withdraw", "keep", "rest", "hold", "leave"]
"""create    hand it over
redo      the same hand-over again: it was never answered, and here a second one is the same one
update    it is ours and untouched, and another content is wanted
withdraw  it is ours and untouched, and no longer supported
keep      it stands there as wanted
rest      nothing is wanted and nothing stands there
hold      not now: something must become clear first
leave     a person's, or a riddle for one: never touched, reported
"""

_STOOD = frozenset({"sent", "confirmed", "left", "conflict"})
_CLOSED = frozenset({"aborted", "cancelled", "entered-in-error", "not-billable"})
"""A person has ended it: nothing is charged by it any more."""
ARRIVES = 3600.0
"""Seconds within which an unanswered send may still arrive at a destination that does not show it yet."""


@dataclass(frozen=True, slots=True)
class Step:
    """`line`: what the ledger is to remember before anything is sent. `because`: for hold and leave."""

    action: Action
    line: Line
    because: str = ""


def reconcile(
    line: Line, wanted: Draft | None, seen: Seen, *, whole: bool, keyed: bool, age_s: float, zone: tzinfo
) -> Step:
    """`whole`: the record was read whole, so that what is not wanted is not supported.

    `keyed`: a send may be repeated. `age_s`: seconds since the line last changed. `zone`: the practice's.
    """
    match seen:
        case Several(count):
            return _leave(line, f"{count} resources carry its identifier", "conflict")
        case Standing():
            step = _standing(_answered(line, seen), wanted, seen, whole=whole, zone=zone)
            undone = line.replaces is not None and step.line.draft != line.draft
            if undone and step.action in ("keep", "rest") and age_s < ARRIVES:
                return Step("hold", line, "a change of it was never answered, and may still arrive")
            return step
        case Nothing(deleted):
            if (deleted or line.reference or line.state in _STOOD) and line.state != "withdrawn":
                gone = _leave(line, "somebody has deleted it")
                return Step("rest", gone.line) if deleted and wanted is None else gone
            return _absent(line, wanted, whole=whole, keyed=keyed, late=age_s < ARRIVES)
    return _unseen(line, wanted, whole=whole, keyed=keyed, zone=zone)


def never_arrived(line: Line) -> Line:
    """What a line is when its send is known not to have happened: as before it; an approval goes with its send."""
    if line.replaces is None:
        return replace(line, state="prepared", reason="")
    before = replace(line, draft=line.replaces, replaces=None, approved_by="", approved_at=None, reason="")
    return replace(before, state=standing_state(before.draft))


def standing_state(draft: Draft) -> State:
    """Of a line of which exactly this stands there."""
    return "withdrawn" if draft.content.get("status") == WITHDRAWN[draft.resource_type] else "confirmed"


def _answered(line: Line, seen: Standing) -> Line:
    """A change that was not answered, now that it can be seen whether it arrived."""
    if line.replaces is None:
        return line
    if line.version and seen.version == line.version:
        return never_arrived(line)
    if differences(line.content, seen.content) and not differences(line.replaces.content, seen.content):
        return never_arrived(line)
    return replace(line, replaces=None)


def _standing(line: Line, wanted: Draft | None, seen: Standing, *, whole: bool, zone: tzinfo) -> Step:
    now = replace(line, reference=seen.reference, version=seen.version)
    # What stands in our version is what we sent, also where the server does not store all of it.
    same = bool(line.version) and seen.version == line.version
    if not same:
        changed = differences(line.content, seen.content)
        if changed and not line.reference and wanted is not None:
            # Never seen there before: it may be a draft of ours from before this ledger.
            now = replace(now, draft=wanted)
            changed = differences(wanted.content, seen.content)
        if changed:
            # With the version that was ours: theirs must not be taken for it the next time.
            left = _leave(line, f"somebody has changed it: {'; '.join(changed)}{_wish(wanted, seen)}")
            return Step("rest", left.line) if wanted is None and seen.content.get("status") in _CLOSED else left
    stands_withdrawn = seen.content.get("status") == WITHDRAWN[line.draft.resource_type]
    if line.approved_by:
        return _approved(now, wanted, zone)
    if wanted is None:
        if stands_withdrawn:
            return Step("rest", replace(now, state="withdrawn"))
        return _no_longer(now, whole=whole)
    stands = line.content if same and not line.unanswered else seen.content
    if differences(wanted.content, stands):
        return Step("update", replace(now, state="confirmed"))
    return Step("keep", replace(now, state="confirmed", reason=""))


def _absent(line: Line, wanted: Draft | None, *, whole: bool, keyed: bool, late: bool) -> Step:
    """It is not there and as far as we know never was."""
    if wanted is None:
        if line.unanswered and late:
            return Step("hold", line, "it is no longer supported, but an unanswered send may still arrive")
        return _never_stood(line, whole=whole)
    if line.unanswered and not keyed:
        return _ask(line)
    # While the first may still arrive, a second is the same: else it could not be told what stands there.
    return _create(line, line.draft if line.unanswered and late else wanted)


def _unseen(line: Line, wanted: Draft | None, *, whole: bool, keyed: bool, zone: tzinfo) -> Step:
    """A destination that cannot be looked into: what was answered is all that is known."""
    if line.state in ("left", "conflict"):
        return Step("leave", line, line.reason)
    if line.unanswered:
        return Step("redo", line) if keyed else _ask(line)
    if line.state in ("sent", "confirmed"):
        if line.approved_by:
            return _approved(line, wanted, zone)
        if wanted is None:
            return _no_longer(line, whole=whole)
        return Step("update" if _changes(line.draft, wanted) else "keep", line)
    if wanted is None:
        return _never_stood(line, whole=whole)
    return _create(line, wanted)


def _create(line: Line, wanted: Draft) -> Step:
    """What a person approved and was never sent goes as approved; if it is another by now, it waits again."""
    line = replace(line, reference="", version="")
    if line.approved_by and not _since_approval(line, wanted):
        return Step("create", line)
    return Step("create", replace(line, draft=wanted, approved_by="", approved_at=None))


def _never_stood(line: Line, *, whole: bool) -> Step:
    if line.approved_by and line.state != "withdrawn" and not whole:
        return Step("hold", line, "it is approved and not supported now, but the record could not be read whole")
    because = line.reason if line.state == "withdrawn" else "no longer supported before it stood there"
    return Step("rest", replace(line, state="withdrawn", approved_by="", approved_at=None, reason=because))


def _no_longer(line: Line, *, whole: bool) -> Step:
    if whole:
        return Step("withdraw", line)
    return Step("hold", line, "it is not supported now, but the record could not be read whole: it stands")


def _approved(line: Line, wanted: Draft | None, zone: tzinfo) -> Step:
    """Released by a named person: theirs. What the record says now is for them to read."""
    if wanted is None:
        return _leave(line, f"it was approved, and the record no longer supports it{_since(line, zone)}", "confirmed")
    if changed := _since_approval(line, wanted):
        return _leave(
            line, f"it was approved, and the record now says: {'; '.join(changed)}{_since(line, zone)}", "confirmed"
        )
    return Step("keep", replace(line, state="confirmed", reason=""), "approved")


_NOT_OF_THE_RECORD = frozenset({"status", "definitionCanonical"})


def _since_approval(line: Line, wanted: Draft) -> tuple[str, ...]:
    """What the record says otherwise; where the service serves its definitions is no word of the record."""
    planned = {name: value for name, value in line.content.items() if name not in _NOT_OF_THE_RECORD}
    planned |= {name: value for name, value in wanted.content.items() if name in _NOT_OF_THE_RECORD}
    return _changes(replace(line.draft, content=planned), wanted)


def _changes(ours: Draft, wanted: Draft) -> tuple[str, ...]:
    """Also of what some doors send beside the resource."""
    beside = (ours.served, ours.diagnoses) != (wanted.served, wanted.diagnoses)
    return differences(ours.content, wanted.content) or (("days of service or diagnoses",) if beside else ())


def _ask(line: Line) -> Step:
    return Step("leave", line, "a send was never answered: find out whether it arrived, then say so (bhi-fhir resolve)")


def _leave(line: Line, because: str, state: Literal["left", "conflict", "confirmed"] = "left") -> Step:
    return Step("leave", replace(line, state=state, reason=because), because)


def _wish(wanted: Draft | None, seen: Standing) -> str:
    """What the record says beside what stands there."""
    if wanted is None:
        return "; the record does not support it"
    wish = differences(seen.content, wanted.content)
    return f"; the record says: {'; '.join(wish)}" if wish else ""


def _since(line: Line, zone: tzinfo) -> str:
    return f" (approved {line.approved_at.astimezone(zone):%Y-%m-%d})" if line.approved_at else ""
