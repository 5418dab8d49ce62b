"""Every code in order, and every single thing that breaks it: requirement by requirement, kind by kind, pair by pair.

The tables say what must follow; tests/test_matrix.py asks whether it does, and mutation testing uses the same rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from record import Record, cocm_record, concept, g0323_record, general_record

from bhi_fhir.domain.decision import Candidate, Decision
from bhi_fhir.jobs.desk import Decided, Desk
from bhi_fhir.mapping.source import Source

NUCC = "http://nucc.org/provider-taxonomy"
SITES = Path(__file__).parents[1] / "mappings" / "sites"
DEVICE = Path(__file__).parent / "scenarios" / "site-with-a-device"
Step = Callable[[Record], Record]

KINDS = {
    "physician": "207R00000X",
    "nurse-practitioner": "363LF0000X",
    "physician-assistant": "363A00000X",
    "clinical-nurse-specialist": "364SF0001X",
    "certified-nurse-midwife": "367A00000X",
    "clinical-psychologist": "103TC0700X",
    "clinical-social-worker": "1041C0700X",
    "marriage-and-family-therapist": "106H00000X",
    "mental-health-counselor": "101YM0800X",
}
MEDICAL = tuple(KINDS)[:5]
MENTAL = tuple(KINDS)[5:]
REGISTERED_NURSE = "163W00000X"


@dataclass(frozen=True)
class Code:
    """How a patient is in order for a code, who may bill it, what blocks it, what is for review."""

    record: Callable[[], Record]
    billers: tuple[str, ...]
    block: dict[str, Step]
    review: dict[str, Step]
    performer: str = "pcp"
    never_with: tuple[str, ...] = ()
    site: Path = SITES / "example"


def without(*what: str) -> Step:
    return lambda record: record.without(*what)


def is_now(who: str, nucc: str) -> Step:
    """Somebody is of another kind."""
    return lambda record: record.change(f"{who}-role", specialty=[concept(NUCC, nucc)])


def payer(record: Record) -> Record:
    return record.without("Coverage").coverage("5")


def left(who: str) -> Step:
    return lambda record: record.leaves(who)


def apcm_by_another(record: Record) -> Record:
    return record.without("ChargeItem").person("other", "207R00000X").charge("G0557", by="other")


def cocm(minutes: int, *, later: bool = False, apcm: bool = False) -> Callable[[], Record]:
    def build() -> Record:
        record = cocm_record(episode="later" if later else "initial").work(minutes)
        return record.charge("G0557") if apcm else record

    return build


def general(minutes: int, *, apcm: bool = False) -> Callable[[], Record]:
    return lambda: general_record().work(minutes).charge("G0557") if apcm else general_record().work(minutes)


def consultation(minutes: int, kind: str = "interprofessional-consultation") -> Callable[[], Record]:
    return lambda: general_record().person("cp").work(minutes, day=16, kind=kind, by="cp")


def safety() -> Record:
    reason = [concept("http://hl7.org/fhir/sid/icd-10-cm", "R45.851")]
    return general_record().work(20, day=16, kind="safety-planning", by="pcp", reasonCode=reason)


def calls() -> Record:
    return general_record().emergency("2026-03-01T20:00", "2026-03-02T03:00").work(9, day=4, kind="crisis-follow-up")


def management(minutes: int) -> Callable[[], Record]:
    def build() -> Record:
        record = general_record().work(minutes, day=4, kind="dmht-management", by="pcp")
        return record.note("dmht-interactive-contact", day=5, by="pcp").note("dmht-device-use", day=6, by="pcp")

    return build


def supply() -> Record:
    return general_record().note("dmht-supply", day=4, by="pcp", usedCode=[concept("urn:example:device", "calm-app")])


def supplied_before(record: Record) -> Record:
    return record.note("dmht-supply", day="2026-01-08", by="pcp")


BHI = ("99492", "99493", "G2214", "99484", "G0323", "G0568", "G0569", "G0570", "G0512", "G0511")
OPENS: dict[str, Step] = {
    "eligible-condition": without("Condition"),
    "consent": without("Consent"),
    "initiating-visit": without("99214"),
    "billing-practitioner": is_now("pcp", REGISTERED_NURSE),
}
TEAM: dict[str, Step] = {"care-team": left("psych")}
SCALE: dict[str, Step] = {"rating-scale": without("QuestionnaireResponse")}
APCM: dict[str, Step] = {"apcm-base": apcm_by_another}
FIRST = ("outreach", "assessment", "care-planning", "psychiatric-review", "registry-tracking", "caseload-consultation",
         "brief-intervention")  # fmt: skip
LATER = ("registry-tracking", "caseload-consultation", "care-coordination", "progress-review", "brief-intervention")
GENERAL = ("care-planning", "treatment-coordination")


def too_short(record: Record) -> Record:
    """Four minutes of whatever the work was."""
    return record.change("maria-work-1", period=record.period(3, "10:00", 4))


def no_work(record: Record) -> Record:
    return record.without("maria-work-1")


def elements(*kinds: str) -> dict[str, Step]:
    return {kind: without(kind) for kind in kinds} | {"payer": payer}


def near_remission(record: Record) -> Record:
    return record.without("QuestionnaireResponse").scale(4)


def excludes(*but: str, also: tuple[str, ...] = ()) -> tuple[str, ...]:
    return tuple(code for code in (*BHI, *also) if code not in but)


RELAPSE: dict[str, Step] = {"relapse-prevention": near_remission}
BY_CP: dict[str, Step] = {"performer": is_now("cp", "207R00000X"), "consent": without("Consent")}
BY_PCP: dict[str, Step] = {"performer": is_now("pcp", REGISTERED_NURSE)}
DIGITAL: dict[str, Step] = {
    "interactive-contact": without("dmht-interactive-contact"),
    "device-use": without("dmht-device-use"),
}

CODES: dict[str, Code] = {
    "99492": Code(cocm(36), MEDICAL, OPENS | TEAM | SCALE | {"minutes": too_short}, elements(*FIRST),
                  never_with=excludes("99492")),
    "99493": Code(cocm(31, later=True), MEDICAL, OPENS | TEAM | {"minutes": too_short},
                  elements(*LATER) | SCALE | RELAPSE, never_with=excludes("99493")),
    "99494": Code(cocm(86), MEDICAL, OPENS | TEAM | SCALE | {"minutes": too_short}, elements(*FIRST),
                  never_with=excludes("99492", "99493")),
    "G2214": Code(cocm(16), MEDICAL, OPENS | TEAM | {"minutes": too_short}, elements(*LATER) | SCALE | RELAPSE,
                  never_with=excludes("G2214", also=("99494",))),
    "99484": Code(general(20), MEDICAL, OPENS | SCALE | {"minutes": too_short}, elements(*GENERAL),
                  never_with=excludes("99484", also=("99494",))),
    "G0323": Code(lambda: g0323_record().work(20), MENTAL,
                  {"eligible-condition": without("Condition"), "consent": without("Consent"),
                   "initiating-visit": without("90791"), "billing-practitioner": is_now("cp", "207R00000X"),
                   **SCALE, "minutes": too_short}, elements(*GENERAL), performer="cp",
                  never_with=excludes("G0323", also=("99494",))),
    "G0568": Code(cocm(5, apcm=True), MEDICAL, OPENS | TEAM | SCALE | APCM | {"minutes": no_work}, elements(*FIRST),
                  never_with=excludes("G0568", also=("99494",))),
    "G0569": Code(cocm(5, later=True, apcm=True), MEDICAL, OPENS | TEAM | APCM | {"minutes": no_work},
                  elements(*LATER) | SCALE | RELAPSE, never_with=excludes("G0569", also=("99494",))),
    "G0570": Code(general(5, apcm=True), MEDICAL, OPENS | SCALE | APCM | {"minutes": no_work}, elements(*GENERAL),
                  never_with=excludes("G0570", also=("99494",))),
    "G0546": Code(consultation(5), MENTAL, BY_CP, {}, performer="cp"),
    "G0547": Code(consultation(11), MENTAL, BY_CP, {}, performer="cp"),
    "G0548": Code(consultation(21), MENTAL, BY_CP, {}, performer="cp"),
    "G0549": Code(consultation(31), MENTAL, BY_CP, {}, performer="cp"),
    "G0550": Code(consultation(5, "interprofessional-consultation-written"), MENTAL, BY_CP | {"minutes": too_short},
                  {}, performer="cp"),
    "G0551": Code(consultation(30, "interprofessional-referral"), MENTAL, BY_CP | {"minutes": too_short}, {},
                  performer="cp"),
    "G0560": Code(safety, MEDICAL + MENTAL, BY_PCP | {"minutes": too_short},
                  {"suicide-or-overdose-risk": lambda record: record.change("maria-work-1", reasonCode=None)}),
    "G0544": Code(calls, MEDICAL + MENTAL,
                  {"emergency-discharge": lambda record: record.change("maria-emergency-1", status="in-progress")}, {}),
    "G0552": Code(supply, MEDICAL + MENTAL, BY_PCP | {"once-per-course": supplied_before},
                  {"device-clearance": lambda record: record.change("dmht-supply", usedCode=None)}, site=DEVICE),
    "G0553": Code(management(20), MEDICAL + MENTAL, BY_PCP | DIGITAL | {"minutes": too_short}, {}),
    "G0554": Code(management(40), MEDICAL + MENTAL, BY_PCP | DIGITAL | {"minutes": too_short}, {}),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One record and what the code comes to in it. `requirement` "" asks for the status only."""

    name: str
    code: str
    build: Callable[[], Record]
    status: str
    requirement: str = ""
    site: Path = SITES / "example"
    practitioner: str = ""
    """Who bills the line; "" asks nothing."""

    def decide(self) -> tuple[Desk, Decided]:
        record = self.build()
        desk = Desk.open(self.site, record.month)
        sources = [Source("row", str(i), json.dumps(r).encode()) for i, r in enumerate(record.resources)]
        return desk, desk.decide(sources)

    def wrong(self, decision: Decision) -> str:
        """What is not as expected; "" if all is."""
        found = next((c for c in decision.candidates if c.code == self.code), None)
        if found is None:
            return "no candidate"
        if found.status != self.status:
            return f"{found.status}: {[(f.requirement, f.outcome) for f in found.findings if f.open]}"
        named = {line.practitioner for line in decision.lines if line.code == self.code}
        if self.practitioner and named != {self.practitioner}:
            return f"billed by {named}"
        return self._wrong_finding(found)

    def _wrong_finding(self, found: Candidate) -> str:
        outcomes = {f.requirement: f.outcome for f in found.findings}
        if self.requirement and outcomes.get(self.requirement) != "not-met":
            return f"{self.requirement} is {outcomes.get(self.requirement)}"
        return ""


def rows() -> Iterator[Row]:
    for name, code in CODES.items():
        yield Row(f"{name} is in order", name, code.record, "billable", site=code.site)
        for requirement, step in code.block.items():
            yield broken(name, code, requirement, step, "not-billable")
        for requirement, step in code.review.items():
            yield broken(name, code, requirement, step, "needs-review")
        for kind, nucc in KINDS.items():
            yield billed_by(name, code, kind, nucc)
        for other in code.never_with:
            yield beside(name, code, other)
    for other in CODES["99494"].never_with:
        yield beside_charged_base(other)


def broken(name: str, code: Code, requirement: str, step: Step, status: str) -> Row:
    said = f"{name} without {requirement}"
    return Row(said, name, lambda: step(code.record()), status, requirement, code.site)


def billed_by(name: str, code: Code, kind: str, nucc: str) -> Row:
    def build() -> Record:
        return is_now(code.performer, nucc)(code.record())

    if name == "G0544":  # anybody may call; who bills is on the line
        said = f"{name} is billed by a {kind}"
        return Row(said, name, build, "billable", site=code.site, practitioner="Practitioner/pcp")
    status = "billable" if kind in code.billers else "not-billable"
    return Row(f"{name} by a {kind}", name, build, status, site=code.site)


def beside_charged_base(other: str) -> Row:
    """An add-on to a base that is charged already does not come to stand beside what excludes it."""

    def build() -> Record:
        return CODES["99494"].record().charge("99492").charge(other)

    return Row(f"99494 beside 99492 and {other}, both charged", "99494", build, "not-billable", "exclusivity")


def beside(name: str, code: Code, other: str) -> Row:
    return Row(f"{name} beside {other}", name, lambda: code.record().charge(other), "not-billable", "exclusivity")
