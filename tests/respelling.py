"""One record, written in every legal way. Each spelling changes how a record is written and nothing that it says.

A Writing is a record on its way to bytes: its entries, its container, and the names that its resources had before.
Spellings are applied in the order of SPELLINGS; of each group (`_GROUPS`) at most one.
"""

from __future__ import annotations

import copy
import json
import random
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from record import BASE, CPT, HCPCS, ICD10, LOINC, NPI, NUCC

Resource = dict[str, Any]

OIDS = {
    CPT: "urn:oid:2.16.840.1.113883.6.12",
    HCPCS: "urn:oid:2.16.840.1.113883.6.285",
    f"https{HCPCS[4:]}": HCPCS,
    ICD10: "urn:oid:2.16.840.1.113883.6.90",
    NUCC: "urn:oid:2.16.840.1.113883.6.101",
    LOINC: "urn:oid:2.16.840.1.113883.6.1",
    "http://snomed.info/sct": "urn:oid:2.16.840.1.113883.6.96",
    "http://unitsofmeasure.org": "urn:oid:2.16.840.1.113883.6.8",
    NPI: "urn:oid:2.16.840.1.113883.4.6",
}
UNREAD = ("AllergyIntolerance", "Basic", "Binary", "CarePlan", "Immunization", "List", "Provenance", "ServiceRequest")
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)")
_LOCAL = {"system": "urn:example:local", "code": "X-17", "display": "a local word"}
_UNKNOWN = [{"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": "unknown"}]


@dataclass
class Entry:
    resource: Resource
    full_url: str | None = None


@dataclass
class Writing:
    entries: list[Entry]
    chance: random.Random
    names: dict[str, str] = field(default_factory=dict)
    """What a resource is called now -> what it was called in the tidy record."""
    container: str = "bundle"
    pretty: bool = False
    bom: bool = False
    escaped: bool = False

    @property
    def resources(self) -> Iterator[Resource]:
        return (entry.resource for entry in self.entries)

    def of(self, *kinds: str) -> list[Resource]:
        return [r for r in self.resources if r["resourceType"] in kinds]

    def named(self, reference: str) -> Resource | None:
        return next((r for r in self.resources if name_of(r) == reference), None)

    def add(self, resource: Resource) -> None:
        self.entries.append(Entry(resource, f"{BASE}/{name_of(resource)}"))

    def drop(self, *kinds: str) -> None:
        self.entries = [e for e in self.entries if e.resource["resourceType"] not in kinds]

    def bytes(self) -> bytes:
        data = CONTAINERS[self.container](self)
        return (b"\xef\xbb\xbf" if self.bom else b"") + data

    def dump(self, value: Any) -> str:
        said = json.dumps(value, ensure_ascii=False, indent=2 if self.pretty else None)
        # The same JSON with a letter of its names and values written as an escape.
        return said.replace('"resourceType"', '"re\\u0073ourceType"').replace("finished", "finishe\\u0064") if (
            self.escaped
        ) else said  # fmt: skip


def writing(bundle: Resource, seed: int) -> Writing:
    entries = [Entry(copy.deepcopy(e["resource"]), e["fullUrl"]) for e in bundle["entry"]]
    return Writing(entries, random.Random(seed))


def name_of(resource: Resource) -> str:
    return f"{resource['resourceType']}/{resource['id']}"


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    """Every JSON object inside, the outermost first."""
    if isinstance(node, dict):
        yield node
        for value in list(node.values()):
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def references(resource: Resource) -> Iterator[dict[str, Any]]:
    return (n for n in nodes(resource) if isinstance(n.get("reference"), str))


def mapped(node: Any, change: Callable[[Any], Any]) -> Any:
    """The same JSON with every leaf changed."""
    if isinstance(node, dict):
        return {key: mapped(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [mapped(value, change) for value in node]
    return change(node)


def _each(writing: Writing, change: Callable[[Any], Any]) -> None:
    for entry in writing.entries:
        entry.resource = mapped(entry.resource, change)


# -- people and patients ----------------------------------------------------------------------------


def people_by_npi(writing: Writing) -> None:
    """Logical references: the identifier instead of the id."""
    for kind, type_named in (("Practitioner", True), ("Patient", False)):
        for target in writing.of(kind):
            _logical(writing, target, kind if type_named else None)


def organizations_by_identifier(writing: Writing) -> None:
    for target in writing.of("Organization"):
        target["identifier"] = [{"system": "urn:example:organizations", "value": target["id"]}]
        _logical(writing, target, "http://hl7.org/fhir/StructureDefinition/Organization")


def _logical(writing: Writing, target: Resource, kind: str | None) -> None:
    for resource in writing.resources:
        for reference in references(resource):
            if reference["reference"] == name_of(target):
                del reference["reference"]
                reference["identifier"] = {"use": "official", **target["identifier"][0]}
                if kind:
                    reference["type"] = kind


def encounters_by_identifier(writing: Writing) -> None:
    for target in writing.of("Encounter"):
        target["identifier"] = [{"system": "urn:example:visits", "value": target["id"]}]
        _logical(writing, target, None)


def conditional_references(writing: Writing) -> None:
    """As transactions write them."""
    for target in writing.of("Practitioner"):
        identifier = target["identifier"][0]
        _point(writing, name_of(target), f"Practitioner?identifier={identifier['system']}|{identifier['value']}")


def dangling_references_with_an_npi(writing: Writing) -> None:
    """The id means nothing here, the identifier beside it does."""
    for target in writing.of("Practitioner"):
        for resource in writing.resources:
            for reference in references(resource):
                if reference["reference"] == name_of(target):
                    reference["reference"] = "Practitioner/of-another-time"
                    reference["identifier"] = dict(target["identifier"][0])


def _point(writing: Writing, old: str, new: str, share: float = 1.0) -> None:
    for resource in writing.resources:
        for reference in references(resource):
            if reference["reference"] == old and writing.chance.random() < share:
                reference["reference"] = new


def people_as_roles(writing: Writing) -> None:
    """PractitionerRole instead of Practitioner wherever somebody is named."""
    roles = {r["practitioner"]["reference"]: name_of(r) for r in writing.of("PractitionerRole")}
    for resource in writing.resources:
        if resource["resourceType"] != "PractitionerRole":
            for reference in references(resource):
                reference["reference"] = roles.get(reference["reference"], reference["reference"])


def contained_people(writing: Writing) -> None:
    """Each resource brings its own copy of whom it names; the people stand beside it as well."""
    _contain(writing, "Practitioner")


def only_contained_people(writing: Writing) -> None:
    """The same, and nowhere else: who is who is told by the NPI."""
    _known_by_npi(writing)
    _contain(writing, "Practitioner")
    writing.drop("Practitioner")


def only_contained_roles(writing: Writing) -> None:
    """A contained PractitionerRole that names a contained Practitioner."""
    _known_by_npi(writing)
    people_as_roles(writing)
    _contain(writing, "PractitionerRole")
    _contain(writing, "Practitioner")
    writing.drop("Practitioner", "PractitionerRole")


def _known_by_npi(writing: Writing) -> None:
    for person in writing.of("Practitioner"):
        writing.names[f"{NPI}|{person['identifier'][0]['value']}"] = name_of(person)


def _contain(writing: Writing, kind: str) -> None:
    targets = {name_of(r): r for r in writing.of(kind)}
    for resource in writing.resources:
        if resource["resourceType"] == "Practitioner" or (kind, resource["resourceType"]) == ("PractitionerRole",) * 2:
            continue
        for reference in list(references(resource)):
            target = targets.get(reference["reference"])
            if target is not None:
                name = f"inside-{target['id']}"
                reference["reference"] = f"#{name}"
                held = resource.setdefault("contained", [])
                if not any(h["id"] == name for h in held):
                    held.append({**copy.deepcopy(target), "id": name})


def people_twice(writing: Writing) -> None:
    """A second Practitioner with the same NPI, whom half of the references mean."""
    for person in writing.of("Practitioner"):
        twin = {**copy.deepcopy(person), "id": f"zz-{person['id']}"}
        _point(writing, name_of(person), name_of(twin), 0.5)
        writing.names[name_of(twin)] = name_of(person)
        writing.add(twin)


def contained_patients(writing: Writing) -> None:
    """Each resource brings its own copy of the patient, who is told by the identifier."""
    _contain(writing, "Patient")


def a_merged_patient(writing: Writing) -> None:
    """Half of the record still names a Patient who was merged into the one that is left."""
    [patient] = writing.of("Patient")
    old = {"resourceType": "Patient", "id": "zz-old", "active": False}
    _point(writing, name_of(patient), "Patient/zz-old", 0.5)
    if writing.chance.random() < 0.5:
        old["link"] = [{"other": {"reference": name_of(patient)}, "type": "replaced-by"}]
    else:
        patient["link"] = [{"other": {"reference": "Patient/zz-old"}, "type": "replaces"}]
    writing.add(old)


# -- codes, texts, numbers, dates -------------------------------------------------------------------


def local_codings(writing: Writing) -> None:
    """Before and after each coding one that nobody knows, and words."""
    for resource in writing.resources:
        for node in nodes(resource):
            if isinstance(node.get("coding"), list):
                for coding in node["coding"]:
                    coding |= {"display": "words", "version": "2026", "userSelected": False}
                node["coding"] = [dict(_LOCAL), *node["coding"], {"system": "urn:example:other", "code": "99"},
                                  {"display": "words only"}, {"code": "no-system"}]  # fmt: skip
                node["text"] = "words"


def other_code_systems(writing: Writing) -> None:
    """OIDs for URIs, http for https."""
    for resource in writing.resources:
        for node in nodes(resource):
            if node.get("system") in OIDS:
                node["system"] = OIDS[node["system"]]


def in_utc(writing: Writing) -> None:
    _redate(writing, lambda _: timedelta(), ".000", "Z")


def in_other_zones(writing: Writing) -> None:
    """Each dateTime in a zone of its own."""
    _redate(writing, lambda chance: timedelta(minutes=30 * chance.randint(-24, 28)), "", "")


def with_fractions(writing: Writing) -> None:
    _redate(writing, None, ".0000000", "")


def _redate(writing: Writing, offset: Callable[[random.Random], timedelta] | None, fraction: str, zone: str) -> None:
    def change(leaf: Any) -> Any:
        if not isinstance(leaf, str) or not _DATE_TIME.fullmatch(leaf):
            return leaf
        moment = datetime.fromisoformat(leaf)
        if offset is not None:
            moment = moment.astimezone(timezone(offset(writing.chance)))
        said = moment.isoformat()
        return said[:19] + fraction + (zone or said[19:])

    _each(writing, change)


def decimal_numbers(writing: Writing) -> None:
    """40 is 40.0."""
    _each(writing, lambda leaf: float(leaf) if isinstance(leaf, int) and not isinstance(leaf, bool) else leaf)


# -- what nobody reads ------------------------------------------------------------------------------


def extensions(writing: Writing) -> None:
    """Extensions on resources, on primitives and on what is absent."""
    for resource in writing.resources:
        resource["extension"] = [{"url": "urn:example:extension", "extension": [{"url": "a", "valueDecimal": 1e-7}]}]
        for name in ("status", "birthDate", "recordedDate", "authored", "performedDateTime"):
            if name in resource:
                resource[f"_{name}"] = {"id": "a", "extension": [{"url": "urn:example:x", "valueBoolean": True}]}
        resource["_language"] = {"extension": _UNKNOWN}


def extra_fields(writing: Writing) -> None:
    """Narrative, meta, language, and fields of a vendor that R4 does not have."""
    for resource in writing.resources:
        resource["text"] = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">"words" ✓</div>'}
        resource["language"] = "en-US"
        resource["meta"] = {"profile": ["urn:example:profile"], "source": "#1", "tag": [{"code": "a-tag"}]}
        resource["vendorField"] = {"deep": [[[[{"status": "cancelled", "system": 7}]]]], "number": 12345678901234567890}


def lists_in_another_order(writing: Writing) -> None:
    """Of codings, identifiers, members and answers the order says nothing."""
    for resource in writing.resources:
        for node in nodes(resource):
            for name in ("coding", "identifier", "participant", "performer", "category", "type", "item", "specialty"):
                if isinstance(node.get(name), list):
                    writing.chance.shuffle(node[name])


def keys_in_another_order(writing: Writing) -> None:
    for entry in writing.entries:
        names = list(entry.resource)
        writing.chance.shuffle(names)
        entry.resource = {name: entry.resource[name] for name in names}


def unread_types(writing: Writing) -> None:
    """Resources of types that say nothing here, about the same patient."""
    for number, kind in enumerate(UNREAD):
        about = {"subject": copy.deepcopy(writing.of("Coverage")[0]["beneficiary"]), "status": 17, "period": "never"}
        writing.entries.append(Entry({"resourceType": kind, "id": f"unread-{number}", **about}))
    writing.entries.append(Entry({"resourceType": "OperationOutcome", "id": "said", "issue": [
        {"severity": "information", "code": "informational", "diagnostics": "all is well"}]}))  # fmt: skip


# -- versions and copies ----------------------------------------------------------------------------


def old_versions(writing: Writing) -> None:
    """Beside each resource an older version with wrong content, told by lastUpdated or by versionId."""
    for entry in list(writing.entries):
        new, old = entry.resource, copy.deepcopy(entry.resource)
        _make_wrong(old)
        by_date, by_number = writing.chance.choice([(True, True), (True, False), (False, True)])
        for resource, at, number in ((new, "2026-06-01T01:00:00.000-05:00", "10"), (old, "2026-06-01T05:59:59Z", "9")):
            resource["meta"] = dict(resource.get("meta") or {})
            resource["meta"] |= {"lastUpdated": at} if by_date else {}
            resource["meta"] |= {"versionId": number} if by_number else {}
        writing.entries.insert(writing.chance.randint(0, len(writing.entries)), Entry(old, entry.full_url))


def _make_wrong(resource: Resource) -> None:
    for element in ("code", "type", "specialty", "provision", "participant", "item", "category", "link"):
        resource.pop(element, None)
    if "status" in resource:
        resource["status"] = "entered-in-error"
    if "identifier" in resource and resource["resourceType"] == "Practitioner":
        resource["name"] = [{"family": "Before"}]


def each_twice(writing: Writing) -> None:
    writing.entries += [Entry(copy.deepcopy(e.resource), e.full_url) for e in writing.entries]


# -- references -------------------------------------------------------------------------------------


def absolute_references(writing: Writing) -> None:
    _relative(writing, lambda reference: f"{BASE}/{reference}")


def versioned_references(writing: Writing) -> None:
    _relative(writing, lambda reference: f"{reference}/_history/3")


def absolute_versioned_references(writing: Writing) -> None:
    _relative(writing, lambda reference: f"{BASE}/{reference}/_history/a.b-3")


def _relative(writing: Writing, change: Callable[[str], str]) -> None:
    for resource in writing.resources:
        for reference in references(resource):
            if re.fullmatch(r"[A-Z][A-Za-z]+/[^/]+", reference["reference"]):
                reference["reference"] = change(reference["reference"])
                reference["display"] = "somebody"


def uuid_references(writing: Writing) -> None:
    """urn:uuid fullUrls; the resources keep their ids."""
    urls = {e.full_url: str(uuid.UUID(int=writing.chance.getrandbits(128)).urn) for e in writing.entries if e.full_url}
    for entry in writing.entries:
        entry.full_url = urls.get(entry.full_url or "")
    _relative(writing, lambda reference: urls.get(f"{BASE}/{reference}", reference))
    writing.names |= {urn: url.removeprefix(f"{BASE}/") for url, urn in urls.items() if url}


def uuids_without_ids(writing: Writing) -> None:
    uuid_references(writing)
    _without_ids(writing)


def no_full_urls(writing: Writing) -> None:
    for entry in writing.entries:
        entry.full_url = None


def urls_without_ids(writing: Writing) -> None:
    """The id stands only in the fullUrl."""
    _without_ids(writing)


def _without_ids(writing: Writing) -> None:
    for entry in writing.entries:
        if entry.full_url:
            del entry.resource["id"]


# -- the whole --------------------------------------------------------------------------------------


def shuffled(writing: Writing) -> None:
    writing.chance.shuffle(writing.entries)


def _written_as(container: str, **how: Any) -> Callable[[Writing], None]:
    def write(writing: Writing) -> None:
        writing.container = container
        for name, value in how.items():
            setattr(writing, name, value)

    write.__name__ = f"as_{container}" + "".join(f"_{name}" for name in how)
    return write


def _entry(writing: Writing, entry: Entry, **more: Any) -> Resource:
    return ({"fullUrl": entry.full_url} if entry.full_url else {}) | {"resource": entry.resource} | more


def _bundle(writing: Writing, entries: list[Entry], kind: str = "collection", **more: Any) -> Resource:
    return {"resourceType": "Bundle", "type": kind, "entry": [_entry(writing, e, **more) for e in entries]}


def _searchset(writing: Writing) -> bytes:
    found = _bundle(writing, writing.entries, "searchset", search={"mode": "match", "score": 1})
    for entry in found["entry"]:
        if entry["resource"]["resourceType"] in ("Practitioner", "Organization"):
            entry["search"] = {"mode": "include"}
        if entry["resource"]["resourceType"] == "OperationOutcome":
            entry["search"] = {"mode": "outcome"}
    found |= {"total": len(found["entry"]), "link": [{"relation": "self", "url": f"{BASE}/Patient/maria/$everything"}]}
    return writing.dump(found).encode()


def _transaction(writing: Writing) -> bytes:
    whole = _bundle(writing, writing.entries, "transaction", request={"method": "POST", "url": "x"})
    return writing.dump(whole).encode()


def _history(writing: Writing) -> bytes:
    whole = _bundle(writing, writing.entries, "history", request={"method": "PUT", "url": "x"},
                    response={"status": "200", "lastModified": "2026-06-01T00:00:00Z"})  # fmt: skip
    return writing.dump(whole).encode()


def _parts(writing: Writing) -> list[Resource]:
    cut = writing.chance.randint(0, len(writing.entries))
    return [_bundle(writing, writing.entries[:cut]), _bundle(writing, writing.entries[cut:], "searchset")]


def _nested(writing: Writing) -> bytes:
    first, second = _parts(writing)
    inner = {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": second}]}
    first["entry"].append({"fullUrl": "urn:uuid:8b5b3c1e-0000-4000-8000-000000000000", "resource": inner})
    return writing.dump(first).encode()


def _ndjson(writing: Writing, end: str = "\n") -> bytes:
    writing.pretty = False
    return end.join([*map(writing.dump, writing.resources), ""]).encode()


CONTAINERS: dict[str, Callable[[Writing], bytes]] = {
    "bundle": lambda w: w.dump(_bundle(w, w.entries)).encode(),
    "searchset": _searchset,
    "transaction": _transaction,
    "history": _history,
    "nested_bundles": _nested,
    "array_of_bundles": lambda w: w.dump(_parts(w)).encode(),
    "ndjson_of_bundles": lambda w: "\n".join(json.dumps(part) for part in _parts(w)).encode(),
    "array": lambda w: w.dump(list(w.resources)).encode(),
    "ndjson": _ndjson,
    "ndjson_with_blank_lines": lambda w: _ndjson(w, "\r\n \n"),
}
WITHOUT_FULL_URLS = {"array", "ndjson", "ndjson_with_blank_lines"}

Spelling = Callable[[Writing], None]

_GROUPS: list[list[Spelling]] = [
    [people_by_npi, conditional_references, people_as_roles, contained_people, only_contained_people,
     only_contained_roles, people_twice, dangling_references_with_an_npi],
    [a_merged_patient, contained_patients],
    [organizations_by_identifier],
    [encounters_by_identifier],
    [local_codings],
    [other_code_systems],
    [in_utc, in_other_zones, with_fractions],
    [decimal_numbers],
    [extra_fields],
    [lists_in_another_order],
    [extensions],
    [old_versions],
    [each_twice],
    [unread_types],
    [keys_in_another_order],
    [absolute_references, versioned_references, absolute_versioned_references, uuid_references, uuids_without_ids,
     urls_without_ids, no_full_urls],
    [shuffled],
    [*map(_written_as, CONTAINERS)],
    [_written_as("bundle", pretty=True), _written_as("bundle", bom=True, pretty=True),
     _written_as("array", bom=True), _written_as("ndjson", bom=True), _written_as("bundle", escaped=True)],
]  # fmt: skip
SPELLINGS: list[Spelling] = [spelling for group in _GROUPS for spelling in group]
NEEDS_FULL_URLS = {uuid_references, uuids_without_ids, urls_without_ids}


def combine(chosen: list[Spelling], writing: Writing) -> None:
    """Apply at most one spelling of each group, in order; a container without fullUrls gives way to what needs them."""
    taken = [next((s for s in group if s in chosen), None) for group in _GROUPS]
    for spelling in filter(None, taken):
        spelling(writing)
    if writing.container in WITHOUT_FULL_URLS and NEEDS_FULL_URLS & set(taken):
        writing.container = "bundle"
