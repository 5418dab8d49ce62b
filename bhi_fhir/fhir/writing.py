"""Writing: a Bundle or one resource in one request, and what became of it.

Each request is sent once. Conflict says that the server's resource is not the one that was read, or that a condition
matches several; after Unreachable with `sent`, or Incomplete, it is unknown what was written.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from bhi_fhir.errors import Incomplete, Refused, ServerError, Unreachable
from bhi_fhir.fhir.carrier import Answer
from bhi_fhir.fhir.client import BhiClient, not_whole, refusal
from bhi_fhir.views.common import UNREADABLE

Resource = dict[str, Any]

_ID = r"[A-Za-z0-9.-]{1,64}"
_LOCATION = re.compile(rf"(?:^|/)([A-Z][A-Za-z]{{2,39}}/{_ID})(?:/_history/({_ID}))?$")
_ETAG = re.compile(rf'(?:W/)?"?({_ID})"?')


@dataclass(frozen=True)
class EntryAnswer:
    """What the server did with one entry.

    `status`: 201 made, 200 was there or changed, 204 deleted; anything else has a `problem`. `reference`:
    `Type/id`, None where the server does not say it (Azure on a conditional match: search again). `version`:
    for If-Match.
    """

    status: int
    reference: str | None
    version: str | None
    problem: ServerError | None


@dataclass(frozen=True)
class Standing:
    """What stands on the server under a reference. `status`: 200, 404 never there, 410 deleted.

    Some servers answer 404 for what was deleted (Medplum). `body` and `version` are None unless it is 200;
    `version` also where the server keeps none.
    """

    reference: str
    status: int
    body: bytes | None = None
    version: str | None = None


async def create(client: BhiClient, resource: Resource, if_none_exist: str | None = None) -> EntryAnswer:
    """POST of one resource: 201 is new, 200 is a match.

    `if_none_exist`: a search without its question mark, encoded: one identifier token and nothing else, because
    HAPI and Firely stumble over more. Raises Conflict if it matches several.
    """
    headers = {"If-None-Exist": if_none_exist} if if_none_exist else {}
    return await _one(client, "POST", str(resource["resourceType"]), resource, headers)


async def update(client: BhiClient, reference: str, resource: Resource, if_match: str) -> EntryAnswer:
    """PUT over the version that was read, such as "3". Raises Conflict if another version stands there."""
    if not re.fullmatch(_ID, if_match):
        what = f"PUT {_type(reference)}"
        raise Unreachable(f"{what}: the version has odd characters; nothing was sent.", sent=False, passing=False)
    return await _put(client, reference, resource, {"If-Match": f'W/"{if_match}"'})


async def put_own_id(client: BhiClient, reference: str, resource: Resource) -> EntryAnswer:
    """PUT under an id of our own: 201 is new; 200 is another version over what stood there."""
    return await _put(client, reference, resource, {})


async def read_standing(client: BhiClient, reference: str) -> Standing:
    """Reads `Type/id` past every cache. Raises ServerError for every other answer."""
    kind = _type(reference)
    try:
        answer = await client.ask("GET", reference, headers={"Cache-Control": "no-cache"})
    except Refused as error:
        if error.status in {404, 410}:
            return Standing(reference, error.status)
        raise
    known = _known(answer, f"GET {kind}")
    if known.resourceType != kind:
        raise Incomplete(f"GET {kind}: the server answered with another type of resource.")
    return Standing(reference, 200, answer.body, _tagged(answer.headers.get("ETag")) or _own(known))


async def transact(client: BhiClient, bundle: dict[str, Any]) -> list[EntryAnswer]:
    """Posts a transaction or batch Bundle and reads the answer to each entry, in the Bundle's order.

    Never sent twice: after Unreachable or Incomplete it is unknown what was written. Raises Conflict or
    Refused if the server refused the whole. Medplum answers 200 with an inner 412: look at each `problem`.
    """
    what = f"POST {bundle.get('type')}"
    answer = await client.ask("POST", client.gate.base_url, data=bundle)
    try:
        answers = [_entry_answer(entry, what) for entry in _decode(answer.body).entry]
    except (*UNREADABLE, ValueError):
        raise not_whole(what, answer) from None
    if len(answers) != len(bundle["entry"]):
        raise Incomplete(f"{what}: {len(bundle['entry'])} entries were sent and {len(answers)} answered.")
    return answers


async def _put(client: BhiClient, reference: str, resource: Resource, headers: dict[str, str]) -> EntryAnswer:
    _type(reference)
    done = await _one(client, "PUT", reference, resource, headers)
    return done if done.reference else replace(done, reference=reference)


async def _one(client: BhiClient, method: str, path: str, resource: Resource, headers: dict[str, str]) -> EntryAnswer:
    answer = await client.ask(method, path, data=resource, headers=headers)
    what = f"{method} {path.partition('/')[0]}"
    if answer.body:
        _known(answer, what)
    # FHIR R4 puts the place of what was made into Location; Content-Location is older and still sent.
    located = answer.headers.get("Location") or answer.headers.get("Content-Location")
    response = _Response(str(answer.status), located, answer.headers.get("ETag"))
    return _entry_answer(_Entry(response, msgspec.Raw(answer.body)), what)


def _type(reference: str) -> str:
    """`Claim` of `Claim/7`. Raises Unreachable, not sent, for anything else."""
    named = re.fullmatch(rf"([A-Z][A-Za-z]{{2,39}})/{_ID}", reference)
    if named is None:
        raise Unreachable("A reference is no Type/id; nothing was sent.", sent=False, passing=False)
    return named[1]


def _known(answer: Answer, what: str) -> _Resource:
    try:
        return _decode_resource(answer.body)
    except UNREADABLE:
        raise not_whole(what, answer) from None


def _own(known: _Resource) -> str | None:
    return known.meta.versionId if known.meta else None


def _tagged(etag: str | None) -> str | None:
    found = _ETAG.fullmatch(etag or "")
    return found[1] if found else None


class _Response(msgspec.Struct):
    status: str
    location: str | None = None
    etag: str | None = None
    outcome: msgspec.Raw = msgspec.Raw()  # `Raw | None` would refuse everything but null


# What a server may return instead of what it wrote.
_NO_RECORD = frozenset({"OperationOutcome", "Parameters", "Bundle"})


class _Meta(msgspec.Struct):
    versionId: str | None = None  # noqa: N815


class _Resource(msgspec.Struct):
    resourceType: str  # noqa: N815
    id: str | None = None
    meta: _Meta | None = None


class _Entry(msgspec.Struct):
    response: _Response
    resource: msgspec.Raw = msgspec.Raw()


class _Reply(msgspec.Struct, tag_field="resourceType", tag="Bundle"):
    entry: list[_Entry] = []


_decode = msgspec.json.Decoder(_Reply).decode
_decode_resource = msgspec.json.Decoder(_Resource).decode


def _entry_answer(entry: _Entry, what: str) -> EntryAnswer:
    status = int(entry.response.status[:3])
    problem = None if status // 100 == 2 else refusal(what, status, entry.response.outcome)
    reference, version = _whereabouts(entry)
    return EntryAnswer(status, reference, version, problem)


def _whereabouts(entry: _Entry) -> tuple[str | None, str | None]:
    """`Type/id` and version: from the location, whatever base it names, else from ETag and resource."""
    located = _LOCATION.search(entry.response.location or "")
    reference = located[1] if located else None
    version = (located[2] if located else None) or _tagged(entry.response.etag)
    if bytes(entry.resource) and not (reference and version):
        known = _decode_resource(entry.resource)
        if reference is None and known.id and known.resourceType not in _NO_RECORD:
            reference = f"{known.resourceType}/{known.id}"
        version = version or _own(known)
    return reference, version
