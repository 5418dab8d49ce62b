"""Oracle Health (Millennium): charges by its own operations on ChargeItem.

Documented (docs.oracle.com, Millennium Platform APIs, and fhir.cerner.com, ChargeItem R4):

    POST ChargeItem/$create        Parameters transactionId, chargeItem; the status in it must be `unknown`
    POST ChargeItem/{id}/$modify   the same, with the extension `replacing`; makes a new ChargeItem
    POST ChargeItem/{id}/$credit   Parameters transactionId, versionId, subject, context; makes an offset
    GET  ChargeItem                by _id, account or context only, and `-status` must be `billable`

`context` is required and must be an Encounter: a draft without one is refused here. A code has one coding, of
the tenant's own systems. A performer has one of three functions. `$create` makes a charge event, from which the
charges come later, and does not say their ids: a charge can be changed only once a search has shown it.

Assumed, and to be tried at each site: that an extension `bill-code-schedule` may be left out where the site names
no schedule; that `$create` does not know a transactionId again (so it is never repeated); that noon UTC
of the day, which is the same day in every state, is a good occurrence.
fhir.cerner.com writes `$modify` without the id; the newer pages have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID, uuid5

from bhi_fhir.delivery.charged import Charged, charged
from bhi_fhir.delivery.dft_message import CPT
from bhi_fhir.delivery.line import APPROVED, WITHDRAWN, Draft, Line, Receipt, Seen, Several, Standing, Unseen
from bhi_fhir.delivery.sink import failure
from bhi_fhir.errors import Incomplete, ServerError
from bhi_fhir.fhir.carrier import Answer
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import search

BillCodes = Literal["CPT", "HCPCS", "ICD"]

_EXTENSION = "https://fhir-ehr.cerner.com/r4/StructureDefinition"
_PERFORMER = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3", "code": "PRF"}]}
_KIND = "ChargeItem"
_NOT_HERE = 422
"""What HTTP says of content that cannot be processed: another door may take the line."""
_LOCATION = re.compile(r"/(ChargeItem/[A-Za-z0-9.-]{1,64})$")
_ETAG = re.compile(r'W/"([A-Za-z0-9.-]{1,64})"')


class OracleSink:
    """`schedules`: the site's bill code schedule (code set 14002) of each kind of code."""

    name = "oracle"
    keyed = False
    drafts = False

    def __init__(self, client: BhiClient, schedules: Mapping[BillCodes, str]) -> None:
        self._client = client
        self._schedules = schedules
        # The tenant's id is the end of its base URL and stands in the names of its code systems.
        self._codes = f"https://fhir.cerner.com/{client.gate.base_url.rpartition('/')[2]}"

    def takes(self, draft: Draft) -> bool:
        return draft.resource_type == _KIND

    async def look(self, line: Line) -> Seen:
        """By encounter, code and day. Not there says nothing: the charge may come yet, or be billed already."""
        charge = charged(line.draft)
        if not charge.encounter:
            return Unseen()
        context = charge.encounter.removeprefix("Encounter/")
        found = await search(self._client, _KIND, {"context": context, "-status": APPROVED[_KIND]})
        if not found.complete:
            raise Incomplete(found.withheld[0])
        standing = [resource for resource in map(json.loads, found.entries) if _is(resource, charge)]
        if len(standing) > 1:
            return Several(len(standing))
        return _standing(standing[0], line) if standing else Unseen()

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        """One request each: Oracle's only Bundle is a batch, which would be no more than that."""
        return [await self._create(line) for line in lines]

    async def change(self, line: Line, draft: Draft) -> Receipt:
        if not (line.reference and line.version):
            return Receipt("refused", reason="Oracle has not said which charge it made of it: change it by hand.")
        number = _transaction(line)
        if draft.content["status"] == WITHDRAWN[_KIND]:
            return await self._post(f"{line.reference}/$credit", _credit(line, number))
        if reason := _obstacle(line, draft):
            return Receipt("refused", reason=reason, status=_NOT_HERE)
        resource = self._charge(charged(draft))
        resource["extension"] = [_replacing(line)]
        return await self._post(f"{line.reference}/$modify", _parameters(number, resource))

    async def _create(self, line: Line) -> Receipt:
        if reason := _obstacle(line, line.draft):
            return Receipt("refused", reason=reason, status=_NOT_HERE)
        number = _transaction(line)
        return await self._post(f"{_KIND}/$create", _parameters(number, self._charge(charged(line.draft))))

    async def _post(self, path: str, parameters: dict[str, Any]) -> Receipt:
        try:
            return _receipt(await self._client.ask("POST", path, data=parameters))
        except ServerError as error:
            return failure(error)

    def _charge(self, charge: Charged) -> dict[str, Any]:
        ((day, number),) = charge.served
        resource: dict[str, Any] = {
            "resourceType": _KIND,
            "status": "unknown",
            "code": {"coding": [self._coding("CPT" if charge.system == CPT else "HCPCS", charge.code)]},
            "subject": {"reference": charge.patient},
            "context": {"reference": charge.encounter},
            "occurrenceDateTime": f"{day}T12:00:00Z",
            "quantity": {"value": number},
        }
        if charge.performer:
            resource["performer"] = [{"function": _PERFORMER, "actor": {"reference": charge.performer}}]
        if charge.diagnoses:
            resource["reason"] = [self._reason(*each) for each in enumerate(charge.diagnoses, 1)]
        return resource

    def _reason(self, priority: int, diagnosis: str) -> dict[str, Any]:
        ranked = {"url": f"{_EXTENSION}/priority", "valueUnsignedInt": priority}
        return {"extension": [ranked], "coding": [self._coding("ICD", diagnosis)]}

    def _coding(self, kind: BillCodes, code: str) -> dict[str, Any]:
        coding: dict[str, Any] = {"system": f"{self._codes}/CodeSystem/BillCodes-{kind}", "code": code}
        if schedule := self._schedules.get(kind):
            value = {"system": f"{self._codes}/codeSet/14002", "code": schedule}
            coding["extension"] = [{"url": f"{_EXTENSION}/bill-code-schedule", "valueCoding": value}]
        return coding


def _obstacle(line: Line, draft: Draft) -> str:
    """Why Oracle cannot take it; "" if it can."""
    charge = charged(draft)
    if draft.content["status"] != APPROVED[_KIND] and not line.approved_by:
        return "Oracle has no drafts: only what a named person approved is sent."
    if not charge.encounter:
        return "Oracle takes a charge only on an Encounter, and this one belongs to none: enter it by hand."
    if len(charge.served) > 1:
        return "Oracle takes a charge of one day, and this one has several: enter it by hand."
    return ""


def _transaction(line: Line) -> str:
    return f"urn:uuid:{uuid5(UUID(line.identifier), str(line.revision))}"


def _parameters(number: str, resource: dict[str, Any]) -> dict[str, Any]:
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "transactionId", "valueUuid": number},
            {"name": "chargeItem", "resource": resource},
        ],
    }


def _credit(line: Line, number: str) -> dict[str, Any]:
    charge = charged(line.draft)
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "transactionId", "valueUuid": number},
            {"name": "versionId", "valueId": line.version},
            {"name": "subject", "valueReference": {"reference": charge.patient}},
            {"name": "context", "valueReference": {"reference": charge.encounter}},
        ],
    }


def _replacing(line: Line) -> dict[str, Any]:
    version = {"url": "item-version", "valueId": line.version}
    return {
        "url": f"{_EXTENSION}/replacing",
        "extension": [version],
        "valueReference": {"reference": line.reference},
    }


def _receipt(answer: Answer) -> Receipt:
    """$modify and $credit name the new ChargeItem; the location of $create is $create itself."""
    located = _LOCATION.search(answer.headers.get("location", ""))
    tagged = _ETAG.fullmatch(answer.headers.get("etag", ""))
    if located is None:
        return Receipt("sent", reason="Oracle has taken the charge and has not shown it yet.", status=answer.status)
    return Receipt("confirmed", located[1], tagged[1] if tagged else "", status=answer.status)


def _is(resource: dict[str, Any], charge: Charged) -> bool:
    """Whether it charges the same code of the same patient on the same day, and nothing offsets it."""
    offset = any(each.get("url") == f"{_EXTENSION}/offset-by" for each in resource.get("extension", ()))
    return (
        not offset
        and resource.get("subject", {}).get("reference") == charge.patient
        and str(resource.get("occurrenceDateTime", ""))[:10] == charge.served[0][0]
        and charge.code in set(_codes(resource))
    )


def _codes(resource: dict[str, Any]) -> Iterator[str]:
    """Its own, and those beside it: where a site has a charge master, that code comes first."""
    yield from _coded(resource.get("code", {}))
    for extension in resource.get("extension", ()):
        if extension.get("url") == f"{_EXTENSION}/procedure-code":
            for part in extension.get("extension", ()):
                yield from _coded(part.get("valueCodeableConcept", {}))


def _coded(concept: dict[str, Any]) -> Iterator[str]:
    return (coding["code"] for coding in concept.get("coding", ()) if "code" in coding)


def _standing(resource: dict[str, Any], line: Line) -> Standing:
    """In our words: Oracle's own are another resource, of which only the units can differ."""
    content = {**line.content, "quantity": resource.get("quantity", {})}
    version = str(resource.get("meta", {}).get("versionId", ""))
    return Standing(f"{_KIND}/{resource['id']}", version, content)
