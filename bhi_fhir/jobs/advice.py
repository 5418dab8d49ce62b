"""What to document: for each requirement that is open, and for each reason why time does not count."""

from __future__ import annotations

from bhi_fhir.domain.decision import Finding, NotCounted, Status
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.jobs.telling import Told, sentence, time_of_piece

_ASK_FOR_MAP = "ask whoever keeps the site's maps (bhi-fhir mappings report)"
_ELEMENT = "enter it if it was done (finished, in the month, by a member of the team)"
_OF_CONSULTANT = "enter it if it was done (finished, in the month, by the consultant)"

HELP = {
    "eligible-condition": "enter the behavioral health diagnosis by its ICD-10-CM code, confirmed, with its onset",
    "consent": "enter the consent as it was given: when, for the billing practitioner, with what the patient was told",
    "initiating-visit": "enter the visit with the billing practitioner: finished, with its date and its billing code",
    "billing-practitioner": "name one treating practitioner on the care team, with a specialty that may bill",
    "care-team": "name treating practitioner, care manager and psychiatric consultant on the team, with specialty",
    "episode-month": "make the time of the earlier entries readable: it says which month is the first",
    "minutes": "give the entries that cannot be read their start, end and person",
    "rating-scale": "enter the rating scale if it was answered in full in the month",
    "exclusivity": "settle which charge of the month stands",
    "payer": "correct the coverage, or ask the other payer for its rules",
    "apcm-base": "have the same practitioner's APCM charge of the month entered, by name and date",
    "outreach": _ELEMENT,
    "assessment": _ELEMENT,
    "care-planning": _ELEMENT,
    "psychiatric-review": _OF_CONSULTANT,
    "registry-tracking": _ELEMENT,
    "caseload-consultation": _ELEMENT,
    "brief-intervention": _ELEMENT,
    "care-coordination": _ELEMENT,
    "progress-review": _ELEMENT,
    "relapse-prevention": _ELEMENT,
    "treatment-coordination": _ELEMENT,
    "continuity": "enter the month's work with the member of the team who did it",
    "performer": "name who performed it, with specialty, and on the care team if it is the treating practitioner's",
    "emergency-discharge": "enter the emergency visit, finished, with the time of its end",
    "follow-up-call": "enter each call as finished, with its date",
    "suicide-or-overdose-risk": "enter the risk as a diagnosis or as the reason of the session",
    "once-per-course": "settle whether this is another course of treatment",
    "device-clearance": "check the device's FDA clearance and add it to the site's list of devices",
    "interactive-contact": "enter the contact with patient or caregiver if there was one, finished and dated",
    "device-use": "enter that the patient uses the device if that is so, dated",
    "policy-verified": "somebody re-reads the source and moves verified_through",
}
"""requirement -> what would settle it"""

REMEDY = {
    "administrative": "stays out; if care was given in it too, enter that time by itself",
    "not-on-team": "counts once the person is on the care team for that time, if that is so",
    "wrong-role": "counts only for a role and a kind of work whose time counts; correct either if it is wrong",
    "before-consent": "stays out, unless the consent was given earlier than it says",
    "before-visit": "stays out, unless the visit was earlier than it says",
    "after-revocation": "stays out; a new consent counts from its own time on",
    "overlap": "stays out, a minute counts once; correct the times if they are wrong",
    "not-finished": "counts once the entry is finished, if it was done",
    "other-service": "stays out, it is charged as that service; correct the code if it is wrong",
    "inpatient": "stays out by the site's policy (count_inpatient_minutes); correct the stay if it is wrong",
    "outside-month": "belongs to the month in which it was",
    "outside-episode": "counts once the episode of care covers that time, if that is so",
    "unreadable": "counts once start and end (or length), person, kind and status can be read",
}
"""reason -> what would make such time count"""


def to_settle(told: Told, finding: Finding, status: Status) -> str:
    """What would settle an open finding; only what waits for a person can be attested."""
    answer = _answer(told, finding)
    can_be_attested = status == "needs-review" and answer in (_ELEMENT, _OF_CONSULTANT)
    return f"{answer}, or attest it" if can_be_attested else answer


def _answer(told: Told, finding: Finding) -> str:
    if finding.requirement == "policy-verified":
        return _verified(told) or HELP[finding.requirement]
    if finding.requirement != "minutes" or finding.outcome != "unknown":
        return HELP[finding.requirement]
    unmapped = {told.is_unmapped(ref) for ref in finding.evidence}
    said = {True: f"where the code is in no map, {_ASK_FOR_MAP}", False: HELP["minutes"]}
    return _ASK_FOR_MAP if unmapped == {True} else "; ".join(said[known] for known in sorted(unmapped or {False}))


def _verified(told: Told) -> str:
    """For a month before the policy begins: nothing is there to re-read; "" for a later month."""
    spans = [code.verified for code in told.rules.codes.values()]
    first, last = max(s[0] for s in spans), min(s[1] for s in spans)
    if told.month.index >= first:
        return ""
    return f"verified {ServiceMonth(first, told.zone)} to {ServiceMonth(last, told.zone)}, no earlier month is drafted"


def to_count(told: Told, piece: NotCounted) -> str:
    """Time that does not count, why, and what would make it count."""
    time = time_of_piece(told, piece)
    if piece.reason == "unreadable" and told.is_unmapped(piece.source):
        return sentence(f"{time}: its code is in no map; {_ASK_FOR_MAP}")
    return sentence(f"{time} ({piece.because}): {REMEDY[piece.reason]}")
