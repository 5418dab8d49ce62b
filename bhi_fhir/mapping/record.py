"""A pile of JSON resources to one index: read, de-duplicated, what cannot be read set aside."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import msgspec

from bhi_fhir.domain.record import SetAside, Withheld
from bhi_fhir.mapping.bundle import Link, opened
from bhi_fhir.mapping.labels import cut_of, meta_of
from bhi_fhir.mapping.references import REFERENCE, References
from bhi_fhir.mapping.shapes import r4_row, r5_element, r5_inside
from bhi_fhir.mapping.source import SUBJECT, Source
from bhi_fhir.mapping.torn import part_of, what_can_be_read
from bhi_fhir.mapping.versions import Version, content, newest
from bhi_fhir.views import VIEWS, Row
from bhi_fhir.views.common import UNREADABLE, Meta, Reference
from bhi_fhir.views.operation_outcome import Issue, OperationOutcome
from bhi_fhir.views.patient import Patient
from bhi_fhir.views.practitioner import Practitioner
from bhi_fhir.views.r4_types import R4_TYPES

_OF_NOBODY = frozenset(VIEWS) - frozenset(SUBJECT) - {"Patient", "OperationOutcome"}
"""What belongs to no patient: staff, organizations, devices."""

_TYPE_NAME = re.compile(r"[A-Z][A-Za-z]+")
_SEVERITIES = frozenset({"fatal", "error", "warning", "information"})
_ISSUE_TYPES = """
invalid structure required value invariant security login unknown expired forbidden suppressed processing
not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly
business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational
"""
_ISSUES = frozenset(_ISSUE_TYPES.split())
"""What an OperationOutcome may say and be repeated: in the place of a code some servers write a name."""
_NO_META = Meta()


class _Header(msgspec.Struct, rename="camel"):
    resource_type: str
    id: msgspec.Raw = msgspec.Raw()
    meta: msgspec.Raw = msgspec.Raw()


_HEADER = msgspec.json.Decoder(_Header)
_ID = msgspec.json.Decoder(str)
_DECODERS = {name: msgspec.json.Decoder(view) for name, view in VIEWS.items()}


@dataclass
class Record(References):
    """Every readable resource of one input by its key, and what could not be read."""

    set_aside: list[SetAside] = field(default_factory=list)
    withheld: list[tuple[str | None, Withheld]] = field(default_factory=list)
    """(patient key, or None for every patient of the input; what is missing)"""
    labelled: bool = False
    """Some resource has security labels or tags."""
    _sources: dict[str, Source] = field(default_factory=dict)
    _pages: dict[str, bool] = field(default_factory=dict)
    """The pages of a search that a Bundle names, by address: is it given?"""

    @classmethod
    def read(cls, sources: Iterable[Source], shared: Record | None = None) -> Record:
        """`shared`: staff and organizations, read once, that belong to many such inputs."""
        record = shared.beside() if shared else cls()
        versions: dict[str, list[Version]] = {}
        for source in sources:
            record._sort_in(source, versions)
        for key, same in versions.items():
            if len(same) == 1:
                record._take(key, same[0])
                continue
            for mine, versions_of_it in record._by_server(key, same).items():
                record._take_newest(mine, versions_of_it)
        if not all(record._pages.values()):
            record.withheld.append((None, Withheld("*", "a Bundle says that it has a next page, which is not here")))
        record._index()
        return record

    def beside(self) -> Record:
        """A record with the same rows and nothing set aside: what is read into it is not seen here."""
        self.of_type(Practitioner)
        nobody_s = {kind: found for kind, found in self._identifiers.items() if kind in _OF_NOBODY}
        return Record(
            rows=dict(self.rows),
            _aliases=dict(self._aliases),
            _bases=dict(self._bases),
            _types=dict(self._types),
            _identifiers=nobody_s,
            _people=dict(self._people),
            _given=len(self.rows),
            _by_type={kind: list(found) for kind, found in self._by_type.items()},
            _filed=self._filed,
        )

    def own(self) -> Iterator[tuple[str, Row]]:
        """Every row but those of `beside`, by its key."""
        return islice(self.rows.items(), self._given, None)

    def _sort_in(self, source: Source, versions: dict[str, list[Version]]) -> None:
        if source.trouble:
            self.put_aside(source, "", source.trouble, source.may_hold or part_of(source.json))
            return
        row = r4_row(source.json)
        if row is not None and row.id:
            kind = type(row).__name__
            key, version = f"{kind}/{row.id}", Version(source, row.meta or _NO_META, kind, row)
            if source.full_url:
                self._put(key, version, versions)
            else:
                versions.setdefault(key, []).append(version)
            return
        try:
            header = _HEADER.decode(source.json)
        except msgspec.ValidationError:
            self.put_aside(source, "", "it is no FHIR resource", part_of(source.json))
            return
        except UNREADABLE:
            self.put_aside(source, "", "it is not JSON", part_of(source.json))
            return
        kind = header.resource_type
        if kind == "Bundle":
            self._open(source, versions)
        elif kind not in R4_TYPES:
            # A name that R4 does not have holds nothing that R4 has; what is no name at all may hold anything.
            part = "" if _TYPE_NAME.fullmatch(kind) else "*"
            self.put_aside(source, "", "its type is no FHIR R4 resource type", part)
        elif kind == "OperationOutcome":
            self._note_outcome(source)
        else:
            self._put(_key(header, source), Version(source, meta_of(header.meta), kind, row), versions)

    def _open(self, source: Source, versions: dict[str, list[Version]]) -> None:
        bundle = opened(source)
        self._note_page(bundle.links)
        if bundle.cut:
            said = f"the Bundle is marked {bundle.cut}: parts of it are left out"
            self.withheld.append((None, Withheld("*", said)))
        for inner in bundle.entries:
            self._sort_in(inner, versions)

    def _put(self, key: str, version: Version, versions: dict[str, list[Version]]) -> None:
        if full_url := version.source.full_url:
            self._types[key] = version.type
            self.alias(key, full_url)
        if version.type in VIEWS:
            versions.setdefault(key, []).append(version)

    def _by_server(self, key: str, same: list[Version]) -> dict[str, list[Version]]:
        """The same id on another server is another resource, unless it says the same: one server has many names.

        The first server by name keeps "Type/id"; what is another's has its absolute URL for a key.
        """
        bases = sorted({_base(version.source) for version in same} - {""}) if len(same) > 1 else []
        if len(bases) < 2:
            return {key: same}
        home = [v for v in same if _base(v.source) in ("", bases[0])]
        said = {content(v.source.json) for v in home}
        found = {key: home}
        for version in same:
            base = _base(version.source)
            if base in ("", bases[0]) or content(version.source.json) in said:
                continue
            found.setdefault(f"{base}/{key}", []).append(version)
            self._bases[key].discard(base)
            self._bases[f"{base}/{key}"] = {base}
            self._aliases[version.source.full_url or ""] = f"{base}/{key}"
        return found

    def _note_outcome(self, source: Source) -> None:
        """A server's word that it held something back: no finding may rest on absence then."""
        try:
            outcome = msgspec.json.decode(source.json, type=OperationOutcome)
        except UNREADABLE:
            self.put_aside(source, "OperationOutcome", "its shape is not R4's", "*")
            return
        for issue in outcome.issue or (Issue(),):
            if issue.severity != "information":
                severity = issue.severity if issue.severity in _SEVERITIES else "issue"
                code = issue.code if issue.code in _ISSUES else "no code"
                reason = f"the server held something back ({severity}: {code})"
                self.withheld.append((None, Withheld("*", reason)))

    def _take_newest(self, key: str, same: list[Version]) -> None:
        found = newest(same)
        if found is None:
            for version in same:
                self.put_aside(
                    version.source,
                    key,
                    "it is given twice, differently, and nothing says which is newer",
                    version.type,
                )
            return
        self._take(key, found)

    def _take(self, key: str, version: Version) -> None:
        row = version.row or self._decode(key, version)
        if row is None:
            return
        if row.modifier_extension:
            # FHIR R4, Extensibility: nobody may process what carries one that he does not understand.
            why = "it carries a modifierExtension, which may change the meaning of all of it"
            self.put_aside(version.source, key, why, version.type)
            return
        self.rows[key] = row
        self._sources[key] = source = version.source
        for index, raw in enumerate(row.contained or ()):
            self._take_contained(key, Source(source.file, f"{source.at}.contained[{index}]", raw))

    def _take_contained(self, owner: str, source: Source) -> None:
        if source.trouble:
            self.put_aside(source, "", source.trouble, part_of(source.json))
            return
        try:
            header = _HEADER.decode(source.json)
        except UNREADABLE:
            self.put_aside(source, owner, "a contained part of it is no FHIR resource")
            return
        name = _text(header.id).removeprefix("#")  # DSTU2 wrote the "#" into the id too
        if header.resource_type in VIEWS and name:
            row = self._decode(f"{owner}#{name}", Version(source, Meta(), header.resource_type))
            if row is not None:
                self.rows[f"{owner}#{name}"] = row

    def _decode(self, key: str, version: Version) -> Row | None:
        raw = bytes(version.source.json)
        r5 = r5_element(raw, version.type)
        try:
            row = _DECODERS[version.type].decode(raw)
        except UNREADABLE as error:
            where = str(error).rpartition(" - at ")[2].strip("`$.") or "its structure"
            reason = f"it has the shape of R5 ({r5})" if r5 else f"its shape is not R4's, at {where}"
            self.put_aside(version.source, key, reason, version.type)
            return None
        r5 = r5 or r5_inside(row)
        if r5:
            self.put_aside(version.source, key, f"it has the shape of R5 ({r5})", version.type)
            return None
        return row

    def _note_page(self, links: Iterable[Link]) -> None:
        """Which page a Bundle is, and which comes after it."""
        for link in links:
            if link.relation == "self":
                self._pages[link.url] = True
            elif link.relation == "next":
                self._pages.setdefault(link.url, False)

    def put_aside(self, source: Source, key: str, reason: str, kind: str = "") -> None:
        """Set a record aside; what rests on it is unknown for its patient, or for all if it names none.

        `kind`: its type, or "*" where it may be of any.
        """
        self.set_aside.append(SetAside(source.file, source.at, key, reason))
        if kind:
            patient, began = what_can_be_read(source.json, kind)
            what = key or source.at or "a record"
            self.withheld.append((patient, Withheld(kind, f"{what} was set aside: {reason}", began)))

    def names_nobody(self, key: str, row: Row) -> None:
        """Set a resource aside that belongs to a patient and does not say to whom: it may be anybody's."""
        source, kind = self._sources[key], type(row).__name__
        subject: Reference | None = getattr(row, SUBJECT[kind])
        unread = subject is not None and bool(subject.reference)
        why = "its patient reference cannot be read" if unread else "it names no patient"
        self.set_aside.append(SetAside(source.file, source.at, key, why))
        said = f"{key} was set aside: {why}" if unread else f"{key} names no patient"
        self.withheld.append((None, Withheld(kind, said)))

    def _index(self) -> None:
        servers = {frozenset(self._bases.get(key, ())) for key in self._sources} if self._bases else set()
        self._one_server = len(servers) <= 1
        for key, person in self.of_type(Practitioner):
            if key not in self._people:
                self._people[key] = self._same_npi(person) or key
        self._merge()
        self.withheld = [
            (self._survivors.get(who, who) if (who := self._key_of(patient)) else None, part)
            for patient, part in self.withheld
        ]
        for key, row in self.own():
            if row.meta and (row.meta.security or row.meta.tag):
                self.labelled = True
                self._note_cut(key, row)

    def _note_cut(self, key: str, row: Row) -> None:
        """A resource that says itself that parts of it are left out: its type was not read whole."""
        cut = cut_of(row.meta)
        if cut:
            kind = type(row).__name__
            patient = self.survivor(key) if isinstance(row, Patient) else None
            if kind in SUBJECT:
                patient = self.patient(row, key)
            self.withheld.append((patient, Withheld(kind, f"{key} is marked {cut}: parts of it are left out")))

    def _key_of(self, reference: str | None) -> str | None:
        found = self.resolve(Reference(reference=reference)) if reference else None
        return found if found and self._can_be_named(found, reference) else None


def _key(header: _Header, source: Source) -> str:
    """ "Type/id"; the id from a RESTful fullUrl where the resource has none; else the fullUrl, else the place."""
    name = _text(header.id)
    if name:
        return f"{header.resource_type}/{name}"
    found = REFERENCE.fullmatch(source.full_url or "")
    if found and found["type"] == header.resource_type:
        return f"{found['type']}/{found['id']}"
    return source.full_url or f"{source.file}:{source.at}"


def _base(source: Source) -> str:
    """The server in a RESTful fullUrl; "" in any other and without one."""
    found = REFERENCE.fullmatch(source.full_url or "")
    return (found["base"] or "") if found else ""


def _text(raw: msgspec.Raw) -> str:
    """A JSON string; "" for anything else."""
    try:
        return _ID.decode(raw)
    except UNREADABLE:
        return ""
