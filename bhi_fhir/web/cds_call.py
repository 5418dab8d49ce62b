"""What an EHR sends to the CDS service (CDS Hooks 2.0), as far as it is read here."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_HOOK = msgspec.Meta(extra_json_schema={"enum": ["patient-view"]})


class CdsContext(msgspec.Struct, rename="camel"):
    patient_id: str
    user_id: str = ""


class CdsCall(msgspec.Struct, rename="camel"):
    """Prefetch and the token for the EHR's server are not looked at: the card comes from the last sync."""

    hook: Annotated[str, _HOOK]
    hook_instance: str
    context: CdsContext
    fhir_server: str = ""


class CdsOutcome(msgspec.Struct):
    card: str
    outcome: Literal["accepted", "overridden"]


class CdsFeedback(msgspec.Struct):
    feedback: list[CdsOutcome]
