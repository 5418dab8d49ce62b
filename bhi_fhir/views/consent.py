"""Consent: what the patient permits or refuses, to whom, since when."""

from typing import ClassVar

from bhi_fhir.views.common import CodeableConcept, Part, PeriodPart, Reference, Row


class Actor(Part):
    reference: Reference | None = None


class Provision(Part):
    type: str | None = None
    period: PeriodPart | None = None
    actor: list[Actor] | None = None
    provision: list["Provision"] | None = None


class Consent(Row):
    R5_FIELDS: ClassVar[frozenset[str]] = frozenset({"decision", "grantor", "grantee", "subject", "date"})

    status: str | None = None
    scope: CodeableConcept | None = None
    category: list[CodeableConcept] | None = None
    patient: Reference | None = None
    date_time: str | None = None
    organization: list[Reference] | None = None
    policy_rule: CodeableConcept | None = None
    provision: Provision | None = None
