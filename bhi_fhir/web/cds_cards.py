"""The card of `patient-view`: how far the month is, from the last sync. Minutes and codes, never a diagnosis."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from bhi_fhir.domain.decision import Decision
from bhi_fhir.jobs.table import status_of
from bhi_fhir.web.kept import Kept
from bhi_fhir.web.pages.rows import Row, row

_LONGEST = 139
"""CDS Hooks 2.0: a summary is shorter than 140 characters."""
_SOON = timedelta(days=7)
"""Ours, no rule of CMS: what is missing warns while a week is left in which it can still be done."""
_STALE = timedelta(days=3)
"""Ours too: where nothing runs at the weekend, Friday's record is not late on Monday."""

Json = dict[str, Any]


@dataclass(frozen=True)
class Board:
    """What all cards of one moment share. `launch`: where the clinician's page is launched, "" without one."""

    month: str
    last_day: date
    today: date
    zone: ZoneInfo
    launch: str
    label: str


def card(board: Board, kept: Kept) -> Json:
    decision = kept.month.decision
    if decision is None:
        return unknown(board, "The record could not be read by the last sync.")
    if decision.withheld:
        return unknown(board, "Part of the record was withheld from the last sync, so the month is not decided.")
    each = row(kept)
    as_of = kept.read_at.astimezone(board.zone)
    days = (board.last_day - board.today).days
    detail = [_missing(each), _days(days), f"As the record was on {as_of:%Y-%m-%d %H:%M}; later entries are not in it."]
    late = board.today - as_of.date() > _STALE
    if late:
        detail.append(f"**That is more than {_STALE.days} days ago: the nightly run may have stopped.**")
    urgent = each.status != "billable" and timedelta(days=days) <= _SOON
    return _card(
        board, _summary(each, decision), " ".join(filter(None, detail)), "warning" if urgent or late else "info"
    )


def unknown(board: Board, why: str) -> Json:
    """It is not known how the month stands, and that is what it says."""
    return _card(board, f"BHI {board.month}: not known", f"{why} This says nothing about what was done.", "info")


def _card(board: Board, summary: str, detail: str, indicator: str) -> Json:
    said: Json = {
        "uuid": str(uuid4()),
        "summary": summary[:_LONGEST],
        "detail": detail,
        "indicator": indicator,
        "source": {"label": board.label},
    }
    if board.launch:
        said["links"] = [{"label": "Open the month", "url": board.launch, "type": "smart"}]
    return said


def _summary(each: Row, decision: Decision) -> str:
    said = f"BHI: {each.minutes} {'minute' if each.minutes == 1 else 'minutes'}"
    if status_of(decision) == "charged":
        said += ", charged already"
    elif status_of(decision) != "nothing":
        said += f", {each.codes} {'supported' if each.status == 'billable' else 'for a person to decide'}"
    if each.missing is not None:
        said += f", {each.missing} more to {each.next_code}"
    return said


def _missing(each: Row) -> str:
    if each.elements:
        return f"Not documented: {', '.join(each.elements)}."
    return f"{each.reason[:1].upper()}{each.reason[1:]}." if each.reason else "Nothing else is missing."


def _days(days: int) -> str:
    return {0: "This is the month's last day.", 1: "One day is left."}.get(days, f"{days} days are left.")
