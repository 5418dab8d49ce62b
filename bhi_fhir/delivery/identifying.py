"""Who a Patient or Practitioner is, for destinations that do not know FHIR ids."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from bhi_fhir.delivery.dft_message import Identifier, Person
from bhi_fhir.errors import Incomplete
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import read
from bhi_fhir.fhir.shared import Shared
from bhi_fhir.views.common import UNREADABLE


class _Coding(msgspec.Struct, frozen=True):
    code: str = ""


class _Concept(msgspec.Struct, frozen=True):
    coding: tuple[_Coding, ...] = ()


class _Identifier(msgspec.Struct):
    system: str = ""
    value: str = ""
    use: str = ""
    type: _Concept = _Concept()


class _Name(msgspec.Struct):
    family: str = ""
    given: list[str] = []
    use: str = ""


class _Somebody(msgspec.Struct):
    identifier: list[_Identifier] = []
    name: list[_Name] = []
    birthDate: str = ""  # noqa: N815
    gender: str = ""


_decode = msgspec.json.Decoder(_Somebody).decode
_NAMES = ("official", "usual", "")
MOST_PRACTITIONERS = 1_000
"""So many are remembered at most."""


def identifying(client: BhiClient) -> Callable[[str], Awaitable[Person]]:
    """Reads "Patient/id" or "Practitioner/id"; ServerError where the server does not say it.

    Practitioners are remembered, for they return with every patient; patients are not.
    """
    practitioners: Shared[Person] = Shared(MOST_PRACTITIONERS)

    async def identify(reference: str) -> Person:
        if not reference.startswith("Practitioner/"):
            return await _person(client, reference)
        return await practitioners.get(reference, lambda: _person(client, reference))

    return identify


async def _person(client: BhiClient, reference: str) -> Person:
    try:
        found = _decode(await read(client, reference))
    except UNREADABLE:
        raise Incomplete("A Patient or Practitioner cannot be read.") from None
    known = [each for each in found.identifier if each.use != "old" and each.value]
    name = min(
        (each for each in found.name if each.family and each.use in _NAMES),
        key=lambda each: _NAMES.index(each.use),
        default=_Name(),
    )
    return Person(
        reference=reference,
        identifiers=tuple(Identifier(each.system, each.value, _kind(each)) for each in known),
        family=name.family,
        given=" ".join(name.given[:1]),
        birth_date=found.birthDate,
        sex=found.gender,
    )


def _kind(identifier: _Identifier) -> str:
    return next((coding.code for coding in identifier.type.coding), "")
