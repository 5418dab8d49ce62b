"""When consent is in force, for certain and possibly.

MLN909432, Advanced Patient Consent: before BHI starts; a new one only for a new billing practitioner.
"""

from __future__ import annotations

from collections.abc import Iterable

from bhi_fhir.domain.record import ANYBODY, Chart, Consent
from bhi_fhir.domain.time import BEGINNING, END, ServiceMonth, Span, local_day, midnight, union
from bhi_fhir.domain.value import Value
from bhi_fhir.policy import Switches


class Permission(Value, frozen=True):
    """`certain`: stretches in which consent is in force; `possible`: in which it may be, certain ones included."""

    certain: tuple[Span, ...]
    possible: tuple[Span, ...]
    serving: tuple[Consent, ...]
    """The consents behind them."""
    doubts: tuple[str, ...]
    """Why what is only possible is not certain, one sentence each."""


def permission(
    chart: Chart, billers: tuple[str, ...], kinds: Iterable[str], month: ServiceMonth, switches: Switches
) -> Permission:
    """Consent of one of `kinds` for any of `billers` (all that come into question)."""
    wanted = set(kinds)
    consents = [c for c in chart.consents if c.kind in wanted]
    refusals = [c for c in consents if not c.permits and serves(chart, c, billers) is not False]
    certain: list[Span] = []
    possible: list[Span] = []
    serving: list[Consent] = []
    doubts = [f"the refusal {c.ref}: {c.doubt}" for c in refusals if c.doubt]
    for consent in (c for c in consents if c.permits):
        fits = serves(chart, consent, billers)
        if fits is False:
            continue
        serving.append(consent)
        sure, perhaps = _stretch(consent, refusals, month, switches)
        if fits is None:
            doubts.append(f"nothing says whether {consent.ref} speaks for the billing practitioner")
        elif consent.doubt:
            doubts.append(f"{consent.ref}: {consent.doubt}")
        else:
            certain += sure
        possible += perhaps
    return Permission(tuple(union(certain)), tuple(union(possible)), tuple(serving), tuple(doubts))


def serves(chart: Chart, consent: Consent, billers: tuple[str, ...]) -> bool | None:
    """Does the consent speak for one of the billers? None if that cannot be said."""
    if not billers:
        return None
    if consent.names is not None:
        if not consent.names:
            return None
        return ANYBODY in consent.names or bool(consent.names & set(billers))
    if not consent.organizations:
        return True if consent.permits is False else None
    homes = [chart.people[b].organizations if b in chart.people else frozenset() for b in billers]
    if any(home & consent.organizations for home in homes):
        return True
    return False if all(homes) else None


def _stretch(
    consent: Consent, refusals: list[Consent], month: ServiceMonth, switches: Switches
) -> tuple[list[Span], list[Span]]:
    """From when to when a permission is in force: (for certain, possibly)."""
    closes = consent.period.closes
    if consent.given is None:
        return [], [(BEGINNING, closes)]
    first, surely = consent.given.earliest, consent.given.latest
    if switches.consent_cutoff == "day" and consent.given.within_a_day:
        first = surely = midnight(local_day(first, month.zone), month.zone)
    first, surely = max(first, consent.period.opens), max(surely, consent.period.opens)
    sure_end = perhaps_end = closes
    for refusal in refusals:
        if refusal.given is None:
            sure_end = BEGINNING  # a refusal without a date: nothing is certain any more
        elif refusal.given == consent.given:
            sure_end = BEGINNING  # given and refused at once: nobody can say which came last
        elif refusal.given.latest > consent.given.earliest and refusal.given.earliest < END:
            sure_end = min(sure_end, refusal.given.earliest)
            if not refusal.doubt:
                perhaps_end = min(perhaps_end, refusal.given.latest)
    sure = [(surely, sure_end)] if surely < sure_end else []
    return sure, [(first, perhaps_end)] if first < perhaps_end else []
