"""The course of a rating scale over the episode: scores by day, response and remission, as a small drawing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from bhi_fhir.domain.record import Screening
from bhi_fhir.domain.time import ServiceMonth, local_day
from bhi_fhir.jobs.telling import Told

MOST = {"phq-9": 27, "gad-7": 21}
"""The highest score of the scales that have a remission (policy/parameters/remission_below.toml)."""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 480, 170, 34, 14, 12, 26


@dataclass(frozen=True)
class Point:
    """One score; `x`, `y` in the drawing. `mark`: "response" at half of the first score or less, "remission"."""

    day: date
    score: int
    mark: str
    ref: str
    x: float
    y: float


@dataclass(frozen=True)
class Course:
    """One scale. `lines`: (score, y, what it means) of the thresholds."""

    scale: str
    points: tuple[Point, ...]
    lines: tuple[tuple[int, float, str], ...]
    top: int
    said: str

    @property
    def name(self) -> str:
        return self.scale.upper()

    @property
    def path(self) -> str:
        return " ".join(f"{p.x:.1f},{p.y:.1f}" for p in self.points)

    width, height, left, right, base = _WIDTH, _HEIGHT, _LEFT, _WIDTH - _RIGHT, _HEIGHT - _BOTTOM


def courses(told: Told) -> tuple[Course, ...]:
    """Every scale with a score in the episode; of a month without an episode: all that the record has until then."""
    episode = told.decision.episode
    first = ServiceMonth.parse(episode.first_month, told.zone).first_day if episode else date.min
    by: dict[str, list[tuple[date, Screening]]] = defaultdict(list)
    for each in told.chart.screenings:
        if each.when is None or each.total is None or not each.complete or not each.scale:
            continue
        day = local_day(each.when.earliest, told.zone)
        if first <= day <= told.month.last_day:
            by[each.scale].append((day, each))
    low = told.rules.values["remission_below"]
    return tuple(
        _course(scale, sorted(found, key=lambda f: (f[0], f[1].ref)), low if scale in MOST else 0)
        for scale, found in sorted(by.items())
    )


def _course(scale: str, found: list[tuple[date, Screening]], low: int) -> Course:
    scores = [(day, s.total or 0, s.ref) for day, s in found]
    baseline = scores[0][1]
    top = max(MOST.get(scale, 0), *(score for _, score, _ in scores), 1)
    half = baseline // 2
    thresholds = [(low, "remission below")] if low else []
    if baseline and len(scores) > 1 and half >= low:
        thresholds.append((half, "response at"))
    points = tuple(
        Point(day, score, mark(score, baseline, low, is_first=i == 0), ref, _x(day, scores), _y(score, top))
        for i, (day, score, ref) in enumerate(scores)
    )
    return Course(
        scale, points, tuple((at, _y(at, top), what) for at, what in thresholds), top, _said(points, baseline, low)
    )


def mark(score: int, baseline: int, low: int, *, is_first: bool) -> str:
    """As `Point.mark`. `low`: below it is remission; 0 for a scale that has none."""
    if low and score < low:
        return "remission"
    return "response" if not is_first and baseline and score * 2 <= baseline else ""


def _said(points: tuple[Point, ...], baseline: int, low: int) -> str:
    last = points[-1]
    if last.mark == "remission":
        return f"Last score {last.score}: in remission (below {low})."
    if last.mark == "response":
        return f"Last score {last.score} of {baseline} at first: response (at least half lower)."
    if len(points) == 1:
        return f"One score: {last.score}."
    change = last.score - baseline
    if change >= 0:
        return f"Last score {last.score}, {baseline} at first: not improving."
    return f"Last score {last.score}, {baseline} at first: lower by {-change}, no response yet."


def _x(day: date, scores: list[tuple[date, int, str]]) -> float:
    first, last = scores[0][0], scores[-1][0]
    room = _WIDTH - _LEFT - _RIGHT
    days = (last - first).days
    return _LEFT + (room * (day - first).days / days if days else room / 2)


def _y(score: int, top: int) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * score / top


def ticks(course: Course) -> Iterator[tuple[int, float]]:
    """Round scores for the axis."""
    for score in range(0, course.top + 1, 5 if course.top > 10 else 2):
        yield score, _y(score, course.top)
