"""Every scenario and golden record as a function that says whether its answer is still the expected one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matrix
import test_scenarios as table

from bhi_fhir.domain.decision import Decision
from bhi_fhir.jobs.desk import Decided, Desk
from bhi_fhir.mapping.chart import charts
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source
from bhi_fhir.policy import Rules
from bhi_fhir.rules import decide as rules

Trial = Callable[[dict[int, Rules] | None], bool]
"""Takes the rules of each month (`ServiceMonth.index`), or None for those that ship."""
GOLDEN = Path(__file__).parents[1] / "golden"


def trials() -> Iterator[Trial]:
    """Records are read once; what is tried again and again is only the rules."""
    for param in table.scenarios():
        yield scenario(param.values[0])
    for row in matrix.rows():
        yield from_matrix(row)
    for file in sorted((GOLDEN / "cases").glob("*.expected.json")):
        yield golden(file)


def scenario(row: dict[str, Any]) -> Trial:
    desk, first = table.decide(row)
    [(_, chart)] = first.decisions

    def holds(by_month: dict[int, Rules] | None = None) -> bool:
        again = rules.decide(chart, desk.month, _of(by_month, desk), desk.site.switches)
        return explained(again) and not table.wrong(row, Decided(((again, chart),), first.set_aside))

    return holds


def explained(decision: Decision) -> bool:
    """Every finding has its sentence and its source, every piece that does not count its reason in words."""
    findings = [f for c in decision.candidates for f in c.findings]
    said = [f.because for f in findings] + [f.cite for f in findings]
    said += [n.because for n in decision.minutes.not_counted]
    return all(isinstance(text, str) and text for text in said)


def from_matrix(row: matrix.Row) -> Trial:
    desk, first = row.decide()
    [(_, chart)] = first.decisions

    def holds(by_month: dict[int, Rules] | None = None) -> bool:
        return not row.wrong(rules.decide(chart, desk.month, _of(by_month, desk), desk.site.switches))

    return holds


def _of(by_month: dict[int, Rules] | None, desk: Desk) -> Rules:
    return by_month[desk.month.index] if by_month is not None else desk.rules


def golden(file: Path) -> Trial:
    answer = json.loads(file.read_text())
    name = file.name.replace(".expected.", ".bundle.")
    overrides = [f"{k}={json.dumps(v)}" for k, v in answer.get("set", {}).items()]
    desk = Desk.open(GOLDEN / "site", answer["month"], overrides)
    record = Record.read([Source(name, "", file.with_name(name).read_bytes())])
    [chart] = charts(record, Reading(record, desk.terms, Clock(desk.site.zone), desk.reading)).charts

    def holds(by_month: dict[int, Rules] | None = None) -> bool:
        decision = rules.decide(chart, desk.month, _of(by_month, desk), desk.site.switches)
        lines = {s: {x.code: x.units for x in decision.lines if x.status == s} for s in ("billable", "needs-review")}
        return lines == {"billable": answer["billable"], "needs-review": answer["review"]}

    return holds
