"""What drafts need to know of a site and of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from bhi_fhir.domain.time import ServiceMonth


@dataclass(frozen=True, slots=True)
class DraftSite:
    """A site as its drafts see it.

    `name` is part of every draft's identity (identity.py): a site that is renamed drafts everything anew.
    `canonical_base` is where the service serves its ChargeItemDefinitions, e.g. "https://bhi.example.org/fhir".
    `provider` is the reference of the billing organization; "" is the billing practitioner.
    `draft_review`: lines that a person must look at are drafted too.
    `version` is that of bhi-fhir itself.
    """

    name: str
    ruleset: str
    canonical_base: str
    version: str
    place_of_service: str = "11"
    provider: str = ""
    draft_review: bool = False


@dataclass(frozen=True, slots=True)
class DraftRun:
    """What is the same for every patient of a run.

    `titles` are our own short titles by code; a code without one has no text. `adds_to` names the bases of
    each add-on: {"99494": ("99492", "99493")}. `created` dates the Claims.
    """

    site: DraftSite
    month: ServiceMonth
    titles: Mapping[str, str]
    adds_to: Mapping[str, Sequence[str]]
    created: date
