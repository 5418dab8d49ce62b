"""Any order of syncs, people, crashes and lost answers, against the promises themselves (hypothesis, stateful)."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from delivery.destination import ANN, MONTH, OVER, Crash, Destination, Site, claim, draft
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bhi_fhir.delivery.comparing import differences
from bhi_fhir.delivery.line import Draft, Line, Receipt
from bhi_fhir.delivery.settle import foresee, release, resolve, settle

_T = TypeVar("_T")
CODES = ("99492", "99484", "99494")
WANTS = st.one_of(
    st.just(()),
    st.tuples(st.integers(1, 3).map(lambda n: ("99492", n))),
    st.tuples(st.just(("99492", 1)), st.integers(1, 3).map(lambda n: ("99494", n))),
    st.tuples(st.integers(1, 3).map(lambda n: ("99484", n))),
)
"""What records support: one base or the other, an add-on only to its own."""


class Month(RuleBasedStateMachine):
    """One patient's month. `kind`: what the destination is."""

    kind: ClassVar[dict[str, Any]]
    folder: ClassVar[Path]
    site: ClassVar[Site]
    patients: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        type(self).patients += 1
        self.tag = f"p{self.patients}"
        self.there = Destination(**self.kind)
        self.site.comes(f"Patient/{self.tag}", self.there)
        self.wants: tuple[Draft, ...] = ()
        self.approved: dict[str, Any] = {}
        self.disturbed = False

    def run(self, job: Awaitable[_T]) -> _T:
        async def running() -> _T:
            return await job

        return asyncio.run(running())

    def lines(self) -> list[Line]:
        return self.site.ledger.lines(self.site.patient, MONTH)

    # -- what happens -------------------------------------------------------------------------------

    @rule(chosen=WANTS, billed=st.booleans())
    def the_record_changes(self, chosen: tuple[tuple[str, int], ...], billed: bool) -> None:
        more = (claim(of=self.tag),) if billed and chosen else ()
        self.wants = (*(draft(code, units, self.tag) for code, units in chosen), *more)

    @rule(whole=st.sampled_from([True, True, True, False]))
    def sync(self, whole: bool) -> None:
        wanted = self.site.wanted(*self.wants, whole=whole)
        foreseen = self.run(foresee(self.site.delivery, wanted))
        try:
            done = self.run(settle(self.site.delivery, wanted, self.site.audit))
        except Crash:
            return
        if not self.disturbed:
            assert [(n.code, n.outcome) for n in foreseen] == [(n.code, n.outcome) for n in done]
        self.calm()

    @rule()
    def approve(self) -> None:
        ids = [line.identifier for line in self.lines() if line.draft.resource_type == "ChargeItem"]
        try:
            self.run(release(self.site.delivery, self.site.patient, MONTH, ids, ANN, self.site.audit))
        except Crash:
            return
        self.calm()

    def calm(self) -> None:
        self.site.fuse.left = None
        self.there.faults.clear()
        self.disturbed = False

    @rule(moment=st.integers(1, 16))
    def the_next_run_dies(self, moment: int) -> None:
        self.site.fuse.left, self.disturbed = moment, True

    @rule(
        fault=st.sampled_from(
            ["lost", "unheard", "late", Receipt("refused", status=400), Receipt("unsent"), Receipt("conflict")]
        )
    )
    def the_next_hand_over_goes_wrong(self, fault: Receipt | str) -> None:
        self.there.faults.append(fault)
        self.disturbed = True

    @rule(hours=st.sampled_from([0.2, 5.0]))
    def time_passes(self, hours: float) -> None:
        if hours > 1:
            self.there.arrive()
        self.site.clock.later(hours)

    @rule()
    def what_was_late_arrives(self) -> None:
        self.there.arrive()

    @precondition(lambda self: self.there.visible)
    @rule(
        code=st.sampled_from(CODES),
        what=st.sampled_from(
            [{"note": [{"text": "mine"}]}, {"status": "billed"}, {"status": "entered-in-error"}, {"status": "billable"}]
        ),
    )
    def somebody_changes_one(self, code: str, what: dict[str, Any]) -> None:
        identifier = f"{self.tag}-{code}"
        if len(self.there.stands.get(identifier, [])) == 1 and self.there.status(identifier) not in OVER:
            self.there.edited(identifier, **what)

    @precondition(lambda self: self.there.visible)
    @rule(code=st.sampled_from(CODES))
    def somebody_deletes_one(self, code: str) -> None:
        """One that we have seen: what was deleted before is not to be told from what never arrived."""
        known = any(line.draft.code == code and line.reference for line in self.lines())
        if known and self.there.stands.get(f"{self.tag}-{code}"):
            identifier = f"{self.tag}-{code}"
            if identifier in self.there.theirs or self.there.status(identifier) not in OVER:
                self.there.deleted(identifier)
            else:  # what we had taken back ourselves may be swept away, and made anew
                self.there.stands[identifier] = []

    @rule()
    def somebody_finds_out(self) -> None:
        """Only what is asked of people: where the ledger can see for itself, it does."""
        self.there.arrive()
        for line in self.lines():
            stands = [each.content for each in self.there.stands.get(line.identifier, [])]
            if line.unanswered and not self.there.keyed and not (self.there.visible and stands):
                arrived = stands == ([] if line.content["status"] in OVER else [line.content])
                self.run(resolve(self.site.delivery, self.site.patient, line, arrived=arrived))

    # -- the promises -------------------------------------------------------------------------------

    @invariant()
    def nothing_is_charged_twice_or_beside_what_excludes_it(self) -> None:
        assert self.there.wrongs == []

    @invariant()
    def what_is_a_persons_is_as_they_left_it(self) -> None:
        assert self.there.holds_what_is_theirs()

    @invariant()
    def what_a_person_released_is_never_changed(self) -> None:
        for line in self.lines():
            if line.approved_by and line.state in ("confirmed", "sent"):
                kept = self.approved.setdefault(line.identifier, line.content)
                assert line.content == kept
                if line.identifier not in self.there.theirs:
                    assert [each.content for each in self.there.stands[line.identifier]] == [kept]

    def teardown(self) -> None:
        """In the end, all is as the record says but for what is a person's and what that excludes."""
        self.calm()
        self.there.arrive()
        for _ in range(4):
            self.site.clock.later(5)
            self.somebody_finds_out()
            done = self.run(settle(self.site.delivery, self.site.wanted(*self.wants), self.site.audit))
            said = {each.identifier: each.outcome for each in done}
        self.nothing_is_charged_twice_or_beside_what_excludes_it()
        self.what_is_a_persons_is_as_they_left_it()
        wanted = {each.identifier: each for each in self.wants}
        settled = {n for n, line in self._known().items() if n in self.there.theirs or line.approved_by}
        in_the_way = any(said.get(n) in ("left-alone", "unknown") and n not in wanted for n in settled)
        for identifier, each in wanted.items():
            if identifier in settled:
                continue
            stands = [s.content for s in self.there.stands.get(identifier, [])]
            if stands and said[identifier] == "unchanged":
                assert not differences(each.content, stands[0])
            else:
                assert in_the_way or (not self.there.drafts and said[identifier] == "waiting"), (identifier, said)
        for identifier in self.there.stands.keys() - wanted.keys() - settled:
            assert all(s.content["status"] in OVER for s in self.there.stands[identifier]), (identifier, said)

    def _known(self) -> dict[str, Line]:
        return {line.identifier: line for line in self.lines()}


KINDS: dict[str, dict[str, Any]] = {
    "FHIR": {},
    "FHIR without a condition": {"keyed": False},
    "messages that are known again": {"visible": False},
    "messages": {"visible": False, "keyed": False},
    "only what is approved": {"visible": False, "keyed": False, "drafts": False},
}
EXAMPLES = int(os.environ.get("BHI_PROMISES", "12"))
"""Of each kind; more of them are a long search."""


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_happens_in_whatever_order_the_promises_hold(kind: str) -> None:
    with tempfile.TemporaryDirectory() as folder:

        class Machine(Month):
            pass

        Machine.kind, Machine.site = KINDS[kind], Site(Path(folder))
        Machine.TestCase.settings = settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
            report_multiple_bugs=False,
        )
        Machine.TestCase().runTest()
