"""A resource as it came, and which element of it names the patient."""

from __future__ import annotations

import msgspec

from bhi_fhir.domain.value import Value

SUBJECT = {
    "CareTeam": "subject",
    "ChargeItem": "subject",
    "Claim": "patient",
    "Condition": "subject",
    "Consent": "patient",
    "Coverage": "beneficiary",
    "DocumentReference": "subject",
    "Encounter": "subject",
    "EpisodeOfCare": "patient",
    "Observation": "subject",
    "Procedure": "subject",
    "QuestionnaireResponse": "subject",
}
"""Which element names the patient."""


class Source(Value, frozen=True):
    """One resource as it came: from which file, where in it, under which fullUrl."""

    file: str
    at: str
    json: bytes | msgspec.Raw
    full_url: str | None = None
    trouble: str = ""
    """Why it cannot be read as a resource at all; `json` may then be only its beginning."""
    may_hold: str = ""
    """Of one that cannot be read: "*" where it may be of any type, also where it does not say so itself."""
