"""Consent: what the patient permits or refuses, to whom, since when."""

from bhi_fhir.views.common import ABSENT, CodeableConcept, OnlyR5, Part, PeriodPart, Reference, Row


class Actor(Part):
    reference: Reference | None = None


class Provision(Part):
    type: str | None = None
    period: PeriodPart | None = None
    actor: list[Actor] | None = None
    provision: list["Provision"] | None = None


class Consent(Row):
    status: str | None = None
    scope: CodeableConcept | None = None
    category: list[CodeableConcept] | None = None
    patient: Reference | None = None
    date_time: str | None = None
    organization: list[Reference] | None = None
    policy_rule: CodeableConcept | None = None
    provision: Provision | None = None
    date: OnlyR5 = ABSENT
    decision: OnlyR5 = ABSENT
    grantee: OnlyR5 = ABSENT
    grantor: OnlyR5 = ABSENT
    subject: OnlyR5 = ABSENT
