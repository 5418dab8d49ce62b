"""One patient's whole record from a FHIR server: every type by patient, then the people it names.

What the server withholds, loses or does not serve is written down, so that no finding rests on its absence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from bhi_fhir.domain.record import Withheld
from bhi_fhir.errors import Refused, ServerError
from bhi_fhir.fhir.capabilities import Capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import SearchResult, read, search
from bhi_fhir.jobs.roster import sources_of
from bhi_fhir.mapping.record import SUBJECT, Source
from bhi_fhir.mapping.site_reading import SiteReading

_PAGE = {"_count": "200"}
_PEOPLE = ("Practitioner", "PractitionerRole", "Organization")


@dataclass
class ServerRecord:
    """What was read of one patient."""

    patient: str
    sources: list[Source] = field(default_factory=list)
    withheld: list[Withheld] = field(default_factory=list)


@dataclass
class RecordReader:
    """Reads patients of one server; what patients share (people, types without a patient search) is read once."""

    client: BhiClient
    served: Capabilities
    site: SiteReading
    _people: dict[str, asyncio.Task[bytes | None]] = field(default_factory=dict)
    _roles: dict[str, asyncio.Task[SearchResult | None]] = field(default_factory=dict)
    _whole: dict[str, asyncio.Task[SearchResult | Withheld]] = field(default_factory=dict)

    async def read(self, patient: str) -> ServerRecord:
        """The patient's record. ServerError if the patient or a search cannot be had at all."""
        record = ServerRecord(patient, [Source("server", patient, await read(self.client, patient))])
        for kind in sorted(SUBJECT):
            if kind == "DocumentReference" and not self.site.consent.document:
                continue  # many, and only some sites' consents
            if kind == "Consent" and self._consent_is_elsewhere():
                continue
            await self._type(record, kind)
        await self._staff(record)
        return record

    def _consent_is_elsewhere(self) -> bool:
        """athenahealth and MEDITECH serve no Consent: nothing is missing where the site names another source."""
        named = self.site.consent.document or self.site.consent.answer
        return bool(named) and bool(self.served.types) and "Consent" not in self.served.types

    async def _type(self, record: ServerRecord, kind: str) -> None:
        param = self._patient_param(kind)
        found: SearchResult | Withheld
        if param:
            found = await self._search(kind, {param: record.patient, **_PAGE})
        else:
            found = await self._all_of(kind)
        if isinstance(found, Withheld):
            record.withheld.append(found)
            return
        mine = list(sources_of(found, "server"))
        record.sources += mine if param else [s for s in mine if _is_of(s, kind, record.patient)]
        # An answer with a hole makes the whole month indeterminate: it may hide the only refusal or charge.
        record.withheld += [Withheld("*", sentence) for sentence in found.withheld]

    def _patient_param(self, kind: str) -> str | None:
        """How this type is searched by patient; None where the server does not say that it can be."""
        known = self.served.types.get(kind)
        if known is None:
            return None
        for param in ("patient", "subject", "beneficiary"):
            if param in known.search_params:
                return param
        return None

    async def _search(self, kind: str, params: dict[str, str]) -> SearchResult | Withheld:
        try:
            return await search(self.client, kind, params)
        except Refused as error:
            return Withheld(kind, f"the server does not answer for {kind} ({error.status})")

    async def _all_of(self, kind: str) -> SearchResult | Withheld:
        """A type that cannot be searched by patient is read whole, once, and sorted by patient here."""
        task = self._whole.get(kind)
        if task is None:
            task = self._whole[kind] = asyncio.ensure_future(self._search(kind, dict(_PAGE)))
        return await task

    # -- people -------------------------------------------------------------------------------------

    async def _staff(self, record: ServerRecord) -> None:
        """Everybody whom the record names, their roles, and the organizations."""
        wanted = self._named(record.sources)
        await self._fetch(record, wanted)
        await self._fetch(record, self._named(record.sources) - wanted)  # whom a PractitionerRole names
        practitioners = {r for r in self._named(record.sources) if r.startswith("Practitioner/")}
        if self._patient_searchable("PractitionerRole", "practitioner"):
            for reference in sorted(practitioners):
                found = await self._roles_of(reference)
                if found is not None:
                    record.sources += sources_of(found, "server")

    def _named(self, sources: Iterable[Source]) -> set[str]:
        found = {r for s in sources for r in _references(bytes(s.json), self.client.gate.base_url)}
        return {r for r in found if r.split("/")[0] in _PEOPLE}

    async def _fetch(self, record: ServerRecord, references: Iterable[str]) -> None:
        for reference in sorted(references):
            task = self._people.get(reference)
            if task is None:
                task = self._people[reference] = asyncio.ensure_future(self._person(reference))
            body = await task
            if body is not None:
                record.sources.append(Source("server", reference, body))

    async def _person(self, reference: str) -> bytes | None:
        """None where the server does not give it: who that is is then unknown, and is said so by the rules."""
        try:
            return await read(self.client, reference)
        except ServerError:
            return None

    async def _roles_of(self, reference: str) -> SearchResult | None:
        task = self._roles.get(reference)
        if task is None:
            task = self._roles[reference] = asyncio.ensure_future(self._search_roles(reference))
        return await task

    async def _search_roles(self, reference: str) -> SearchResult | None:
        found = await self._search("PractitionerRole", {"practitioner": reference, **_PAGE})
        return None if isinstance(found, Withheld) else found

    def _patient_searchable(self, kind: str, param: str) -> bool:
        known = self.served.types.get(kind)
        return known is not None and param in known.search_params


class _Subject(msgspec.Struct):
    reference: str | None = None


class _Subjects(msgspec.Struct):
    subject: _Subject | None = None
    patient: _Subject | None = None
    beneficiary: _Subject | None = None


def _is_of(source: Source, kind: str, patient: str) -> bool:
    """Does this resource of a type that was read whole belong to the patient?"""
    try:
        found = msgspec.json.decode(source.json, type=_Subjects)
    except (msgspec.DecodeError, RecursionError):
        return True  # unreadable: it may be this patient's, and the mapping says so
    subject = getattr(found, SUBJECT[kind])
    if subject is None or subject.reference is None:
        return False
    reference = subject.reference.split("/_history/")[0]
    return bool(reference == patient or reference.endswith(f"/{patient}"))


def _references(body: bytes, base_url: str) -> set[str]:
    """Every "Type/id" of this server that a resource points at; what another server holds is not asked for."""
    try:
        return set(_collect(msgspec.json.decode(body), f"{base_url}/"))
    except (msgspec.DecodeError, RecursionError):
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
