"""An outcome on its way to becoming a finding."""

from __future__ import annotations

from bhi_fhir.domain.decision import Outcome
from bhi_fhir.domain.value import Value


class Answer(Value, frozen=True):
    """What a requirement comes to, why, and on which evidence."""

    outcome: Outcome
    because: str
    evidence: tuple[str, ...] = ()
