"""What the pages show, without a browser: the course of a scale, the bar of minutes, scopes, colours, names."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from record import cocm_record

from bhi_fhir.domain.record import Screening
from bhi_fhir.domain.time import Moment
from bhi_fhir.domain.value import replace
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.people import Names
from bhi_fhir.jobs.telling import Told
from bhi_fhir.mapping.source import SUBJECT, Source
from bhi_fhir.web.granted import Granted, wanted
from bhi_fhir.web.pages.course import Course, courses
from bhi_fhir.web.pages.minutes import bar
from bhi_fhir.web.pages.style import _safe, contrast

DESK = Desk.open(Path(__file__).parents[2] / "mappings" / "sites" / "example", "2026-03")


def told(*scores: tuple[int, int], minutes: int = 42, scale: str = "phq-9") -> Told:
    """A month with these scores, as (days into March, score)."""
    record = cocm_record().work(minutes)
    ((_, chart),) = DESK.decide([Source("x", "", json.dumps(record.bundle()).encode())]).decisions
    first = datetime(2026, 3, 1, 12, tzinfo=UTC)
    moments = [(first + timedelta(days=day), score) for day, score in scores]
    found = tuple(
        Screening(f"Observation/{n}", scale, Moment(when, when), complete=True, total=score)
        for n, (when, score) in enumerate(moments)
    )
    chart = replace(chart, screenings=found)
    return Told.of(DESK, DESK.decide_chart(chart), chart, date(2026, 4, 2))


def course(*scores: tuple[int, int], scale: str = "phq-9") -> Course:
    (found,) = courses(told(*scores, scale=scale))
    return found


@pytest.mark.parametrize(
    ("scores", "marks"),
    [
        ([(0, 16)], [""]),
        ([(0, 16), (14, 9)], ["", ""]),
        ([(0, 16), (14, 8)], ["", "response"]),
        ([(0, 15), (14, 8)], ["", ""]),
        ([(0, 15), (14, 7)], ["", "response"]),
        ([(0, 16), (14, 5)], ["", "response"]),
        ([(0, 16), (14, 4)], ["", "remission"]),
        ([(0, 4), (14, 12)], ["remission", ""]),
    ],
)
def test_half_of_the_first_score_is_response_and_below_five_is_remission(
    scores: list[tuple[int, int]], marks: list[str]
) -> None:
    assert [point.mark for point in course(*scores).points] == marks


def test_a_scale_without_a_known_remission_has_none() -> None:
    assert [point.mark for point in course((0, 12), (20, 3), scale="epds").points] == ["", "response"]


def test_a_score_that_does_not_fall_is_called_that() -> None:
    assert course((0, 12), (20, 13)).said == "Last score 13, 12 at first: not improving."
    assert course((0, 12), (20, 10)).said == "Last score 10, 12 at first: lower by 2, no response yet."


def test_points_lie_within_the_drawing_in_the_order_of_time() -> None:
    found = course((20, 27), (0, 0), (7, 13))
    assert [point.score for point in found.points] == [0, 13, 27]
    for point in found.points:
        assert found.left <= point.x <= found.right
        assert 0 < point.y <= found.base


@pytest.mark.parametrize(
    ("minutes", "marks"),
    [
        (15, [("G2214", 16, 1), ("99492", 36, 21)]),
        (36, [("99492", 36, 0), ("99494", 86, 50)]),
        (90, [("99492", 36, 0), ("99494", 86, 0), ("99494", 116, 26)]),
    ],
)
def test_the_bar_has_the_tiers_that_are_reached_and_those_ahead(
    minutes: int, marks: list[tuple[str, int, int]]
) -> None:
    found = bar(told((5, 12), minutes=minutes))
    assert found.counted == minutes
    assert [(m.code, m.at, m.missing) for m in found.marks] == marks
    assert all(0 <= m.x <= found.width for m in found.marks)


def test_the_scopes_that_are_asked_for_are_enough_when_they_are_granted() -> None:
    for v1 in (False, True):
        granted = Granted.read(wanted(standalone=False, v1=v1))
        assert not granted.unread(SUBJECT)
        assert granted.may_write


@pytest.mark.parametrize(
    ("scope", "unread"),
    [
        ("patient/*.rs", ()),
        ("patient/*.read", ()),
        ("user/*.cruds", ()),
        ("patient/*.r", tuple(SUBJECT)),
        ("patient/*.rs?category=x", tuple(SUBJECT)),
        ("system/*.rs", tuple(SUBJECT)),
        ("patient/*.sr", tuple(SUBJECT)),
        (" ".join(f"patient/{kind}.rs" for kind in SUBJECT if kind != "Consent"), ("Consent",)),
        ("", tuple(SUBJECT)),
    ],
)
def test_a_type_is_read_only_if_all_of_it_is_granted(scope: str, unread: tuple[str, ...]) -> None:
    assert Granted.read(scope).unread(SUBJECT) == unread


@pytest.mark.parametrize(
    "scope", ["user/ChargeItem.cu", "user/Claim.cu", "user/ChargeItem.c user/Claim.cu", "patient/*.rs"]
)
def test_half_the_right_to_write_is_none(scope: str) -> None:
    assert not Granted.read(scope).may_write


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ({"color_background": "#ffffff", "color_text": "#000000", "color_highlight": "#0000cc"}, "#0000cc"),
        ({"color_background": "#ffffff", "color_text": "#000000", "color_highlight": "#ffff00"}, "#000000"),
        ({"color_background": "#ffffff", "color_text": "#dddddd"}, None),
        ({"color_background": "red;} body {display:none", "color_text": "#000000"}, None),
        ({"color_background": "url(https://evil.example)", "color_text": "#000000"}, None),
        ({}, None),
    ],
)
def test_only_colours_that_can_be_read_are_taken_from_an_ehr(said: dict[str, Any], kept: str | None) -> None:
    assert _safe(said).get("accent") == kept


def test_contrast_is_that_of_wcag() -> None:
    assert round(contrast("#ffffff", "#000000"), 1) == 21.0
    assert round(contrast("#777777", "#ffffff"), 2) == 4.48


def test_names_stand_for_references_and_the_first_patient_is_the_one() -> None:
    def source(**resource: Any) -> Source:
        return Source("x", "", json.dumps(resource).encode())

    names = Names.of(
        [
            source(resourceType="Patient", id="1", name=[{"family": "One", "given": ["Al"]}], birthDate="1950-01-02"),
            source(resourceType="Patient", id="2", name=[{"text": "Two"}]),
            source(resourceType="Practitioner", id="p", name=[{"text": "Dr. P"}]),
            source(resourceType="Observation", id="o", code={"text": "Patient"}),
        ]
    )
    assert (names.patient.reference, names.patient.name, names.patient.born) == ("Patient/1", "Al One", "1950-01-02")
    assert names.told("By Practitioner/p (x) and Practitioner/q") == "By Dr. P (x) and Practitioner/q"


def test_the_draft_of_a_line_that_needs_review_says_so_where_it_is_released() -> None:
    from delivery.charges import PLANNED, with_content

    from bhi_fhir.web.pages.month import drafts

    line = with_content(PLANNED, note=[{"text": "Needs review: brief-intervention"}])
    noted, plain = drafts([line, PLANNED])
    assert noted.said == f"{plain.said}; Needs review: brief-intervention"
