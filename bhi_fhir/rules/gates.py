"""Which of the month's work counts by consent and initiating visit, and once where entries overlap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from operator import attrgetter

from bhi_fhir.domain.time import Span, intersect, length, subtract, union
from bhi_fhir.rules.permission import Permission
from bhi_fhir.rules.pieces import Piece
from bhi_fhir.rules.tally import Tally

_ORDER: Callable[[Piece], tuple[datetime, datetime, str]] = attrgetter("begins", "ends", "activity.ref")


def gate_consent(tally: Tally, permission: Permission) -> None:
    """Work before consent or after its end counts nothing; where there is no certain consent all is shown."""
    if not permission.certain:
        return
    pieces, tally.pieces = tally.pieces, []
    for piece in pieces:
        if not piece.spans:
            _gate_floating(tally, piece, permission)
            continue
        for start, end in permission.certain:
            if start < piece.begins and piece.ends < end:
                tally.pieces.append(piece)
                break
        else:
            _gate_spans(tally, piece, permission)
    begun = permission.possible[0][0]
    tally.cut_unread(lambda _, spans: _beyond(spans, begun), "before-consent")
    tally.cut_unread(lambda _, spans: [s for w in permission.possible for s in intersect(spans, w)], "after-revocation")


def _beyond(spans: Iterable[Span], start: datetime) -> list[Span]:
    """What of them lies after an instant, or at it."""
    return [(max(opens, start), closes) for opens, closes in spans if start < closes or start <= opens]


def _gate_spans(tally: Tally, piece: Piece, permission: Permission) -> None:
    sure = union(s for window in permission.certain for s in intersect(piece.spans, window))
    rest = subtract(piece.spans, sure)
    perhaps = union(s for window in permission.possible for s in intersect(rest, window))
    if sure:
        tally.pieces.append(Piece(piece.activity, tuple(sure)))
    if perhaps:
        tally.uncertain.append(Piece(piece.activity, tuple(perhaps)))
    for span in subtract(rest, perhaps):
        tally.drop(piece.activity, length([span]), _side(span, permission))


def _gate_floating(tally: Tally, piece: Piece, permission: Permission) -> None:
    when = piece.activity.when
    assert when is not None
    day = (when.earliest, when.latest)
    if any(start <= day[0] and day[1] <= end for start, end in permission.certain):
        tally.pieces.append(piece)
    elif any(intersect([day], window) for window in permission.possible):
        tally.uncertain.append(piece)
    else:
        tally.drop(piece.activity, piece.floating, _side(day, permission))


def _side(span: Span, permission: Permission) -> str:
    return "before-consent" if span[1] <= permission.certain[0][0] else "after-revocation"


def keep_uncertain(tally: Tally, counts: bool) -> None:
    """Work of the day of a consent without time: counted where the answer is unknown anyway, else left out."""
    for piece in tally.uncertain:
        if counts:
            tally.pieces.append(piece)
        else:
            tally.drop(piece.activity, piece.counted, "before-consent", "the consent of that day has no time")
    tally.uncertain = []


def gate_visit(tally: Tally, start: datetime) -> None:
    """Work before the initiating visit counts nothing."""
    if all(piece.begins >= start for piece in tally.pieces):
        return
    pieces, tally.pieces = tally.pieces, []
    for piece in pieces:
        if piece.begins >= start:
            tally.pieces.append(piece)
        elif piece.spans:
            before = [s for span in piece.spans for s in intersect([span], (span[0], max(span[0], start)))]
            tally.drop(piece.activity, length(before), "before-visit")
            after = subtract(piece.spans, before)
            if after:
                tally.pieces.append(Piece(piece.activity, tuple(after)))
        elif piece.activity.when is None or piece.activity.when.latest <= start:
            tally.drop(piece.activity, piece.floating, "before-visit")
        else:
            tally.pieces.append(piece)


def gate_unread(tally: Tally, opens: datetime) -> None:
    """Nor does work before the first visit that may open it, whatever could be read of it."""
    tally.cut_unread(lambda _, spans: _beyond(spans, opens), "before-visit")


def gate_overlap(tally: Tally) -> None:
    """A minute counts once; the earlier start gets the credit."""
    pieces, tally.pieces = sorted(tally.pieces, key=_ORDER), []
    taken: list[Span] = []
    for piece in pieces:
        if not piece.spans:
            tally.pieces.append(piece)
            continue
        taken = [span for span in taken if span[1] > piece.begins]  # what ended before lies before all that follow
        if not taken:
            tally.pieces.append(piece)
            taken += piece.spans
            continue
        left = subtract(piece.spans, taken)
        tally.drop(piece.activity, length(piece.spans) - length(left), "overlap")
        taken = union([*taken, *left])
        if left:
            tally.pieces.append(Piece(piece.activity, tuple(left)))
    counted = [span for piece in tally.pieces for span in piece.spans]
    tally.cut_unread(lambda _, spans: subtract(spans, counted), "overlap")
