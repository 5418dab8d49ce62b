"""The rows of the caseload: what of each patient's month a care manager or biller works on next."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from bhi_fhir.domain.decision import Candidate, Decision
from bhi_fhir.jobs.explain_missing import ELEMENTS
from bhi_fhir.jobs.table import first_reason, leading, status_of
from bhi_fhir.jobs.telling import plain
from bhi_fhir.web.kept import Kept, Month
from bhi_fhir.web.pages.course import MOST, mark
from bhi_fhir.web.people import Patient

FAILED = "not read"
STATUSES = {
    "billable": "supported",
    "needs-review": "to decide",
    "nothing": "not supported",
    FAILED: "not read",
}
REVIEW = ("psychiatric-review", "caseload-consultation")
SORTS = ("status", "minutes", "missing", "elements", "contact", "improving", "patient")
_TO_IMPROVE = timedelta(weeks=8)
"""So long a treatment has before a score that has not fallen enough is called not improving."""
_ORDER = {FAILED: 0, "needs-review": 1, "nothing": 2, "billable": 3}


@dataclass(frozen=True)
class Row:
    """`missing`: minutes to the next code, where minutes alone would reach it. `elements`: what is not documented.

    `last_contact`: a day, "2026-03-04"; `silent`: days since then. `not_improving`: first and last score of the scales
    that neither respond nor remit.
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
    last_contact: str = ""
    silent: int | None = None
    not_improving: str = ""
    who: Patient = field(default_factory=Patient)

    @property
    def said(self) -> str:
        return STATUSES[self.status]

    @property
    def shown(self) -> str:
        return self.who.name or self.patient

    @property
    def has_no_contact(self) -> bool:
        """The record was read and holds none."""
        return self.status != FAILED and not self.last_contact


def row(kept: Kept) -> Row:
    decision = kept.month.decision
    if decision is None:
        return Row(kept.key, kept.month.patient, FAILED, "", 0, None, "", (), False, kept.month.failed)
    chosen = leading(decision)
    opened = [f.requirement for f in chosen.findings if f.open and f.requirement in ELEMENTS] if chosen else []
    ahead = decision.minutes.next if _minutes_help(chosen) else None
    return Row(
        key=kept.key,
        patient=kept.month.patient,
        status=status_of(decision),
        codes=_codes(decision),
        minutes=decision.minutes.counted,
        missing=ahead.missing if ahead else None,
        next_code=ahead.code if ahead else "",
        elements=tuple(plain(name) for name in opened),
        review_due=any(name in REVIEW for name in opened),
        reason="" if status_of(decision) == "billable" else first_reason(decision),
    )


def followed(kept: Kept, as_of: date, low: int) -> Row:
    """With contact and course as of a day. `low`: the score below which PHQ-9 and GAD-7 are in remission."""
    said = kept.month.last_contact
    return replace(
        row(kept),
        last_contact=said,
        silent=max((as_of - date.fromisoformat(said)).days, 0) if said else None,
        not_improving="; ".join(_not_improving(kept.month, low)),
    )


def _not_improving(month: Month, low: int) -> Iterator[str]:
    episode = month.decision.episode if month.decision else None
    first_month = episode.first_month if episode else ""
    for scale in sorted(MOST):
        mine = [(day, total) for name, day, total in month.scores if name == scale and day[:7] >= first_month]
        if not mine:
            continue
        (began, first), (day, last) = mine[0], mine[-1]
        has_time = date.fromisoformat(day) - date.fromisoformat(began) >= _TO_IMPROVE
        if has_time and not mark(last, first, low, is_first=False):
            yield f"{scale.upper()} {first} to {last}"


def _minutes_help(chosen: Candidate | None) -> bool:
    return not (chosen and any(f.blocks and f.requirement != "minutes" for f in chosen.findings))


def _codes(decision: Decision) -> str:
    return ", ".join(f"{line.code} × {line.units}" for line in decision.lines)


@dataclass(frozen=True)
class Filter:
    """Which rows, in which order. `within`: at most so many minutes to the next code; `review`: only those due.

    `silent`: no contact for so many days; `stuck`: only those not improving.
    """

    status: str = ""
    within: int | None = None
    element: str = ""
    review: bool = False
    silent: int | None = None
    stuck: bool = False
    sort: str = "status"

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
        )

    def choose(self, rows: Iterable[Row]) -> list[Row]:
        return sorted(filter(self._fits, rows), key=_KEYS[self.sort])

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
    "status": lambda r: (_ORDER[r.status], r.missing if r.missing is not None else 9_999, r.patient),
    "minutes": lambda r: (-r.minutes, r.patient),
    "missing": lambda r: (r.missing if r.missing is not None else 9_999, r.patient),
    "elements": lambda r: (-len(r.elements), r.patient),
    "contact": lambda r: (not r.has_no_contact, -r.silent if r.silent is not None else 9_999, r.patient),
    "improving": lambda r: (not r.not_improving, r.not_improving, r.patient),
    "patient": lambda r: r.patient,
}


def as_csv(rows: Iterable[Row], month: str, today: date) -> str:
    """For a spreadsheet: what would start a formula there is quoted."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ("month", "as of", "patient", "status", "codes", "minutes", "to next", "next code", "not documented", "reason",
         "last contact", "days since", "not improving")
    )  # fmt: skip
    for r in rows:
        cells = (month, today, r.patient, r.said, r.codes, r.minutes, "" if r.missing is None else r.missing,
                 r.next_code, "; ".join(r.elements), r.reason, r.last_contact, "" if r.silent is None else r.silent,
                 r.not_improving)  # fmt: skip
        writer.writerow(_harmless(str(cell)) for cell in cells)
    return out.getvalue()


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
