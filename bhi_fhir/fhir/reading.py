"""Reading: a search with all its pages, one resource, one identifier.

What comes back is the raw JSON of each resource; `views` parses it.
"""

import re
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from bhi_fhir.domain.value import Value
from bhi_fhir.errors import Incomplete, ServerError
from bhi_fhir.fhir.carrier import Answer
from bhi_fhir.fhir.client import BhiClient, Params, not_whole
from bhi_fhir.fhir.gate import Gate
from bhi_fhir.fhir.outcome import withheld_sentences
from bhi_fhir.views.common import UNREADABLE

MAX_PAGES = 1_000
MAX_RESOURCES = 100_000
MAX_BYTES = 512 * 2**20

# A server that ignores an unknown parameter widens the search, hence strict. HAPI repeats a search from its cache
# for 60 s, and so would not show what was just written.
_ASKED = {"Prefer": "handling=strict", "Cache-Control": "no-cache"}
_REFERENCE = re.compile(r"([A-Z][A-Za-z]{2,39})/[A-Za-z0-9.-]{1,64}(/_history/[A-Za-z0-9.-]{1,64})?")
# They shape the answer and do not choose what is in it.
_SHAPING = frozenset({"_count", "_elements", "_format", "_pretty", "_sort", "_summary", "_total"})


class SearchResult(Value, frozen=True):
    """All pages of a search.

    `entries`: the JSON of each resource in the server's order, includes among them, OperationOutcomes not; of a
    resource that stands on two pages the highest version. `full_urls`: the fullUrl of each entry. `withheld`: one
    sentence, without patient data, for all that was kept back or lost. `notes`: what makes the answer wider,
    never narrower, than asked; the caller filters again anyway.
    """

    entries: tuple[bytes, ...]
    full_urls: tuple[str | None, ...]
    withheld: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether an absence in this result is an absence in the record."""
        return not self.withheld


async def search(
    client: BhiClient,
    resource_type: str,
    params: Params,
    *,
    max_pages: int = MAX_PAGES,
    max_resources: int = MAX_RESOURCES,
) -> SearchResult:
    """Searches and follows `next` to the end.

    `params`: name to value or values, as in the `.params` of a fhirpy search set. Raises ServerError if the
    first page cannot be had; whatever is lost after it is said in `withheld`.
    """
    what = f"GET {resource_type}"
    reading = _Reading(resource_type, max_resources)
    page = _parsed(await client.search_page(resource_type, params, _ASKED), what)
    reading.take(page)
    reading.compare_self(page, params)
    seen: set[str] = set()
    while (next_url := reading.follow(page, client.gate)) is not None:
        if not seen:
            seen.add(client.search_url(resource_type, params))
        if next_url in seen:
            reading.lose("the pages go round in a circle")
            break
        if len(seen) >= max_pages:
            reading.lose(f"there are more than {max_pages} pages")
            break
        seen.add(next_url)
        try:
            page = _parsed(await client.ask("GET", next_url, headers=_ASKED), what)
        except ServerError as error:
            reading.lose(f"page {len(seen)} is lost ({str(error).rstrip('.')})")
            break
        reading.take(page)
    return reading.result()


async def read(client: BhiClient, reference: str) -> bytes:
    """The JSON of one resource by `Type/id`, `Type/id/_history/v`, or an absolute URL of the same server.

    Raises Refused with 404 or 410 if it is not there, Incomplete if something else came.
    """
    relative = client.gate.admit(reference).removeprefix(client.gate.base_url + "/")
    named = _REFERENCE.fullmatch(relative)
    if named is None:
        raise Incomplete("A reference in the record is no Type/id and cannot be read.")
    answer = await client.ask("GET", relative)
    try:
        head = _decode_head(answer.body)
    except UNREADABLE:
        raise not_whole(f"GET {named[1]}", answer) from None
    if head.resourceType != named[1]:
        raise Incomplete(f"GET {named[1]}: the server answered with another type of resource.")
    return answer.body


async def find_by_identifier(client: BhiClient, resource_type: str, system: str, value: str) -> tuple[bytes, ...]:
    """The resources that carry this identifier: none, one, or several.

    "None" is trusted before a charge is written, so the answer is filtered again (a server may ignore the
    parameter) and anything withheld raises Incomplete.
    """
    found = await search(client, resource_type, {"identifier": f"{_escaped(system)}|{_escaped(value)}"})
    if not found.complete:
        raise Incomplete(f"GET {resource_type} by identifier: {found.withheld[0]}")
    return tuple(entry for entry in found.entries if _carries(entry, resource_type, system, value))


class _Head(msgspec.Struct, gc=False):
    resourceType: str  # noqa: N815
    id: Any = None


class _Link(msgspec.Struct):
    relation: str = ""
    url: str = ""


class _Mode(msgspec.Struct, gc=False):
    mode: str | None = None


class _Entry(msgspec.Struct, gc=False):
    resource: msgspec.Raw
    fullUrl: str | None = None  # noqa: N815
    search: _Mode | None = None


class _Bundle(msgspec.Struct, tag_field="resourceType", tag="Bundle"):
    type: str | None = None
    total: int | None = None
    link: list[_Link] = []

    def link_to(self, relation: str) -> str | None:
        return next((link.url for link in self.link if link.relation == relation), None)


class _Page(_Bundle, tag_field="resourceType", tag="Bundle"):
    entry: list[_Entry] = []


class _BrokenPage(_Bundle, tag_field="resourceType", tag="Bundle"):
    entry: list[msgspec.Raw] = []  # each parsed by itself: a broken one must not cost the page


class _Identifier(msgspec.Struct):
    system: str | None = None
    value: str | None = None


class _Meta(msgspec.Struct, frozen=True):
    versionId: str = ""  # noqa: N815
    lastUpdated: str = ""  # noqa: N815


class _Versioned(msgspec.Struct):
    meta: _Meta = _Meta()


class _Identified(_Head):
    identifier: list[_Identifier] | _Identifier = []


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_entry = msgspec.json.Decoder(_Entry).decode
_decode_page = msgspec.json.Decoder(_Page).decode
_decode_broken_page = msgspec.json.Decoder(_BrokenPage).decode
_decode_versioned = msgspec.json.Decoder(_Versioned).decode
_decode_identified = msgspec.json.Decoder(_Identified).decode


@dataclass
class _Reading:
    """What has been read so far."""

    resource_type: str
    max_resources: int
    entries: list[bytes] = field(default_factory=list)
    full_urls: list[str | None] = field(default_factory=list)
    withheld: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    size: int = 0
    total: int | None = None
    _places: dict[tuple[str, str], int] = field(default_factory=dict)
    _included: set[int] = field(default_factory=set)

    def take(self, page: _Page | _BrokenPage) -> None:
        self.total = page.total if page.total is not None else self.total
        for each in page.entry:
            try:
                entry = each if isinstance(each, _Entry) else _decode_entry(each)
                head = _decode_head(entry.resource)
            except UNREADABLE:
                self.lose("an entry is broken or has no resource")
                continue
            self._keep(entry, head, entry.search.mode if entry.search else None)

    def _keep(self, entry: _Entry, head: _Head, mode: str | None) -> None:
        if head.resourceType == "OperationOutcome" or mode == "outcome":
            self.withheld += withheld_sentences(entry.resource, self.resource_type)
            return
        body, here = bytes(entry.resource), len(self.entries)
        if isinstance(head.id, str):
            place = self._places.setdefault((head.resourceType, head.id), here)
            if place < here:
                self._again(place, body, mode)
                return
        if mode == "include":
            self._included.add(here)
        self.entries.append(body)
        self.full_urls.append(entry.fullUrl)
        self.size += len(body)

    def _again(self, place: int, body: bytes, mode: str | None) -> None:
        """One that came before: pages shift while the record grows, and what was included may match too."""
        if _version(body) > _version(self.entries[place]):
            self.entries[place] = body
        if mode != "include":
            self._included.discard(place)

    @property
    def matches(self) -> int:
        return len(self.entries) - len(self._included)

    def follow(self, page: _Bundle, gate: Gate) -> str | None:
        """The next page's URL; None at the end, or where the rest is lost."""
        link = page.link_to("next")
        if link is None:
            self._compare_total()
            return None
        if len(self.entries) >= self.max_resources:
            self.lose(f"there are more than {self.max_resources} resources")
            return None
        if self.size >= MAX_BYTES:
            self.lose(f"it is larger than {MAX_BYTES} bytes")
            return None
        try:
            return gate.admit(link)
        except ServerError as error:
            self.lose(f"the next page cannot be asked for ({str(error).rstrip('.')})")
            return None

    def lose(self, why: str) -> None:
        self.withheld.append(f"Not all of {self.resource_type} could be read: {why}.")

    def _compare_total(self) -> None:
        # HAPI has lost `next` links (hapi-fhir #3780, #4027); then only the total tells.
        if self.total is not None and self.matches < self.total:
            self.lose(f"the server counts {self.total} and gave {self.matches}")

    def compare_self(self, page: _Bundle, params: Params) -> None:
        """The self link says which parameters the server understood."""
        link = page.link_to("self")
        if link is None or "?" not in link:  # after a POST _search some leave the parameters out
            return
        used = {_name(name) for name, _ in parse_qsl(urlsplit(link).query, keep_blank_values=True)}
        dropped = sorted({_name(name) for name in params} - used - _SHAPING)
        if dropped:
            self.notes.append(f"The server ignored {', '.join(dropped)} in a search of {self.resource_type}.")

    def result(self) -> SearchResult:
        withheld = dict.fromkeys(self.withheld)
        return SearchResult(tuple(self.entries), tuple(self.full_urls), tuple(withheld), tuple(self.notes))


def _parsed(answer: Answer, what: str) -> _Page | _BrokenPage:
    page: _Page | _BrokenPage
    try:
        page = _decode_page(answer.body)
    except UNREADABLE:
        try:
            page = _decode_broken_page(answer.body)
        except UNREADABLE:
            raise not_whole(what, answer) from None
    if page.type not in {None, "searchset"}:
        raise Incomplete(f"{what}: the server answered with a Bundle that is no searchset.")
    return page


def _version(body: bytes) -> tuple[int, str]:
    """Orders the versions of one resource: by number, else by the instant of the last update."""
    try:
        meta = _decode_versioned(body).meta
    except UNREADABLE:
        return (-1, "")
    number = meta.versionId
    return (int(number) if number.isascii() and number.isdigit() and len(number) < 20 else 0, meta.lastUpdated)


def _name(param: str) -> str:
    """Without modifier and chain: `patient:Patient.name` is `patient`."""
    return re.split(r"[:.]", param, maxsplit=1)[0]


def _escaped(part: str) -> str:
    """FHIR's own escapes inside a token; the URL's come on top."""
    return re.sub(r"([\\$,|])", r"\\\1", part)


def _carries(entry: bytes, resource_type: str, system: str, value: str) -> bool:
    try:
        resource = _decode_identified(entry)
    except UNREADABLE:
        raise Incomplete(f"GET {resource_type} by identifier: an identifier cannot be read.") from None
    one_or_more = resource.identifier  # Claim has a list; QuestionnaireResponse has one
    identifiers = one_or_more if isinstance(one_or_more, list) else [one_or_more]
    return resource.resourceType == resource_type and _Identifier(system, value) in identifiers
