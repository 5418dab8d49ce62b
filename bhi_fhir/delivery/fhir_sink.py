"""The FHIR server itself as destination, through the best door that its /metadata offers.

    transaction   all of a patient's new drafts in one Bundle, each with ifNoneExist on its identifier
    conditional   POST with If-None-Exist, one by one
    own id        PUT with an id of ours, for a line that was never confirmed (updateCreate)
    plain         POST after a search: a send that is not answered is a person's to find out

A transaction that the server refuses as a whole is taken apart into single creates. What is there is only
changed with If-Match; a server without versions is not written to twice.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

import msgspec

from bhi_fhir.delivery.line import Content, Draft, Line, Nothing, Receipt, Seen, Several, Standing
from bhi_fhir.delivery.sink import failure
from bhi_fhir.drafts.identity import SYSTEM
from bhi_fhir.drafts.provenance import provenance
from bhi_fhir.drafts.site import DraftSite
from bhi_fhir.errors import Incomplete, Refused, ServerError
from bhi_fhir.fhir.capabilities import Capabilities
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import find_by_identifier, search
from bhi_fhir.fhir.writing import EntryAnswer, create, put_own_id, read_standing, transact, update
from bhi_fhir.views.common import UNREADABLE

Door = Literal["transaction", "conditional", "own id", "plain"]

_APART = frozenset({400, 403, 404, 405, 422, 501})
"""A transaction refused so may have failed for one of its entries, or for being a transaction."""


class FhirSink:
    """`clock` tells now, aware, for the Provenance."""

    name = "fhir"
    drafts = True

    def __init__(self, client: BhiClient, served: Capabilities, site: DraftSite, clock: Callable[[], datetime]) -> None:
        self._client = client
        self._served = served
        self._site = site
        self._clock = clock
        self.keyed = "plain" not in {self._door(kind) for kind in ("ChargeItem", "Claim")}

    def takes(self, draft: Draft) -> bool:
        """What /metadata offers; a server that lists no types at all is asked."""
        kind = draft.resource_type
        if not self._served.types:
            return True
        return self._served.can(kind, "create") or self._door(kind) == "own id"

    def _door(self, kind: str) -> Door:
        offered = self._served.types.get(kind)
        if offered is None or offered.conditional_create:
            return "transaction" if self._served.transaction else "conditional"
        return "own id" if offered.update_create else "plain"

    # -- looking ------------------------------------------------------------------------------------

    async def look(self, line: Line) -> Seen:
        if line.reference:
            there = await read_standing(self._client, line.reference)
            return Nothing(deleted=True) if there.body is None else _standing(there.body)
        found = await find_by_identifier(self._client, line.draft.resource_type, SYSTEM, line.identifier)
        if len(found) > 1:
            return Several(len(found))
        return _standing(found[0]) if found else Nothing()

    # -- creating -----------------------------------------------------------------------------------

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        if len({self._door(line.draft.resource_type) for line in lines} | {"transaction"}) == 1:
            return await self._together(lines)
        return [await self._singly(line) for line in lines]

    async def _together(self, lines: Sequence[Line]) -> list[Receipt]:
        bundle = _transaction([_conditional_entry(line.draft) for line in lines])
        try:
            answers = await transact(self._client, bundle)
        except Refused as refused:
            if refused.status in _APART:
                return [await self._singly(line) for line in lines]
            return [failure(refused)] * len(lines)
        except ServerError as error:
            return [failure(error)] * len(lines)
        return [_receipt(answer) for answer in answers]

    async def _singly(self, line: Line) -> Receipt:
        draft = line.draft
        door = self._door(draft.resource_type)
        if door == "own id":
            own = f"{draft.resource_type}/{draft.identifier}"
            return await _sent(put_own_id(self._client, own, {**draft.content, "id": draft.identifier}))
        condition = None if door == "plain" else _condition(draft)
        return await _sent(create(self._client, draft.content, if_none_exist=condition))

    # -- changing -----------------------------------------------------------------------------------

    async def change(self, line: Line, draft: Draft) -> Receipt:
        if not line.version:
            return Receipt("refused", line.reference, reason="the server has no versions: it must be changed by hand")
        content = {**draft.content, "id": line.reference.rpartition("/")[2]}
        return await _sent(update(self._client, line.reference, content, if_match=line.version))

    # -- witness ------------------------------------------------------------------------------------

    async def witness(self, lines: Sequence[Line], evidence: Iterable[str]) -> str:
        """Write the Provenance of lines that were created; "" or why it was not written.

        A request of its own: only now it is known what was written, and a server may well take charges and no
        Provenance (Epic). One that was written just before a crash is found and not written again.
        """
        if self._served.types and not self._served.can("Provenance", "create"):
            return "Its Provenance was not written: the server takes none."
        try:
            missing = [line for line in lines if not await self._is_witnessed(line)]
            if not missing:
                return ""
            created = [(_versioned(line), line.content) for line in missing]
            made = provenance(created, evidence, self._clock(), self._site)
            await create(self._client, json.loads(made.model_dump_json()))
        except ServerError as error:
            return f"Its Provenance was not written: {error}"
        return ""

    async def _is_witnessed(self, line: Line) -> bool:
        offered = self._served.types.get("Provenance")
        if offered is None or "target" not in offered.search_params:
            return False
        found = await search(self._client, "Provenance", {"target": line.reference, "_count": "1"})
        return bool(found.entries)


def _standing(body: bytes) -> Standing:
    """Incomplete for what is no resource: whether ours stands there cannot be said."""
    try:
        content: Content = msgspec.json.decode(body, type=dict[str, Any])
    except UNREADABLE:
        raise Incomplete("What the server gave for a draft cannot be read.") from None
    meta = content.get("meta")
    version = str(meta.get("versionId") or "") if isinstance(meta, dict) else ""
    return Standing(f"{content.get('resourceType')}/{content.get('id')}", version, content)


async def _sent(sending: Awaitable[EntryAnswer]) -> Receipt:
    try:
        return _receipt(await sending)
    except ServerError as error:
        return failure(error)


def _receipt(answer: EntryAnswer) -> Receipt:
    if answer.problem:
        return failure(answer.problem)
    reference, version = answer.reference or "", answer.version or ""
    if not reference:  # Azure says nothing of a conditional match: the next look finds it
        return Receipt("unknown", reason="the server does not say where it stands", existed=answer.status == 200)
    return Receipt("confirmed", reference, version, existed=answer.status == 200)


def _transaction(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "transaction", "entry": entries}


def _conditional_entry(draft: Draft) -> dict[str, Any]:
    request = {"method": "POST", "url": draft.resource_type, "ifNoneExist": _condition(draft)}
    return {"fullUrl": f"urn:uuid:{draft.identifier}", "resource": draft.content, "request": request}


def _condition(draft: Draft) -> str:
    """One token and only the query: Firely sent the URL and HAPI choked on references (hapi-fhir #2842, #5651)."""
    return urlencode({"identifier": f"{SYSTEM}|{draft.identifier}"})


def _versioned(line: Line) -> str:
    return f"{line.reference}/_history/{line.version}" if line.version else line.reference
