"""What is charged already in the month, and by whom."""

from __future__ import annotations

from collections.abc import Collection

from bhi_fhir.domain.record import Charge, Chart
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.rules.answer import Answer
from bhi_fhir.rules.case import Case, refs

UNREADABLE = "a charge is on file whose code cannot be read"


def apcm_base(case: Case) -> Answer:
    """The same practitioner bills an APCM base code in the same month."""
    known, doubtful = charged(case.chart, case.month, case.code.apcm_bases)
    mine = set(case.track.billing.people)
    same = [c for c in known if c.practitioners & mine]
    if same and case.track.billing.practitioner:
        held = case.switches.apcm_path == "hold"
        said = f"{same[0].code} is charged by the same practitioner"
        if held:
            return Answer("unknown", f"{said}; the site holds add-ons for a person (apcm_path = hold)", refs(same))
        return Answer("met", said, refs(same))
    doubtful = [c for c in doubtful if c.code or not c.practitioners or c.practitioners & mine]
    unsaid = [c for c in known if not c.practitioners] + doubtful + (same if mine else [])
    if unsaid:
        readable = [c for c in unsaid if c.code]
        if not readable:
            return Answer("unknown", UNREADABLE)  # without evidence: it moves no month to the add-on
        return Answer("unknown", "an APCM charge is on file that does not say by whom or when", refs(readable))
    missing = case.chart.lacks("ChargeItem", "Claim") or (not mine and case.chart.lacks("CareTeam"))
    if known and missing:
        return Answer("unknown", missing, refs(known))
    if known:
        return Answer("not-met", "APCM is charged by another practitioner", refs(known))
    return case.absent("no APCM base code is charged in the month", "ChargeItem", "Claim")


def charged(chart: Chart, month: ServiceMonth, codes: Collection[str]) -> tuple[list[Charge], list[Charge]]:
    """Charges of these codes: (surely of this month, perhaps of this month). A code that cannot be read may be any."""
    known: list[Charge] = []
    doubtful: list[Charge] = []
    for charge in chart.charges:
        if charge.code and charge.code not in codes:
            continue
        if charge.when is None:
            doubtful.append(charge)
        elif charge.when.meets(month.span):
            # A period that began in another month may be that month's charge.
            sure = charge.code and month.holds(charge.when.start) and not charge.doubt
            (known if sure else doubtful).append(charge)
    return known, doubtful
