"""Who has not been in contact and who is not improving: from the record by the sync, to the rows of the caseload."""

from __future__ import annotations

import csv
import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from record import cocm_record

from bhi_fhir.domain.decision import Decision, Episode
from bhi_fhir.domain.record import Activity, Chart, Member, Program, Role, Screening, Team
from bhi_fhir.domain.time import Moment
from bhi_fhir.domain.value import replace
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.month_work import last_contact, scores
from bhi_fhir.mapping.source import Source
from bhi_fhir.web.kept import Kept, Month
from bhi_fhir.web.pages.rows import Filter, Row, as_csv, followed, row

DESK = Desk.open(Path(__file__).parents[2] / "mappings" / "sites" / "example", "2026-03")
LOW = DESK.rules.values["remission_below"]
NOW = datetime(2026, 4, 2, tzinfo=UTC)
AS_OF = date(2026, 3, 31)
FIRST = date(2025, 12, 1)


def at(text: str) -> Moment:
    when = datetime.fromisoformat(text).astimezone(UTC)
    return Moment(when, when)


CALL = Activity(
    "Encounter/1", frozenset({"follow-up"}), "done", frozenset({"Practitioner/m"}), at("2026-03-10T10:00-05:00")
)
CLERK = Team("CareTeam/1", Program.COCM, (Member("Practitioner/c", frozenset({Role.ADMINISTRATIVE})),))


@pytest.mark.parametrize(
    ("more", "day"),
    [
        ({}, "2026-03-10"),
        ({"when": at("2025-11-03T10:00-06:00")}, "2025-11-03"),
        ({"when": at("2026-03-31T23:30-05:00")}, "2026-03-31"),
        ({"when": at("2026-04-01T00:00-05:00")}, ""),
        ({"when": None}, ""),
        ({"when": Moment(*DESK.month.span)}, ""),
        ({"state": "unknown"}, ""),
        ({"state": "not-done"}, ""),
        ({"people": frozenset()}, ""),
        ({"people": frozenset({"Practitioner/c"})}, ""),
        ({"people": frozenset({"Practitioner/c", "Practitioner/m"})}, "2026-03-10"),
        ({"kinds": frozenset()}, ""),
        ({"kinds": frozenset({"administrative"})}, ""),
        ({"kinds": frozenset({"psychiatric-review", "caseload-consultation"})}, ""),
        ({"kinds": frozenset({"administrative", "outreach"})}, "2026-03-10"),
    ],
)
def test_the_last_contact_is_finished_work_by_a_clinical_person_up_to_the_day(
    more: dict[str, object], day: str
) -> None:
    chart = Chart("Patient/1", teams=(CLERK,), activities=(replace(CALL, **more),))  # type: ignore[arg-type]
    assert last_contact(chart, DESK.site.zone, AS_OF) == day


def test_the_last_contact_is_looked_for_up_to_the_day_on_which_the_record_is_read() -> None:
    later = replace(CALL, when=at("2026-04-20T10:00-05:00"))
    chart = Chart("Patient/1", teams=(CLERK,), activities=(CALL, later))
    found = [last_contact(chart, DESK.site.zone, date(2026, 4, day)) for day in (19, 20)]
    assert found == ["2026-03-10", "2026-04-20"]


def test_scores_are_those_of_complete_screenings_by_day_up_to_the_months_end() -> None:
    days = [("2026-03-20", 9, True), ("2026-01-05", 16, True), ("2026-02-01", 12, False), ("2026-04-02", 3, True)]
    found = tuple(
        Screening(f"Observation/{day}", "phq-9", at(f"{day}T12:00-06:00"), complete=whole, total=total)
        for day, total, whole in days
    )
    unscored = Screening("Observation/x", "gad-7", at("2026-03-01T12:00-06:00"), complete=True, total=None)
    chart = Chart("Patient/1", screenings=(*found, unscored))
    assert scores(chart, DESK.month) == (("phq-9", "2026-01-05", 16), ("phq-9", "2026-03-20", 9))


@pytest.fixture(scope="module")
def decision() -> Decision:
    ((found, _),) = DESK.decide([Source("x", "", json.dumps(cocm_record().work(42).bundle()).encode())]).decisions
    return replace(found, episode=Episode("2025-12", "later"))


def a_row(decision: Decision | None, *, contact: str = "", course: tuple[tuple[int, int], ...] = ()) -> Row:
    """`course`: (days into the episode, PHQ-9)."""
    found = tuple(("phq-9", str(FIRST + timedelta(days=day)), score) for day, score in course)
    failed = "" if decision else "the server failed"
    return followed(row(Kept("k", NOW, Month("Patient/1", decision, failed, contact, found))), AS_OF, LOW)


@pytest.mark.parametrize(
    ("course", "said"),
    [
        ((), ""),
        (((0, 16),), ""),
        (((0, 16), (55, 16)), ""),
        (((0, 16), (56, 16)), "PHQ-9 16 to 16"),
        (((0, 16), (56, 9)), "PHQ-9 16 to 9"),
        (((0, 16), (56, 8)), ""),
        (((0, 8), (56, 5)), "PHQ-9 8 to 5"),
        (((0, 8), (56, 4)), ""),
        (((0, 16), (28, 6), (56, 14)), "PHQ-9 16 to 14"),
        (((-1, 20), (0, 16), (30, 16)), ""),  # before the episode
    ],
)
def test_not_improving_is_neither_response_nor_remission_after_eight_weeks(
    decision: Decision, course: tuple[tuple[int, int], ...], said: str
) -> None:
    assert a_row(decision, course=course).not_improving == said


def test_only_scales_that_have_a_remission_are_judged(decision: Decision) -> None:
    mine = tuple((scale, day, 12) for scale in ("audit-c", "gad-7") for day in ("2025-12-01", "2026-03-01"))
    month = Month("Patient/1", decision, "", "", mine)
    assert followed(row(Kept("k", NOW, month)), AS_OF, LOW).not_improving == "GAD-7 12 to 12"


def test_no_contact_counts_from_the_day_and_holds_whoever_was_never_contacted(decision: Decision) -> None:
    near, far = a_row(decision, contact="2026-03-17"), a_row(decision, contact="2026-03-16")
    never, unread = a_row(decision), a_row(None)
    assert [r.silent for r in (near, far, never, unread)] == [14, 15, None, None]
    rows = [unread, near, far, never]
    assert Filter.read({"silent": "15", "sort": "contact"}).choose(rows) == [never, far]
    assert Filter.read({"sort": "contact"}).choose(rows) == [never, far, near, unread]
    assert Filter.read({"silent": "-1"}).choose(rows) == Filter().choose(rows)


def test_contact_after_the_day_is_no_negative_number(decision: Decision) -> None:
    assert a_row(decision, contact="2026-04-01").silent == 0


def test_not_improving_can_be_chosen_and_comes_first(decision: Decision) -> None:
    stuck, well = a_row(decision, course=((0, 16), (60, 15))), a_row(decision, course=((0, 16), (60, 3)))
    assert Filter.read({"stuck": "1"}).choose([well, stuck]) == [stuck]
    assert Filter.read({"sort": "improving"}).choose([well, stuck]) == [stuck, well]


def test_the_sheet_holds_both(decision: Decision) -> None:
    row = a_row(decision, contact="2026-03-16", course=((0, 16), (60, 15)))
    (line,) = csv.DictReader(as_csv([row, row], DESK.month, AS_OF).splitlines()[:2])
    assert (line["last contact"], line["days since"], line["not improving"]) == ("2026-03-16", "15", "PHQ-9 16 to 15")


def test_a_month_that_an_older_sync_kept_is_still_read() -> None:
    assert msgspec.convert({"patient": "Patient/1", "failed": "x"}, Month).scores == ()
