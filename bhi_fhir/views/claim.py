"""Claim: services that are billed, or our own draft."""

from decimal import Decimal

from bhi_fhir.views.common import CodeableConcept, Identifier, Part, PeriodPart, Quantity, Reference, Row


class ClaimCareTeam(Part):
    sequence: Decimal | None = None
    provider: Reference | None = None


class ClaimItem(Part):
    care_team_sequence: list[Decimal | None] | None = None
    product_or_service: CodeableConcept | None = None
    serviced_date: str | None = None
    serviced_period: PeriodPart | None = None
    quantity: Quantity | None = None


class Claim(Row):
    identifier: list[Identifier] | None = None
    status: str | None = None
    use: str | None = None
    patient: Reference | None = None
    billable_period: PeriodPart | None = None
    provider: Reference | None = None
    care_team: list[ClaimCareTeam] | None = None
    item: list[ClaimItem] | None = None
