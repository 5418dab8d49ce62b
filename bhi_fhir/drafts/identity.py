"""The business identifier of a draft: the same line of the same month always has the same one.

    system  urn:bhi-fhir:draft
    value   UUIDv5( UUIDv5(root, site name), patient reference | month | what | kind )

Nothing of the patient can be read in it, and one site's identifiers say nothing about another's. It is a
pseudonym and no secret: who knows the site's name and how it numbers its patients can compute the
identifiers of every patient and compare. A secret key would prevent that, but an identifier that cannot be
computed again from the record after the key is lost would write every charge twice. So what holds an
identifier (a ledger, a DFT message, a log) is guarded like the draft itself, which names its patient.
"""

from __future__ import annotations

from functools import cache
from uuid import NAMESPACE_URL, UUID, uuid5

from bhi_fhir.domain.time import ServiceMonth

SYSTEM = "urn:bhi-fhir:draft"
_ROOT = uuid5(NAMESPACE_URL, SYSTEM)


@cache
def site_namespace(name: str) -> UUID:
    return uuid5(_ROOT, name)


def identifier(site: str, patient: str, month: ServiceMonth, what: str, kind: str) -> dict[str, str]:
    """`what` is the code of a charge or the practitioner of a claim; `kind` tells lines of one code apart."""
    return {"system": SYSTEM, "value": str(_uuid(site, patient, str(month), what, kind))}


def full_url(site: str, *parts: str) -> str:
    """The urn:uuid of something that has no identifier of its own or stands in a Bundle."""
    return f"urn:uuid:{_uuid(site, *parts)}"


def _uuid(site: str, *parts: str) -> UUID:
    return uuid5(site_namespace(site), "\n".join(parts))
