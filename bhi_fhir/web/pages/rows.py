"""The rows of the caseload: what of each patient's month a care manager or biller works on next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, timedelta

from bhi_fhir.delivery.folder import sheet
from bhi_fhir.domain.decision import Candidate
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.jobs.explain_missing import ELEMENTS
from bhi_fhir.jobs.people import NOBODY, Patient
from bhi_fhir.jobs.table import codes_of, first_reason, leading, status_of
from bhi_fhir.jobs.telling import plain
from bhi_fhir.web.kept import Kept
from bhi_fhir.web.pages.course import MOST, mark

FAILED = "not read"
STATUSES = {
    "billable": "supported",
    "needs-review": "to decide",
    "charged": "charged already",
    "nothing": "not supported",
    FAILED: "not read",
}
REVIEW = ("psychiatric-review", "caseload-consultation")
SORTS = ("status", "minutes", "missing", "elements", "review", "contact", "improving", "patient")
FROM_THE_TOP = frozenset({"minutes", "elements", "review", "contact", "improving"})
"""What begins with the most of it."""
_TO_IMPROVE = timedelta(weeks=8)
"""So long a treatment has before a score that has not fallen enough is called not improving. No rule of CMS: who does
not respond is due for psychiatric consultation in weeks 8 to 12 (Psychiatric Services appi.ps.201400577).
"""
_ORDER = {FAILED: 0, "needs-review": 1, "nothing": 2, "charged": 3, "billable": 4}


@dataclass(frozen=True)
class Row:
    """`missing`: minutes to the next code, where minutes alone would reach it. `elements`: what is not documented.

    `last_contact`: a day, "2026-03-04"; `silent`: days since then. `scores`: (scale, day, total) of the episode;
    `not_improving`: first and last of the scales that neither respond nor remit. `silent` and `not_improving` are of a
    day: `followed`.
    """

    key: str
    patient: str
    status: str
    codes: str
    minutes: int
    missing: int | None
    next_code: str
    elements: tuple[str, ...]
    review_due: bool
    reason: str
    read_at: datetime
    last_contact: str = ""
    scores: tuple[tuple[str, str, int], ...] = ()
    silent: int | None = None
    not_improving: str = ""
    who: Patient = NOBODY

    @property
    def said(self) -> str:
        return STATUSES[self.status]

    @property
    def besides(self) -> str:
        """The first reason, where what is not documented does not say it already."""
        return "" if plain(self.reason.partition(":")[0]) in self.elements else self.reason

    @property
    def shown(self) -> str:
        return self.who.name or self.patient

    @property
    def name(self) -> tuple[str, str]:
        """As lists are sorted: by the family name, which stands last, and who has the same by reference."""
        return self.who.name.rpartition(" ")[2].casefold() + self.who.name.casefold(), self.patient

    @property
    def has_no_contact(self) -> bool:
        """The record was read and holds none."""
        return self.status != FAILED and not self.last_contact


def row(kept: Kept) -> Row:
    month, decision = kept.month, kept.month.decision
    if decision is None:
        return Row(kept.key, month.patient, FAILED, "", 0, None, "", (), False, month.failed, kept.read_at)
    chosen = leading(decision)
    opened = [f.requirement for f in chosen.findings if f.open and f.requirement in ELEMENTS] if chosen else []
    ahead = decision.minutes.next if _minutes_help(chosen) else None
    first_month = decision.episode.first_month if decision.episode else ""
    return Row(
        key=kept.key,
        patient=month.patient,
        status=status_of(decision),
        codes=codes_of(decision),
        minutes=decision.minutes.counted,
        missing=ahead.missing if ahead else None,
        next_code=ahead.code if ahead else "",
        elements=tuple(plain(name) for name in opened),
        review_due=any(name in REVIEW for name in opened),
        reason="" if status_of(decision) == "billable" else first_reason(decision),
        read_at=kept.read_at,
        last_contact=month.last_contact,
        scores=tuple(each for each in month.scores if each[1][:7] >= first_month),
        who=month.who,
    )


def followed(each: Row, as_of: date, low: int) -> Row:
    """With contact and course as of the day on which the list is shown.

    `low`: the score below which PHQ-9 and GAD-7 are in remission.
    """
    said = each.last_contact
    return replace(
        each,
        silent=max((as_of - date.fromisoformat(said)).days, 0) if said else None,
        not_improving="; ".join(_not_improving(each, low)),
    )


def _not_improving(each: Row, low: int) -> Iterator[str]:
    for scale in sorted(MOST):
        mine = [(day, total) for name, day, total in each.scores if name == scale]
        if not mine:
            continue
        (began, first), (day, last) = mine[0], mine[-1]
        has_time = date.fromisoformat(day) - date.fromisoformat(began) >= _TO_IMPROVE
        if has_time and not mark(last, first, low, is_first=False):
            yield f"{scale.upper()} {first} to {last}"


def _minutes_help(chosen: Candidate | None) -> bool:
    return not (chosen and any(f.blocks and f.requirement != "minutes" for f in chosen.findings))


@dataclass(frozen=True)
class Filter:
    """Which rows, in which order. `within`: at most so many minutes to the next code; `review`: only those due.

    `silent`: no contact for so many days; `stuck`: only those not improving; `back`: the last comes first.
    """

    status: str = ""
    within: int | None = None
    element: str = ""
    review: bool = False
    silent: int | None = None
    stuck: bool = False
    sort: str = "status"
    back: bool = False

    @classmethod
    def read(cls, given: dict[str, str]) -> Filter:
        """What is not understood does not filter."""
        return cls(
            status=given.get("status", "") if given.get("status") in STATUSES else "",
            within=number(given.get("within", "")),
            element=given.get("element", "")[:40],
            review=given.get("review") == "1",
            silent=number(given.get("silent", "")),
            stuck=given.get("stuck") == "1",
            sort=given.get("sort", "") if given.get("sort") in SORTS else "status",
            back=given.get("back") == "1",
        )

    @property
    def said(self) -> dict[str, str | int]:
        """As an address has it: only what filters or sorts otherwise than by itself."""
        chosen = {each.name: getattr(self, each.name) for each in fields(self)}
        plain = {each.name: each.default for each in fields(self)}
        return {name: 1 if value is True else value for name, value in chosen.items() if value != plain[name]}

    def choose(self, rows: Iterable[Row]) -> list[Row]:
        found = sorted(filter(self._fits, rows), key=_KEYS[self.sort])
        return found[::-1] if self.back else found

    def _fits(self, each: Row) -> bool:
        return (
            self.status in ("", each.status)
            and (self.within is None or (each.missing is not None and each.missing <= self.within))
            and (not self.element or self.element in each.elements)
            and (not self.review or each.review_due)
            and (self.silent is None or each.has_no_contact or (each.silent is not None and each.silent >= self.silent))
            and (not self.stuck or bool(each.not_improving))
        )


def number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else None


_KEYS = {
    "status": lambda r: (_ORDER[r.status], r.missing if r.missing is not None else 9_999, r.name),
    "minutes": lambda r: (-r.minutes, r.name),
    "missing": lambda r: (r.missing if r.missing is not None else 9_999, r.name),
    "elements": lambda r: (-len(r.elements), r.name),
    "contact": lambda r: (not r.has_no_contact, -r.silent if r.silent is not None else 9_999, r.name),
    "improving": lambda r: (not r.not_improving, r.not_improving, r.name),
    "review": lambda r: (not r.review_due, r.name),
    "patient": lambda r: r.name,
}


def as_csv(rows: Iterable[Row], month: ServiceMonth, today: date) -> str:
    left = max((month.last_day - today).days, 0)
    cells = (
        (month, today, left, r.patient, r.who.name, r.who.born, r.who.number, r.said, r.codes, r.minutes,
         _or_empty(r.missing), r.next_code, "; ".join(r.elements), "due" if r.review_due else "", r.reason,
         r.last_contact, _or_empty(r.silent), r.not_improving)
        for r in rows
    )  # fmt: skip
    return sheet([_COLUMNS, *(tuple(map(str, each)) for each in cells)])


_COLUMNS = (
    *("month", "as of", "days left", "patient", "name", "born", "number", "status", "codes", "minutes", "to next"),
    *("next code", "not documented", "psychiatric review", "reason", "last contact", "days since", "not improving"),
)


def _or_empty(number: int | None) -> int | str:
    return "" if number is None else number
