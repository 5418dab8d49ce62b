"""AuditEvents as JSON, by IHE Basic Audit Log Patterns 1.1.4 (https://profiles.ihe.net/ITI/BALP).

BALP's roles are odd and deliberate (its §3:5.7.3): who asks is the *source* of a search and of a write, but the
*destination* of a read. Its profiles are for what succeeded: an event with another outcome, or with none yet,
names no profile. How many resources a search found is not recorded, by BALP's own words.

Plain dicts: a sync of 10,000 patients makes 150,000 of them, and a pydantic model costs twenty times as much.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal, NamedTuple

Json = dict[str, Any]
WriteKind = Literal["create", "update", "delete"]

_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"
_DCM = "http://dicom.nema.org/resources/ontology/DCM"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_INTERACTION = "http://hl7.org/fhir/restful-interaction"
_LIFECYCLE = "http://terminology.hl7.org/CodeSystem/iso-21089-lifecycle"
_EVENT = "http://terminology.hl7.org/CodeSystem/audit-event-type"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_SOURCE = "http://terminology.hl7.org/CodeSystem/security-source-type"

_REST = {"system": _EVENT, "code": "rest"}
_PATIENT_RECORD = {"system": _DCM, "code": "110110"}
_SECURITY_ALERT = {"system": _DCM, "code": "110113"}
_OBJECT = {"system": _ENTITY, "code": "2"}
_SUCCESS, _REFUSED, _UNKNOWN = "0", "4", "8"


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who signed in. `id`, `issuer`: the token's sub and iss. `token`: its jti, where it is known."""

    name: str
    id: str = ""
    issuer: str = ""
    token: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """A resource that is written: `identifier` ("system|value") before it has a `reference` ("ChargeItem/1")."""

    resource_type: str
    identifier: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Site:
    """Who always takes part: `host` is this machine's name, `client_id` that of the OAuth client if there is one."""

    name: str
    version: str
    host: str
    server: str
    client_id: str = ""


class _Kind(NamedTuple):
    """An interaction as BALP profiles it; roles are (system, code)."""

    profile: str
    action: str
    client: tuple[str, str]
    server: tuple[str, str]
    user: str


_ASKER, _ANSWERER = (_DCM, "110153"), (_DCM, "110152")
_APPLICATION = (_DCM, "110150")
_CUSTODIAN = ("http://terminology.hl7.org/CodeSystem/provenance-participant-type", "custodian")
_RECIPIENT, _AUTHOR = "IRCP", "AUT"

_SEARCH = _Kind("Query", "E", _ASKER, _ANSWERER, _RECIPIENT)
_READ = _Kind("Read", "R", _ANSWERER, _ASKER, _RECIPIENT)
_WRITES: dict[WriteKind, _Kind] = {
    "create": _Kind("Create", "C", _ASKER, _ANSWERER, _AUTHOR),
    "update": _Kind("Update", "U", _ASKER, _ANSWERER, _AUTHOR),
    "delete": _Kind("Delete", "D", _APPLICATION, _CUSTODIAN, _AUTHOR),
}


class Act(NamedTuple):
    """What a person does: a code of ISO 21089, how the person takes part, and the AuditEvent's action."""

    lifecycle: str
    part: str
    action: str


VIEWED = Act("access", _RECIPIENT, "R")
APPROVED = Act("verify", "VRF", "E")
ATTESTED = Act("attest", "AUTHEN", "E")


class Events:
    """The events of one patient, or of no patient, at one site; what they share is made once."""

    def __init__(self, site: Site, patient: str | None, user: Person | None) -> None:
        self._site = site
        self._user = user
        self._of_patient = [_patient(patient)] if patient else []
        self._prefix = f"{_BALP}.Patient" if patient else f"{_BALP}."
        self._source = {
            "site": site.name,
            "observer": {"display": f"bhi-fhir {site.version}"},
            "type": [{"system": _SOURCE, "code": "4"}],
        }
        self._agents = {kind: self._parties(kind) for kind in (_SEARCH, _READ, *_WRITES.values())}
        self._metas = {kind: {"profile": self._profiles(kind)} for kind in self._agents}

    def search(self, recorded: str, request: str, status: int | None) -> Json:
        """`request` is what was asked, as it was asked."""
        query = base64.b64encode(request.encode("utf-8", "replace")).decode("ascii")
        return self._rest(_SEARCH, "search", recorded, _outcome(status), [_query(query)])

    def read(self, recorded: str, reference: str, status: int | None) -> Json:
        interaction = "vread" if "/_history/" in reference else "read"
        return self._rest(_READ, interaction, recorded, _outcome(status), [_data({"reference": reference})])

    def announced(self, recorded: str, kind: WriteKind, item: Item) -> Json:
        """Without an outcome: it is about to be sent."""
        return self._rest(_WRITES[kind], kind, recorded, {"outcomeDesc": "announced"}, [_data(_what(item))])

    def written(self, recorded: str, kind: WriteKind, item: Item, status: int | None) -> Json:
        return self._rest(_WRITES[kind], kind, recorded, _outcome(status), [_data(_what(item))])

    def act(self, recorded: str, act: Act, by: Person, entities: Iterable[Json]) -> Json:
        """What a person did in bhi-fhir itself; BALP profiles no such event."""
        return {
            "resourceType": "AuditEvent",
            "type": _PATIENT_RECORD,
            "subtype": [{"system": _LIFECYCLE, "code": act.lifecycle}],
            "action": act.action,
            "recorded": recorded,
            "outcome": _SUCCESS,
            "agent": [_person(by, act.part), self._client(_APPLICATION)],
            "source": self._source,
            "entity": [*self._of_patient, *entities],
        }

    def torn(self, recorded: str, cut_off: bytes) -> Json:
        """Stands where a line was cut off."""
        detail = [
            {"type": "bytes", "valueString": str(len(cut_off))},
            {"type": "sha256", "valueString": sha256(cut_off).hexdigest()},
        ]
        return {
            "resourceType": "AuditEvent",
            "type": _SECURITY_ALERT,
            "recorded": recorded,
            "outcome": _UNKNOWN,
            "outcomeDesc": "The line that stood here was cut off; its bytes are in the .torn file.",
            "agent": [self._client(_APPLICATION)],
            "source": self._source,
            "entity": [{"type": _OBJECT, "name": "torn line", "detail": detail}],
        }

    def _rest(self, kind: _Kind, interaction: str, recorded: str, outcome: Json, entities: list[Json]) -> Json:
        event = {
            "resourceType": "AuditEvent",
            "type": _REST,
            "subtype": [{"system": _INTERACTION, "code": interaction}],
            "action": kind.action,
            "recorded": recorded,
            **outcome,
            "agent": self._agents[kind],
            "source": self._source,
            "entity": self._of_patient + entities,
        }
        if event.get("outcome") == _SUCCESS:
            event["meta"] = self._metas[kind]
        return event

    # -- agents -------------------------------------------------------------------------------------

    def _parties(self, kind: _Kind) -> list[Json]:
        agents = [self._client(kind.client), self._server(kind.server)]
        if self._site.client_id and kind.client != _APPLICATION:
            agents.append(self._client(_APPLICATION))
        if self._user:
            agents.append(_person(self._user, kind.user))
        return agents

    def _profiles(self, kind: _Kind) -> list[str]:
        """With OAuth's own profile where the token's client, and its user if there is one, are known."""
        by_user = self._user is not None and kind.user == _RECIPIENT
        known = not by_user or (self._user is not None and self._user.id and self._user.token)
        oauth = [f"{_BALP}.OAUTHaccessTokenUse.Comprehensive"] if self._site.client_id and known else []
        return [self._prefix + kind.profile, *oauth]

    def _client(self, role: tuple[str, str]) -> Json:
        who: Json = {"display": f"bhi-fhir {self._site.version}"}
        if role == _APPLICATION and self._site.client_id:
            who["identifier"] = {"value": self._site.client_id}
        return _agent(role, who, {"address": self._site.host, "type": "1"})

    def _server(self, role: tuple[str, str]) -> Json:
        return _agent(role, {"display": self._site.server}, {"address": self._site.server, "type": "5"})


def item(of: Item) -> Json:
    return _data(_what(of))


def page(name: str) -> Json:
    return {"type": _OBJECT, "role": {"system": _ROLE, "code": "3"}, "name": name}


def requirement(name: str, reason: str) -> Json:
    detail = {"detail": [{"type": "reason", "valueString": reason}]} if reason else {}
    return {"type": _OBJECT, "name": name, **detail}


def _outcome(status: int | None) -> Json:
    """`status`: of HTTP; None where no answer came, and it is unknown what happened."""
    if status is None:
        return {"outcome": _UNKNOWN, "outcomeDesc": "no whole answer"}
    if status // 100 == 2 or status == 304:
        return {"outcome": _SUCCESS}
    return {"outcome": _UNKNOWN if status >= 500 else _REFUSED, "outcomeDesc": f"HTTP {status}"}


def _agent(role: tuple[str, str], who: Json, network: Json) -> Json:
    return {"type": _concept(*role), "who": who, "requestor": False, "network": network}


def _person(person: Person, part: str) -> Json:
    who: Json = {"display": person.name}
    if person.id:
        who["identifier"] = {"value": person.id, **({"system": person.issuer} if person.issuer else {})}
    agent: Json = {"type": _concept(_PARTICIPATION, part), "who": who, "name": person.name, "requestor": True}
    return {**agent, "policy": [f"urn:ietf:params:oauth:jti:{person.token}"]} if person.token else agent


def _concept(system: str, code: str) -> Json:
    return {"coding": [{"system": system, "code": code}]}


def _patient(reference: str) -> Json:
    return {
        "what": {"reference": reference},
        "type": {"system": _ENTITY, "code": "1"},
        "role": {"system": _ROLE, "code": "1"},
    }


def _data(what: Json) -> Json:
    return {"what": what, "type": _OBJECT, "role": {"system": _ROLE, "code": "4"}}


def _query(query: str) -> Json:
    return {"type": _OBJECT, "role": {"system": _ROLE, "code": "24"}, "query": query}


def _what(of: Item) -> Json:
    what: Json = {"type": of.resource_type}
    if of.reference:
        what["reference"] = of.reference
    if of.identifier:
        system, _, value = of.identifier.rpartition("|")
        what["identifier"] = {"value": value, **({"system": system} if system else {})}
    return what
