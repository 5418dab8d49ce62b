"""One patient's month brought into line, whatever fails and whenever: a real ledger, destinations in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from delivery.destination import ANN, MONTH, UNKNOWN, Destination, Site, claim, draft

from bhi_fhir.delivery.line import Draft, Line, Receipt
from bhi_fhir.delivery.settle import foresee, release, resolve
from bhi_fhir.delivery.writer import _FileLock

A, A2, B, ADD_ON, CLAIM = draft("99492"), draft("99492", 2), draft("99484"), draft("99494"), claim()
KINDS: dict[str, dict[str, Any]] = {
    "FHIR": {},
    "FHIR without a condition": {"keyed": False},
    "messages that are known again": {"visible": False},
    "messages": {"visible": False, "keyed": False},
}
APPROVED_ONLY = {"drafts": False, "visible": False, "keyed": False, "name": "dft"}


@pytest.fixture
def there() -> Destination:
    return Destination()


@pytest.fixture
def site(tmp_path: Path, there: Destination) -> Site:
    return Site(tmp_path, there)


async def approve(site: Site, *codes: str) -> dict[str, str]:
    lines = site.ledger.lines(site.patient, MONTH)
    chosen = [n.identifier for n in lines if n.draft.code in codes or not codes]
    done = await release(site.delivery, site.patient, MONTH, chosen, ANN, site.audit)
    return {each.code: each.outcome for each in done}


async def found_out(site: Site, there: Destination, code: str) -> None:
    """A person looks at the destination and says what became of a send."""
    line = site.line(code)
    standing = [s.content for s in there.stands.get(line.identifier, [])]
    arrived = standing == ([] if line.content["status"] == "aborted" else [line.content])
    await resolve(site.delivery, site.patient, line, arrived=arrived)


# -- in which order ---------------------------------------------------------------------------------


async def test_what_is_to_be_taken_back_goes_first_then_what_changes_then_what_is_new(
    site: Site, there: Destination
) -> None:
    await site.sync(A, ADD_ON)
    there.log.clear()
    said = await site.sync(B, draft("99494", 3))
    assert said == {"99484": "created", "99492": "withdrawn", "99494": "updated"}
    assert there.log == [("withdraw", "99492"), ("update", "99494"), ("create", "99484")]
    assert not there.wrongs


async def test_running_again_sends_nothing_and_keeps_the_date_of_every_line(site: Site, there: Destination) -> None:
    await site.sync(A, CLAIM)
    there.log.clear()
    before = site.ledger.lines(site.patient, MONTH)
    site.clock.later(24)
    assert await site.sync(A, CLAIM) == {"99492": "unchanged", CLAIM.code: "unchanged"}
    assert there.log == []
    assert site.ledger.lines(site.patient, MONTH) == before


async def test_each_send_is_written_down_before_it_is_sent_and_told_to_the_audit(
    site: Site, there: Destination
) -> None:
    seen: list[str] = []
    there.before_change = lambda: seen.append(site.line("99492").state)
    await site.sync(A)
    await site.sync(A2)
    assert seen == ["sending"]
    assert site.audit.said == ["create", "create 200", "update", "update 200"]


# -- what stands in the way ---------------------------------------------------------------------------


async def test_nothing_new_is_made_beside_what_a_person_has_touched(site: Site, there: Destination) -> None:
    await site.sync(A)
    there.edited(A.identifier, note=[{"text": "mine"}])
    assert await site.sync(B, CLAIM) == {"99484": "held", "99492": "left-alone", CLAIM.code: "held"}
    assert there.created == {A.identifier: 1}
    assert there.holds_what_is_theirs()


@pytest.mark.parametrize("over", ["entered-in-error", "aborted", "not-billable"])
async def test_what_a_person_has_ended_is_in_nobodys_way(site: Site, there: Destination, over: str) -> None:
    await site.sync(A)
    there.edited(A.identifier, status=over)
    assert await site.sync(B) == {"99484": "created"}
    assert (await site.sync(A))["99492"] == "left-alone"
    assert there.holds_what_is_theirs()


async def test_what_a_person_has_deleted_is_in_nobodys_way_and_never_made_again(site: Site, there: Destination) -> None:
    await site.sync(A)
    there.deleted(A.identifier)
    assert await site.sync(B) == {"99484": "created"}
    assert await site.sync(A) == {"99492": "left-alone", "99484": "withdrawn"}
    assert there.created[A.identifier] == 1


async def test_an_add_on_goes_beside_its_base_that_a_person_has_moved_on(site: Site, there: Destination) -> None:
    await site.sync(A)
    there.edited(A.identifier, status="billed")
    assert await site.sync(ADD_ON, standing=[A, ADD_ON]) == {"99492": "left-alone", "99494": "created"}


async def test_what_could_not_be_taken_back_holds_up_the_rest(site: Site, there: Destination) -> None:
    await site.sync(A)
    for fault in (Receipt("refused", status=422), UNKNOWN, Receipt("unsent"), Receipt("conflict")):
        there.faults.append(fault)
        assert (await site.sync(B))["99484"] == "held"
        assert there.units("99484") == 0
    assert await site.sync(B) == {"99492": "withdrawn", "99484": "created"}
    assert not there.wrongs


async def test_half_a_record_takes_nothing_back_and_makes_nothing_beside_it(site: Site, there: Destination) -> None:
    await site.sync(A)
    assert await site.sync(B, whole=False) == {"99492": "held", "99484": "held"}


async def test_what_had_been_taken_back_comes_back_only_if_nothing_stands_in_its_way(
    site: Site, there: Destination
) -> None:
    await site.sync(A)
    await site.sync(B)
    there.edited(B.identifier, note=[{"text": "mine"}])
    assert await site.sync(A) == {"99492": "held", "99484": "left-alone"}
    assert (there.status(A.identifier), there.wrongs) == ("aborted", [])


async def test_a_claim_in_the_way_holds_up_claims_only(site: Site, there: Destination) -> None:
    other = claim("Practitioner/lee")
    await site.sync(CLAIM)
    there.edited(CLAIM.identifier, status="active")
    assert await site.sync(A, other) == {"99492": "created", CLAIM.code: "left-alone", other.code: "held"}


async def test_while_the_month_is_blocked_nothing_new_is_made_and_the_rest_is_done(
    site: Site, there: Destination
) -> None:
    await site.sync(A, ADD_ON)
    assert await site.sync(A2, B, blocked="why") == {"99492": "updated", "99494": "withdrawn", "99484": "held"}
    assert await site.why("99484", A2, B, blocked="why") == "why"


async def test_an_unanswered_message_that_is_not_wanted_any_more_holds_up_the_rest(tmp_path: Path) -> None:
    there = Destination(visible=False)
    site = Site(tmp_path, there)
    there.faults.append("unheard")
    await site.sync(A)
    assert await site.sync(B) == {"99492": "created", "99484": "held"}
    assert await site.sync(B) == {"99492": "withdrawn", "99484": "created"}
    assert (there.units("99492"), there.units("99484"), there.wrongs) == (0, 1, [])


# -- from door to door --------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 405, 422])
async def test_a_door_that_refuses_leads_to_the_next_one_and_it_is_said(tmp_path: Path, status: int) -> None:
    first, second = Destination(), Destination(name="files", visible=False)
    site = Site(tmp_path, first, second)
    first.faults.append(Receipt("refused", status=status, reason="no such thing here"))
    said = await site.why("99492", A)
    assert said == "fhir: no such thing here"
    assert (first.units("99492"), second.units("99492"), site.line("99492").sink) == (0, 1, "files")
    assert await site.sync(A) == {"99492": "unchanged"}
    assert await site.sync(A2) == {"99492": "updated"}
    assert (first.log, second.units("99492")) == ([("create", "99492")], 2)


@pytest.mark.parametrize(
    ("receipt", "outcome"),
    [
        (Receipt("refused", status=400), "refused"),
        (Receipt("refused", status=401), "refused"),
        (Receipt("refused"), "refused"),
        (Receipt("unsent", status=429), "refused"),
        (Receipt("conflict"), "left-alone"),
        (UNKNOWN, "unknown"),
    ],
)
async def test_nothing_else_leads_to_the_next_door(tmp_path: Path, receipt: Receipt, outcome: str) -> None:
    first, second = Destination(), Destination(name="files", visible=False)
    site = Site(tmp_path, first, second)
    first.faults.append(receipt)
    assert await site.sync(A) == {"99492": outcome}
    assert await site.sync(A) == {"99492": "created"}
    assert (first.units("99492"), second.log) == (1, [])


@pytest.mark.parametrize("visible", [True, False])
async def test_what_may_still_arrive_goes_through_no_other_door(tmp_path: Path, visible: bool) -> None:
    first, second = Destination(visible=visible), Destination(name="files", visible=False)
    site = Site(tmp_path, first, second)
    first.faults += ["late", Receipt("refused", status=403)]
    assert await site.sync(A) == {"99492": "unknown"}
    site.clock.later(0.2)
    assert await site.sync(A) == {"99492": "refused"}
    first.arrive()
    site.clock.later(24)
    await site.sync(A)
    assert (first.units("99492"), second.units("99492")) == (1, 0)


async def test_what_can_no_longer_arrive_may_go_through_another_door(tmp_path: Path) -> None:
    first, second = Destination(), Destination(name="files", visible=False)
    site = Site(tmp_path, first, second)
    first.faults += ["lost", Receipt("refused", status=403)]
    await site.sync(A)
    site.clock.later(2)
    assert await site.sync(A) == {"99492": "created"}
    assert second.units("99492") == 1


async def test_a_line_waits_for_a_door_without_drafts_until_it_is_approved(tmp_path: Path) -> None:
    there = Destination(**APPROVED_ONLY)
    site = Site(tmp_path, there)
    assert await site.sync(A) == {"99492": "waiting"}
    assert there.log == []
    assert await approve(site) == {"99492": "created"}
    assert await site.sync(A) == {"99492": "approved"}
    assert (there.units("99492"), site.line("99492").approved_by) == (1, "Ann Biller")


async def test_a_line_that_waited_for_a_door_that_is_gone_goes_by_another(tmp_path: Path) -> None:
    site = Site(tmp_path, Destination(**APPROVED_ONLY))
    await site.sync(A)
    site.sinks = [Destination(name="files", visible=False)]
    assert await site.sync(A) == {"99492": "created"}


async def test_a_line_that_went_by_a_door_that_is_gone_is_held(site: Site) -> None:
    await site.sync(A)
    site.sinks = [Destination(name="files", visible=False)]
    assert "which this site no longer names" in await site.why("99492", A)
    assert await site.sync(B) == {"99492": "held", "99484": "held"}
    assert site.sinks[0].log == []


async def test_what_no_door_takes_is_said(tmp_path: Path) -> None:
    site = Site(tmp_path, Destination(kinds=("Claim",)))
    assert await site.why("99492", A) == "no destination of this site takes a ChargeItem"


async def test_without_its_lock_a_writer_sends_nothing(
    site: Site, there: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    await site.sync(A)
    monkeypatch.setattr(_FileLock, "sure", lambda lock: False)
    assert await site.sync(A2, ADD_ON) == {"99492": "refused", "99494": "refused"}
    assert there.log == [("create", "99492")]


# -- answers that do not come -------------------------------------------------------------------------


async def test_a_correction_whose_answer_was_lost_is_the_same_correction_again(tmp_path: Path) -> None:
    """With its credit: alone, the new charge would be a second one."""
    there = Destination(visible=False)
    site = Site(tmp_path, there)
    await site.sync(A)
    for fault in ("lost", "unheard"):
        there.faults.append(fault)
        units = 2 if fault == "lost" else 3
        assert await site.sync(draft("99492", units)) == {"99492": "unknown"}
        assert await site.sync(draft("99492", units)) == {"99492": "updated"}
        assert (there.units("99492"), there.wrongs) == (units, [])


@pytest.mark.parametrize("fault", ["lost", "unheard"])
async def test_what_is_taken_back_is_credited_once(tmp_path: Path, fault: str) -> None:
    there = Destination(visible=False)
    site = Site(tmp_path, there)
    await site.sync(A)
    there.faults.append(fault)
    assert await site.sync() == {"99492": "unknown"}
    assert await site.sync() == {"99492": "withdrawn"}
    assert await site.sync() == {}
    assert (there.units("99492"), there.wrongs, site.line("99492").state) == (0, [], "withdrawn")
    assert await site.sync(A) == {"99492": "created"}
    assert (there.units("99492"), there.wrongs) == (1, [])


@pytest.mark.parametrize("fault", ["lost", "unheard"])
@pytest.mark.parametrize("wanted", [(A,), (A2,), ()])
async def test_a_person_finds_out_what_became_of_a_message_and_all_goes_on(
    tmp_path: Path, fault: str, wanted: Sequence[Draft]
) -> None:
    """Of the first message, of a correction and of a credit."""
    there = Destination(visible=False, keyed=False)
    site = Site(tmp_path, there)
    if wanted != (A,):
        await site.sync(A)
    there.faults.append(fault)
    for _ in range(3):
        assert await site.sync(*wanted) == {"99492": "unknown"}
    assert len(there.log) == 1 + (wanted != (A,))
    await found_out(site, there, "99492")
    await site.sync(*wanted)
    await site.sync(*wanted)
    assert there.units("99492") == sum(each.served[0][1] for each in wanted)
    assert not there.wrongs


async def test_a_change_that_never_arrived_is_tried_again_also_if_the_server_touched_it(
    site: Site, there: Destination
) -> None:
    await site.sync(A)
    there.faults.append("lost")
    assert await site.sync(A2) == {"99492": "unknown"}
    there.edited(A.identifier)  # a new version of the same
    assert await site.sync(A2) == {"99492": "updated"}


async def test_a_conflict_is_reported_against_what_we_had_written(site: Site, there: Destination) -> None:
    await site.sync(A)
    there.before_change = lambda: there.edited(A.identifier, quantity={"value": 5})
    assert await site.sync(A2) == {"99492": "left-alone"}
    there.before_change = lambda: None
    assert "quantity 1 → 5; the record says: quantity 5 → 2" in await site.why("99492", A2)
    assert there.holds_what_is_theirs()


async def test_a_server_that_does_not_store_everything_is_not_written_to_each_night(
    site: Site, there: Destination
) -> None:
    noted = replace(A, content={**A.content, "note": [{"text": "Units by day"}]})
    await site.sync(noted)
    (stored,) = there.stands[A.identifier]
    there.stands[A.identifier] = [replace(stored, content=A.content)]
    assert await site.sync(noted) == {"99492": "unchanged"}
    more = replace(A2, content={**A2.content, "note": noted.content["note"]})
    there.faults.append("lost")
    assert await site.sync(more) == {"99492": "unknown"}
    assert await site.sync(more) == {"99492": "updated"}


async def test_another_day_of_service_is_a_correction_where_the_resource_does_not_hold_it(tmp_path: Path) -> None:
    there = Destination(visible=False)
    site = Site(tmp_path, there)
    await site.sync(A)
    assert await site.sync(replace(A, served=(("2026-09-28", 1),))) == {"99492": "updated"}


async def test_a_draft_sent_late_is_found_and_brought_up_to_date(site: Site, there: Destination) -> None:
    there.faults += ["late", "lost"]
    await site.sync(A)
    await site.sync(A2)
    there.arrive()
    assert await site.sync(A2) == {"99492": "updated"}
    assert (there.units("99492"), there.created[A.identifier]) == (2, 1)


async def test_what_was_taken_back_and_swept_away_is_made_anew_and_found_after_a_lost_answer(
    site: Site, there: Destination
) -> None:
    await site.sync(A)
    await site.sync()
    there.stands.clear()
    there.faults.append("unheard")
    assert await site.sync(A) == {"99492": "unknown"}
    assert await site.sync(A) == {"99492": "unchanged"}
    assert there.units("99492") == 1


# -- approval -----------------------------------------------------------------------------------------


async def test_what_stands_as_we_left_it_is_released_and_then_theirs(site: Site, there: Destination) -> None:
    await site.sync(A, CLAIM)
    assert await approve(site, "99492") == {"99492": "approved"}
    assert (there.status(A.identifier), there.status(CLAIM.identifier)) == ("billable", "draft")
    assert await approve(site, "99492") == {"99492": "approved"}
    assert (await site.sync(A2, CLAIM))["99492"] == "left-alone"
    assert (await site.sync())["99492"] == "left-alone"
    assert there.units("99492") == 1
    assert site.audit.said.count("approved by Ann Biller") == 1


@pytest.mark.parametrize("fault", ["lost", "unheard"])
async def test_an_approval_that_the_server_never_carried_out_is_none(
    site: Site, there: Destination, fault: str
) -> None:
    await site.sync(A)
    there.faults.append(fault)
    assert await approve(site) == {"99492": "unknown"}
    happened = fault == "unheard"
    assert await site.sync(A) == {"99492": "approved" if happened else "held"}
    site.clock.later(2)
    assert await site.sync(A) == {"99492": "approved" if happened else "unchanged"}
    assert site.line("99492").approved_by == ("Ann Biller" if happened else "")
    assert await approve(site) == {"99492": "approved"}
    assert there.status(A.identifier) == "billable"


async def test_a_person_who_approves_again_needs_no_sync_in_between(site: Site, there: Destination) -> None:
    await site.sync(A)
    there.faults.append("lost")
    assert await approve(site) == {"99492": "unknown"}
    assert await approve(site) == {"99492": "unknown"}, "the first may still arrive"
    site.clock.later(2)
    assert await approve(site) == {"99492": "approved"}
    assert there.status(A.identifier) == "billable"


@pytest.mark.parametrize("receipt", [Receipt("conflict"), Receipt("refused", status=403), Receipt("unsent")])
async def test_an_approval_that_was_refused_is_none(site: Site, there: Destination, receipt: Receipt) -> None:
    await site.sync(A)
    there.faults.append(receipt)
    assert await approve(site) != {"99492": "approved"}
    assert site.line("99492").approved_by == ""
    assert await site.sync(A) == {"99492": "unchanged"}
    assert await approve(site) == {"99492": "approved"}


@pytest.mark.parametrize("visible", [True, False])
async def test_what_a_sync_took_back_in_the_meantime_is_not_released(tmp_path: Path, visible: bool) -> None:
    there = Destination(visible=visible)
    site = Site(tmp_path, there)
    await site.sync(A)
    await site.sync()
    assert await approve(site) == {"99492": "left-alone"}
    assert there.units("99492") == 0


async def test_an_unanswered_send_cannot_be_approved(tmp_path: Path) -> None:
    for number, kind in enumerate(KINDS.values()):
        there = Destination(**kind)
        (tmp_path / str(number)).mkdir()
        site = Site(tmp_path / str(number), there)
        there.faults.append("lost")
        await site.sync(A)
        assert await approve(site) == {"99492": "unknown"}
        assert len(there.log) == 1


async def test_what_was_approved_and_not_sent_goes_as_it_was_approved(tmp_path: Path) -> None:
    there = Destination(**APPROVED_ONLY)
    site = Site(tmp_path, there)
    await site.sync(A)
    there.faults.append(Receipt("unsent"))
    assert await approve(site) == {"99492": "refused"}
    assert await site.sync(A) == {"99492": "created"}
    assert there.status(A.identifier) == "billable"


async def test_what_changed_since_it_was_approved_waits_for_another_approval(tmp_path: Path) -> None:
    there = Destination(**APPROVED_ONLY)
    site = Site(tmp_path, there)
    await site.sync(A)
    there.faults.append(Receipt("unsent"))
    await approve(site)
    assert await site.sync(A2) == {"99492": "waiting"}
    assert await site.sync(A) == {"99492": "waiting"}
    assert site.line("99492").approved_by == ""


async def test_an_approval_does_not_outlive_what_it_was_for(tmp_path: Path) -> None:
    there = Destination(**APPROVED_ONLY)
    site = Site(tmp_path, there)
    await site.sync(A)
    there.faults.append(Receipt("unsent"))
    await approve(site)
    assert await site.sync(whole=False) == {"99492": "held"}
    assert await site.sync() == {}
    assert await site.sync(A) == {"99492": "waiting"}


async def test_a_line_on_the_work_list_is_entered_and_not_approved(tmp_path: Path) -> None:
    site = Site(tmp_path, Destination(name="worklist", visible=False))
    await site.sync(A)
    done = await release(site.delivery, site.patient, MONTH, [A.identifier], ANN, site.audit)
    assert [(each.outcome, each.reason) for each in done] == [
        ("left-alone", "it is on the work list: enter it by hand")
    ]


# -- what a ledger did not write itself -----------------------------------------------------------------


async def test_a_second_ledger_finds_what_the_first_has_written_and_by_which_door(tmp_path: Path) -> None:
    there, blind = Destination(), Destination(name="files", visible=False)
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    first, second = Site(tmp_path / "1", there, blind), Site(tmp_path / "2", there, blind)
    await first.sync(A)
    assert await second.sync(A) == {"99492": "unchanged"}
    assert second.line("99492").sink == "fhir"
    assert await first.sync(A2) == {"99492": "updated"}
    assert await second.sync(A2) == {"99492": "left-alone"}
    assert (there.created[A.identifier], there.units("99492"), blind.log) == (1, 2, [])


async def test_what_retention_has_emptied_is_left_to_people(tmp_path: Path) -> None:
    for visible in (True, False):
        there = Destination(visible=visible)
        (tmp_path / str(visible)).mkdir()
        site = Site(tmp_path / str(visible), there)
        await site.sync(A)
        site.ledger.forget_before("2027-01")
        assert "keep_months" in await site.why("99492", A2)
        assert await site.sync() == {"99492": "left-alone"}
        assert there.log == [("create", "99492")]
        assert site.ledger.month_lines(MONTH) == []


async def test_resolving_what_was_answered_meanwhile_changes_nothing(site: Site, there: Destination) -> None:
    there.faults.append("unheard")
    await site.sync(A)
    stale = site.line("99492")
    await site.sync(A)
    await resolve(site.delivery, site.patient, stale, arrived=False)
    assert site.line("99492").state == "confirmed"


# -- Provenance -----------------------------------------------------------------------------------------


@dataclass
class Witnessed(Destination):
    """A destination that is also told who made its drafts."""

    doubt: str = ""
    witnessed: list[str] = field(default_factory=list)

    async def witness(self, lines: Sequence[Line], evidence: Iterable[str]) -> str:
        self.fuse.burn()
        if not self.doubt:
            self.witnessed += [line.draft.code for line in lines if line.draft.code not in self.witnessed]
        self.fuse.burn()
        return self.doubt


async def test_provenance_follows_once_also_from_a_run_that_comes_later(tmp_path: Path) -> None:
    there = Witnessed(doubt="Its Provenance was not written: it is full")
    site = Site(tmp_path, there)
    assert await site.why("99492", A) == there.doubt
    assert there.witnessed == []
    there.doubt = ""
    await site.sync(A, ADD_ON)
    await site.sync(A2, ADD_ON)
    assert there.witnessed == ["99492", "99494"]


# -- a process that dies at any moment --------------------------------------------------------------------

Wants = tuple[Draft, ...]


async def quiet(site: Site, there: Destination, wants: Wants) -> dict[str, str]:
    """Runs, hours apart, and people who find out, until nothing happens any more."""
    said: dict[str, str] = {}
    for _ in range(6):
        site.clock.later(2)
        for line in site.ledger.lines(site.patient, MONTH):
            seen = there.visible and there.stands.get(line.identifier)
            if line.unanswered and not there.keyed and not seen:
                await found_out(site, there, line.draft.code)
        said = await site.sync(*wants)
        if set(said.values()) <= {"unchanged", "approved", "waiting"}:
            break
    return said


async def dying(
    folder: Path, kind: dict[str, Any], first: Wants, then: Wants, act: Callable[[Site, Wants], Awaitable[object]]
) -> AsyncIterator[tuple[Site, Destination]]:
    """`act` after `first`, killed at each of its moments in turn; `then` must stand there in the end."""
    site = Site(folder)
    for moment in range(1, 100):
        there = Witnessed(**kind)
        site.comes(f"Patient/{moment}", there)
        before, after = (tuple(_of(each, f"p{moment}") for each in wants) for wants in (first, then))
        if before:
            await site.sync(*before)
        died = await site.until(moment, act(site, after))
        said = await quiet(site, there, after)
        assert set(said.values()) <= {"unchanged", "approved", "waiting"}, said
        assert not there.wrongs
        yield site, there
        for each in after:
            line = site.line(each.code)
            assert (line.state, line.replaces) == ("confirmed", None)
            (stands,) = there.stands[each.identifier]
            assert stands.content == {**each.content, "status": stands.content["status"]}
            assert there.created[each.identifier] == 1
        assert all(there.units(each.code) == 0 for each in first if each.code not in {n.code for n in then})
        if not died:
            assert moment > 10
            return
    raise AssertionError("it never came to an end")


def _of(wanted: Draft, whose: str) -> Draft:
    if wanted.resource_type == "Claim":
        return claim(of=whose)
    return draft(wanted.code, wanted.served[0][1], whose)


SCENES: dict[str, tuple[Wants, Wants]] = {
    "new": ((), (A, CLAIM)),
    "changed": ((A, CLAIM), (A2, CLAIM)),
    "another code": ((A,), (B,)),
    "no longer": ((A,), ()),
}


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("kind", KINDS)
async def test_killed_at_any_moment_each_line_is_written_once(tmp_path: Path, kind: str, scene: str) -> None:
    async for _ in dying(tmp_path, KINDS[kind], *SCENES[scene], lambda site, wants: site.sync(*wants)):
        pass


@pytest.mark.parametrize("kind", [*KINDS, "only what is approved"])
async def test_killed_at_any_moment_of_an_approval_each_line_is_released_once(tmp_path: Path, kind: str) -> None:
    """The person approves again what is not approved then."""
    both = (A, ADD_ON)
    async for site, there in dying(tmp_path, KINDS.get(kind, APPROVED_ONLY), both, both, lambda s, _: approve(s)):
        assert set((await approve(site)).values()) <= {"approved", "created"}
        assert {there.status(line.identifier) for line in site.ledger.lines(site.patient, MONTH)} == {"billable"}
        assert (there.units("99492"), there.units("99494"), there.wrongs) == (1, 1, [])


@pytest.mark.parametrize("moment", range(1, 24))
async def test_killed_between_two_doors_a_line_goes_through_one(tmp_path: Path, moment: int) -> None:
    first, second = Destination(), Destination(name="files", visible=False)
    site = Site(tmp_path, first, second)
    refused = Receipt("refused", status=403)
    first.faults.append(refused)
    await site.until(moment, site.sync(A))
    for _ in range(3):
        site.clock.later(2)
        first.faults.clear()
        first.faults.append(refused)
        await site.sync(A)
    assert (first.units("99492"), second.units("99492")) == (0, 1)
    assert second.created[A.identifier] == 1


async def test_what_is_foreseen_is_not_written_down(site: Site, there: Destination) -> None:
    foreseen = await foresee(site.delivery, site.wanted(A, CLAIM))
    assert [each.outcome for each in foreseen] == ["created", "created"]
    assert (there.log, site.ledger.lines(site.patient, MONTH), site.audit.said) == ([], [], [])
