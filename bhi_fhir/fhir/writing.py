"""Writing: a Bundle in one request, and what became of each of its entries."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec

from bhi_fhir.errors import Incomplete, ServerError
from bhi_fhir.fhir.client import BhiClient, not_whole, refusal
from bhi_fhir.fhir.outcome import UNREADABLE

_ID = r"[A-Za-z0-9.-]{1,64}"
_LOCATION = re.compile(rf"(?:^|/)([A-Z][A-Za-z]{{2,39}}/{_ID})(?:/_history/({_ID}))?$")
_ETAG = re.compile(rf'(?:W/)?"?({_ID})"?')


@dataclass(frozen=True)
class EntryAnswer:
    """What the server did with one entry.

    `status`: 201 made, 200 was there or changed, 204 deleted; anything else has a `problem`. `reference`:
    `Type/id`, None where the server does not say it (Azure on a conditional match: search again). `version`:
    for If-Match. `resource`: the JSON if the server sent it.
    """

    status: int
    reference: str | None
    version: str | None
    resource: bytes | None
    problem: ServerError | None


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


class _Response(msgspec.Struct):
    status: str
    location: str | None = None
    etag: str | None = None
    outcome: msgspec.Raw = msgspec.Raw()  # `Raw | None` would refuse everything but null


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
    return EntryAnswer(status, reference, version, bytes(entry.resource) or None, problem)


def _whereabouts(entry: _Entry) -> tuple[str | None, str | None]:
    """`Type/id` and version: from the location, whatever base it names, else from ETag and resource."""
    located = _LOCATION.search(entry.response.location or "")
    tagged = _ETAG.fullmatch(entry.response.etag or "")
    reference = located[1] if located else None
    version = (located[2] if located else None) or (tagged[1] if tagged else None)
    if bytes(entry.resource) and not (reference and version):
        known = _decode_resource(entry.resource)
        if reference is None and known.id and known.resourceType != "OperationOutcome":
            reference = f"{known.resourceType}/{known.id}"
        if version is None and known.meta is not None:
            version = known.meta.versionId
    return reference, version
