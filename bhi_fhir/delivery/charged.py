"""What a charge's draft says, for doors that do not take the resource as it is."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from bhi_fhir.delivery.line import Content, Draft


@dataclass(frozen=True, slots=True)
class Charged:
    """One code of one patient. `served`: (ISO date, units) of each day; `encounter`: "" where it has none."""

    patient: str
    code: str
    system: str
    title: str
    performer: str
    encounter: str
    served: tuple[tuple[str, int], ...]
    diagnoses: tuple[str, ...]


def charged(draft: Draft) -> Charged:
    """Of a ChargeItem."""
    content = draft.content
    coding = content["code"]["coding"][0]
    context = _reference(content.get("context"))
    performers = content.get("performer") or [{}]
    return Charged(
        patient=_reference(content["subject"]),
        code=coding["code"],
        system=coding["system"],
        title=content["code"].get("text", ""),
        performer=_reference(performers[0].get("actor")),
        encounter=context if context.startswith("Encounter/") else "",
        served=draft.served or (_last_day(content),),
        diagnoses=draft.diagnoses,
    )


def units(content: Content) -> int:
    return int(Decimal(str(content["quantity"]["value"])))


def _last_day(content: Content) -> tuple[str, int]:
    # The period ends in the practice's own time, so that its first ten characters are the practice's day.
    return content["occurrencePeriod"]["end"][:10], units(content)


def _reference(element: Content | None) -> str:
    return str((element or {}).get("reference", ""))
