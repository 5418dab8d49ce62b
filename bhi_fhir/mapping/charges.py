"""ChargeItem and Claim: what is charged already.

Our own drafts (planned, draft) are none yet; one that a person has moved on is a charge like any other.
"""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import Charge
from bhi_fhir.domain.time import Period
from bhi_fhir.mapping.numbers import between
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.terminology import CPT, HCPCS
from bhi_fhir.views.charge_item import ChargeItem
from bhi_fhir.views.claim import Claim, ClaimItem
from bhi_fhir.views.common import CodeableConcept, Coding, Quantity

_NO_CHARGE = {"planned", "not-billable", "aborted", "entered-in-error"}
_NO_CLAIM = {"draft", "cancelled", "entered-in-error"}
_NO_BILL = {"preauthorization", "predetermination"}
_UNSAID = "its status says nothing"


def charges(rows: PatientRows, reading: Reading) -> Iterator[Charge]:
    for key, item in rows.of(ChargeItem):
        if item.status not in _NO_CHARGE:
            yield from _charge_item(key, item, reading)
    for key, claim in rows.of(Claim):
        if claim.use not in _NO_BILL and claim.status not in _NO_CLAIM:
            for line in claim.item or ():
                yield from _claim_item(key, claim, line, reading)


def _charge_item(key: str, row: ChargeItem, reading: Reading) -> Iterator[Charge]:
    moment = reading.clock.moment(row.occurrence_date_time)
    when = Period(moment, moment) if moment else reading.clock.period(row.occurrence_period)
    people = {p for part in row.performer or () if (p := reading.record.person(part.actor, key))}
    doubt = "" if row.status in ("billable", "billed") else _UNSAID
    for code in _codes(row.code, reading):
        yield Charge(key, code, _units(row.quantity), _known(when), frozenset(people), doubt)


def _claim_item(key: str, row: Claim, item: ClaimItem, reading: Reading) -> Iterator[Charge]:
    moment = reading.clock.moment(item.serviced_date)
    when = Period(moment, moment) if moment else reading.clock.period(item.serviced_period or row.billable_period)
    wanted = item.care_team_sequence
    people = {
        p
        for member in row.care_team or ()
        if (not wanted or member.sequence in wanted) and (p := reading.record.person(member.provider, key))
    }
    provider = reading.record.person(row.provider, key)
    if not people and provider:
        people = {provider}
    doubt = "" if (row.use, row.status) == ("claim", "active") else _UNSAID
    for code in _codes(item.product_or_service, reading):
        yield Charge(key, code, _units(item.quantity), _known(when), frozenset(people), doubt)


def _known(when: Period) -> Period | None:
    return when if when.start else None


def _codes(concept: CodeableConcept | None, reading: Reading) -> list[str]:
    """Of the services that exclude or open others; "" for a charge of which no code can be read.

    A code of the site's own that no map knows is a charge of something else, unless it is written like one of theirs:
    `mappings report` lists it.
    """
    codes = reading.terms.codes(concept)
    if not codes:
        return [""]
    if reading.terms.holds("charge", concept):
        return sorted({code for _, code in codes})
    alike = CodeableConcept(tuple(Coding(system, code) for _, code in codes for system in (CPT, HCPCS)))
    return [""] if reading.terms.holds("charge", alike) else []


def is_charge(concept: CodeableConcept | None, reading: Reading) -> bool:
    """Is it known what was charged?"""
    return any(system in (CPT, HCPCS) for system, _ in reading.terms.codes(concept))


def _units(quantity: Quantity | None) -> int:
    """Whole units; a quantity that is none of this world is one."""
    return int(quantity.value) if quantity and quantity.value and between(1, quantity.value) else 1
