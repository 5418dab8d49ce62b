"""What follows from other fields follows them also when a value is varied."""

from datetime import UTC, datetime, timedelta

from bhi_fhir.domain.record import Activity
from bhi_fhir.domain.time import BEGINNING, END, Moment, Period
from bhi_fhir.domain.value import replace

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
AT_NOON = Moment(NOON, NOON)


def test_a_period_without_its_ends_is_open() -> None:
    period = Period(AT_NOON, AT_NOON)
    assert replace(period, start=None).opens == BEGINNING
    assert replace(period, end=None).closes == END


def test_work_whose_time_is_taken_away_has_no_stretch() -> None:
    call = Activity("Encounter/1", frozenset(), "done", frozenset(), AT_NOON, timedelta(minutes=5))
    assert call.span == (NOON, NOON + timedelta(minutes=5))
    assert replace(call, duration=None).span is None
