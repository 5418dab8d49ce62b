"""One patient's whole record from a FHIR server: every type by patient, then the people it names.

What the server withholds, loses or does not serve is written down, so that no finding rests on its absence.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from bhi_fhir.domain.record import Withheld
from bhi_fhir.errors import Refused, ServerError
from bhi_fhir.fhir.capabilities import Capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import SearchResult, read, search
from bhi_fhir.fhir.shared import Shared
from bhi_fhir.jobs.roster import sources_of
from bhi_fhir.mapping.site_reading import SiteReading
from bhi_fhir.mapping.source import SUBJECT, Source
from bhi_fhir.views.common import UNREADABLE

_PAGE = {"_count": "200"}
_PEOPLE = ("Practitioner", "PractitionerRole", "Organization")
_PATIENT_PARAMS = ("patient", "subject", "beneficiary")
# A server may list a parameter and refuse it; then the next one is tried.
_NOT_UNDERSTOOD = frozenset({400, 404, 405, 422, 501})
# A definite answer about a person; anything else may pass.
_NOT_GIVEN = frozenset({401, 403, 404, 410})
MOST_PEOPLE = 4_000
"""So many people, and so many answers about their roles, are remembered at most."""

MOST_MERGED = 10
"""So many records of one person are read together."""

_T = TypeVar("_T")


@dataclass
class ServerRecord:
    """What was read of one patient. `notes`: what the server gave beside what was asked; no finding rests on it.

    `also`: the references under which the same person was known before records were merged, or is known since.
    """

    patient: str
    also: tuple[str, ...] = ()
    sources: list[Source] = field(default_factory=list)
    withheld: list[Withheld] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class RecordReader:
    """Reads patients of one server; what patients share (people, types without a patient search) is read once."""

    client: BhiClient
    served: Capabilities
    site: SiteReading
    _people: Shared[bytes | None] = field(default_factory=lambda: Shared(MOST_PEOPLE))
    _roles: Shared[SearchResult | None] = field(default_factory=lambda: Shared(MOST_PEOPLE))
    _whole: Shared[SearchResult | Withheld] = field(default_factory=lambda: Shared(len(SUBJECT)))

    async def read(self, patient: str) -> ServerRecord:
        """The patient's record, its types asked for side by side and kept in a fixed order.

        Records that were merged are read together. ServerError if the patient or a search cannot be had at all.
        """
        record = ServerRecord(patient)
        person: dict[str, bytes] = {}
        waiting = [patient]
        while waiting and len(person) < MOST_MERGED:
            one = waiting.pop(0)
            own = await self._patient(one, given_up=one != patient)
            if own is not None:
                person[one] = own
                waiting += sorted(_same_person(own, one) - person.keys() - set(waiting))
        mine = frozenset().union(*(_same_person(own, one) for one, own in person.items()))
        for one, own in person.items():
            record.sources.append(Source("server", one, own))
            for part in await _all(self._type(kind, one, mine) for kind in self._types()):
                record.sources += part.sources
                record.withheld += part.withheld
                record.notes += part.notes
        record.also = tuple(one for one in person if one != patient)
        await self._staff(record)
        return record

    async def _patient(self, reference: str, *, given_up: bool) -> bytes | None:
        """None for a record that was merged into another and is gone since."""
        try:
            return await read(self.client, reference)
        except Refused as error:
            if given_up and error.status in _NOT_GIVEN:
                return None
            raise

    def _types(self) -> list[str]:
        """DocumentReferences are many, and only some sites' consents."""
        leave = set() if self.site.consent.document else {"DocumentReference"}
        return sorted(SUBJECT.keys() - leave - ({"Consent"} if self._consent_is_elsewhere() else set()))

    def _consent_is_elsewhere(self) -> bool:
        """athenahealth and MEDITECH serve no Consent: nothing is missing where the site names another source."""
        named = self.site.consent.document or self.site.consent.answer
        return bool(named) and bool(self.served.types) and "Consent" not in self.served.types

    async def _type(self, kind: str, patient: str, mine: frozenset[str]) -> ServerRecord:
        """One type of the patient's resources. `mine`: every reference that means this patient."""
        part = ServerRecord(patient)
        params = self._patient_params(kind)
        found = await self._by_patient(kind, patient, params) if params else await self._all_of(kind)
        if isinstance(found, Withheld):
            part.withheld.append(found)
            return part
        strangers = 0
        for source in sources_of(found, "server"):
            subjects = _subjects(source)
            if params:
                # What names nobody, or whom in a way that only the mapping understands, is for the mapping to judge.
                stranger = any(_names_a_patient(s) and _plain(s) not in mine for s in subjects)
            else:
                stranger = subjects is not _UNREADABLE and not any(_plain(s) in mine for s in subjects)
            if not stranger:
                part.sources.append(source)
            strangers += stranger
        if params:
            part.notes += found.notes
            if strangers:
                part.notes.append(f"The server gave {strangers} {kind} of other patients; they are left out.")
        # An answer with a hole makes the whole month indeterminate: it may hide the only refusal or charge.
        part.withheld += [Withheld("*", sentence) for sentence in found.withheld]
        return part

    def _patient_params(self, kind: str) -> tuple[str, ...]:
        """How this type may be searched by patient; nothing where the server does not say that it can be."""
        if not self.served.types:  # a /metadata without types; reading whole types of a hospital is no answer to it
            return _PATIENT_PARAMS[:1] if SUBJECT[kind] == "patient" else ("patient", SUBJECT[kind])
        known = self.served.types.get(kind)
        return tuple(p for p in _PATIENT_PARAMS if p in known.search_params) if known else ()

    async def _by_patient(self, kind: str, patient: str, params: Iterable[str]) -> SearchResult | Withheld:
        found: SearchResult | Withheld | None = None
        for param in params:
            try:
                return await search(self.client, kind, {param: patient, **_PAGE})
            except Refused as error:
                found = _not_served(kind, error)
                if error.status not in _NOT_UNDERSTOOD:
                    break
        assert found is not None
        return found

    async def _search(self, kind: str, params: dict[str, str]) -> SearchResult | Withheld:
        """Raises Refused, which is not remembered, where the server may answer the next time."""
        try:
            return await search(self.client, kind, params)
        except Refused as error:
            if error.status == 429 or error.status >= 500:
                raise
            return _not_served(kind, error)

    async def _all_of(self, kind: str) -> SearchResult | Withheld:
        """A type that cannot be searched by patient is read whole, once, and sorted by patient here."""
        try:
            return await self._whole.get(kind, lambda: self._search(kind, dict(_PAGE)))
        except Refused as error:
            return _not_served(kind, error)

    # -- people -------------------------------------------------------------------------------------

    async def _staff(self, record: ServerRecord) -> None:
        """Everybody whom the record names, their roles, and the organizations."""
        whole = len(record.sources)
        # In a thread: of a long record this takes a third of a second, in which a service answers nobody.
        named = await asyncio.to_thread(self._named, record.sources)
        await self._fetch(record, named)
        await self._fetch(record, self._named(record.sources[whole:]) - named)  # whom a PractitionerRole names
        named |= self._named(record.sources[whole:])
        practitioners = {r for r in named if r.startswith("Practitioner/")}
        if self._patient_searchable("PractitionerRole", "practitioner"):
            for found in await _all(self._roles_of(reference) for reference in sorted(practitioners)):
                if found is not None:
                    record.sources += sources_of(found, "server")

    def _named(self, sources: Iterable[Source]) -> set[str]:
        found = {r for s in sources for r in _references(bytes(s.json), self.client.gate.base_url)}
        return {r for r in found if r.split("/")[0] in _PEOPLE}

    async def _fetch(self, record: ServerRecord, references: Iterable[str]) -> None:
        wanted = sorted(references)
        for reference, body in zip(wanted, await _all(self._person(r) for r in wanted), strict=True):
            if body is not None:
                record.sources.append(Source("server", reference, body))

    async def _person(self, reference: str) -> bytes | None:
        """None where the server does not give it: who that is is then unknown, and is said so by the rules."""
        try:
            return await self._people.get(reference, lambda: self._read_person(reference))
        except ServerError:
            return None

    async def _read_person(self, reference: str) -> bytes | None:
        """None is remembered only where the server has said no."""
        try:
            return await read(self.client, reference)
        except Refused as error:
            if error.status in _NOT_GIVEN:
                return None
            raise

    async def _roles_of(self, reference: str) -> SearchResult | None:
        try:
            return await self._roles.get(reference, lambda: self._search_roles(reference))
        except Refused:
            return None

    async def _search_roles(self, reference: str) -> SearchResult | None:
        found = await self._search("PractitionerRole", {"practitioner": reference, **_PAGE})
        return None if isinstance(found, Withheld) else found

    def _patient_searchable(self, kind: str, param: str) -> bool:
        known = self.served.types.get(kind)
        return known is not None and param in known.search_params


async def _all(asked: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """All side by side, in order; the first error ends the others and is raised as it is."""
    tasks = [asyncio.create_task(each) for each in asked]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _not_served(kind: str, error: Refused) -> Withheld:
    return Withheld(kind, f"the server does not answer for {kind} ({error.status})")


class _Reference(msgspec.Struct):
    reference: str | None = None


class _Headed(msgspec.Struct):
    resourceType: str  # noqa: N815
    subject: _Reference | None = None
    patient: _Reference | None = None
    beneficiary: _Reference | None = None


class _Link(msgspec.Struct):
    other: _Reference | None = None
    type: str = ""


class _Linked(msgspec.Struct):
    link: list[_Link] = []


_UNREADABLE: tuple[str, ...] = ("",)
_PATIENT = re.compile(r"(?:.*/)?Patient/[A-Za-z0-9.-]{1,64}")


def _subjects(source: Source) -> tuple[str, ...]:
    """The reference to whom the resource is about; `_UNREADABLE` where the mapping must say that it cannot tell."""
    try:
        found = msgspec.json.decode(source.json, type=_Headed)
    except UNREADABLE:
        return _UNREADABLE
    if found.resourceType not in SUBJECT:
        return _UNREADABLE  # an included person; the mapping takes what it knows
    subject = getattr(found, SUBJECT[found.resourceType])
    return (subject.reference,) if subject and subject.reference else ()


def _names_a_patient(reference: str) -> bool:
    return _PATIENT.fullmatch(_current(reference)) is not None


def _plain(reference: str) -> str:
    """`Patient/id`, whatever base stands before it and version behind."""
    return "/".join(_current(reference).split("/")[-2:])


def _current(reference: str) -> str:
    """Without the version."""
    return reference.partition("/_history/")[0]


def _same_person(body: bytes, patient: str) -> frozenset[str]:
    """The patient's own reference and those that the record links: a merged record keeps its old references."""
    try:
        links = msgspec.json.decode(body, type=_Linked).link
    except UNREADABLE:
        links = []
    merged = (each.other.reference for each in links if each.other and each.type in {"replaces", "replaced-by"})
    return frozenset({patient, *(_plain(r) for r in merged if r and _names_a_patient(r))})


def _references(body: bytes, base_url: str) -> set[str]:
    """Every "Type/id" of this server that a resource points at; what another server holds is not asked for."""
    try:
        return set(_collect(msgspec.json.decode(body.decode(errors="replace")), f"{base_url}/"))
    except UNREADABLE:
        return set()


def _collect(node: object, base: str) -> Iterator[str]:
    if isinstance(node, dict):
        reference = node.get("reference")
        if isinstance(reference, str):
            relative = reference.removeprefix(base).split("/_history/")[0]
            if relative.count("/") == 1:
                yield relative
        for value in node.values():
            yield from _collect(value, base)
    elif isinstance(node, list):
        for value in node:
            yield from _collect(value, base)
