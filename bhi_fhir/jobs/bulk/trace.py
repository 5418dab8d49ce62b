"""One decision with its evidence as a line of NDJSON, and back.

The line is the result of `evaluate --format json`, with each finding once: candidates name findings by their place in
`findings`. `facts` is what of the chart `explain` tells: the teams, and what the findings rest on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from bhi_fhir.domain.decision import Candidate, Decision, Episode, Finding, Line, Minutes, Status
from bhi_fhir.domain.record import Activity, Chart, Consent, Screening, Team, Visit
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.errors import UsageError
from bhi_fhir.policy.model import RULESET


class _Facts(msgspec.Struct):
    teams: tuple[Team, ...]
    activities: tuple[Activity, ...]
    visits: tuple[Visit, ...]
    consents: tuple[Consent, ...]
    screenings: tuple[Screening, ...]


class _Candidate(msgspec.Struct):
    code: str
    status: Status
    units: int
    findings: list[int]


class _Trace(msgspec.Struct):
    month: str
    ruleset: str
    patient: str
    program: str | None
    episode: Episode | None
    minutes: Minutes
    lines: tuple[Line, ...]
    candidates: list[_Candidate]
    findings: list[Finding]
    withheld: tuple[str, ...]
    warnings: tuple[str, ...]
    facts: _Facts


_ENCODER = msgspec.json.Encoder(order="deterministic")
_DECODER = msgspec.json.Decoder(_Trace)


def trace(decision: Decision, chart: Chart, month: ServiceMonth) -> bytes:
    every = {id(finding): finding for candidate in decision.candidates for finding in candidate.findings}
    places = {found: place for place, found in enumerate(every)}  # codes share the very same finding
    candidates = [
        _Candidate(c.code, c.status, c.units, [places[id(finding)] for finding in c.findings])
        for c in decision.candidates
    ]
    line = _Trace(
        str(month),
        RULESET,
        decision.patient,
        decision.program,
        decision.episode,
        decision.minutes,
        decision.lines,
        candidates,
        list(every.values()),
        decision.withheld,
        decision.warnings,
        _facts(decision, every.values(), chart, month),
    )
    return _ENCODER.encode(line) + b"\n"


def _facts(decision: Decision, findings: Iterable[Finding], chart: Chart, month: ServiceMonth) -> _Facts:
    rests_on = {*decision.minutes.sources, *(piece.source for piece in decision.minutes.not_counted)}
    rests_on.update(*[finding.evidence for finding in findings])
    return _Facts(
        teams=chart.teams,
        activities=tuple(a for a in chart.activities if a.ref in rests_on or _is_review(a, month)),
        visits=tuple(v for v in chart.visits if v.ref in rests_on),
        consents=tuple(c for c in chart.consents if c.ref in rests_on),
        screenings=tuple(s for s in chart.screenings if s.ref in rests_on),
    )


def _is_review(activity: Activity, month: ServiceMonth) -> bool:
    """The consultant's review is told also where the code does not ask for it."""
    return "psychiatric-review" in activity.kinds and month.holds(activity.when)


def is_trace(name: str) -> bool:
    """A file of such lines; anything that is not is a record."""
    if name == "-" or not Path(name).is_file():
        return False
    with Path(name).open("rb") as stream:
        start = stream.read(200)
    return start.startswith(b'{"') and b'"ruleset":"' in start and b'"month":"' in start


def read_traces(name: str, month: ServiceMonth, patient: str = "") -> Iterator[tuple[Decision, Chart]]:
    """The decisions of a file, or one patient's. UsageError for another month's."""
    wanted = f'"patient":{msgspec.json.encode(patient).decode()}'.encode() if patient else b""
    with Path(name).open("rb") as stream:
        for number, line in enumerate(stream, 1):
            if wanted in line:
                yield _read(name, number, line, month)


def _read(name: str, number: int, line: bytes, month: ServiceMonth) -> tuple[Decision, Chart]:
    try:
        found = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{name}, line {number}: it is no decision of this version of bhi-fhir bulk") from error
    if found.month != str(month):
        raise UsageError(f"{name} holds decisions of {found.month}: ask with --month {found.month}")
    candidates = tuple(
        Candidate(c.code, c.status, c.units, tuple(found.findings[place] for place in c.findings))
        for c in found.candidates
    )
    decision = Decision(
        found.patient,
        found.program,
        found.episode,
        found.minutes,
        found.lines,
        candidates,
        found.withheld,
        found.warnings,
    )
    facts: dict[str, Any] = msgspec.structs.asdict(found.facts)
    return decision, Chart(found.patient, **facts)
