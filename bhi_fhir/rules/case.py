"""What a requirement may look at, and how absence is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from bhi_fhir.domain.record import Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.policy import Code, Rules, Switches, policy
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.course import Course
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.services.work import Work


@dataclass(slots=True)
class Case:
    """One code for one patient's month: all that a requirement may look at."""

    patient: PatientMonth
    code: Code
    course: Course | None = None
    """For monthly BHI codes."""
    work: Work | None = None
    """For services of a day and the other related services."""
    chart: Chart = field(init=False)
    month: ServiceMonth = field(init=False)
    rules: Rules = field(init=False)
    switches: Switches = field(init=False)

    def __post_init__(self) -> None:
        asked = self.patient
        self.chart, self.month, self.rules, self.switches = asked.chart, asked.month, asked.rules, asked.switches

    @property
    def track(self) -> Course:
        assert self.course is not None, self.code.code
        return self.course

    def default(self, switch: str) -> object:
        """What the switch is where a site says nothing: a finding says when that was changed."""
        return policy().switches[switch].default

    def absent(self, because: str, *parts: str, evidence: Iterable[str] = ()) -> Answer:
        """Nothing fits: not met where these parts of the record were read whole, else unknown."""
        reason = self.chart.lacks(*parts)
        return Answer("unknown", reason, tuple(evidence)) if reason else Answer("not-met", because, tuple(evidence))


Requirement = Callable[[Case], Answer]


def refs(facts: Iterable[object]) -> tuple[str, ...]:
    return tuple(sorted({fact.ref for fact in facts}))  # type: ignore[attr-defined]
