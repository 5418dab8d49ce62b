"""QuestionnaireResponse: the answers to a rating scale."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from bhi_fhir.views.common import Beside, Coding, Extension, Part, Quantity, Reference, Row


class AnswerCoding(Coding, frozen=True):
    display: str | None = None
    extension: list[Extension] | None = None


class Answer(Part):
    value_coding: AnswerCoding | None = None
    value_integer: Decimal | None = None
    value_decimal: Decimal | None = None
    value_quantity: Quantity | None = None
    value_boolean: bool | None = None
    value_string: str | None = None
    beside_integer: Beside | None = msgspec.field(name="_valueInteger", default=None)
    beside_decimal: Beside | None = msgspec.field(name="_valueDecimal", default=None)
    extension: list[Extension] | None = None
    item: list[Item] | None = None


class Item(Part):
    link_id: str | None = None
    definition: str | None = None
    answer: list[Answer] | None = None
    extension: list[Extension] | None = None
    item: list[Item] | None = None


class QuestionnaireResponse(Row):
    questionnaire: str | None = None
    status: str | None = None
    subject: Reference | None = None
    authored: str | None = None
    author: Reference | None = None
    item: list[Item] | None = None


msgspec.json.Decoder(QuestionnaireResponse)  # resolves the recursive types once, at import
