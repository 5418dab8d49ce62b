"""Broken records: JSON mutations of a record, and mutations of its bytes. Every one follows from its seed."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Callable, Iterator
from functools import cache
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from bhi_fhir.views import VIEWS

Resource = dict[str, Any]
Path = tuple[str | int, ...]


def raw(token: str) -> str:
    """A JSON token that Python's encoder would not write."""
    return f"@@{token}@@"


_RAW = re.compile(r'"@@(.*?)@@"')

ODD: list[Any] = [
    None, True, False, 0, -1, -40, 40, 1.5, -0.0, 1e308, 12345678901234567890, "", " ", [], {}, [[]], [None], [{}],
    {"": ""}, "0", "40", "\u0000", "x" * 5000, "Ünïcödé 🏥 \u202e", "null", "NaN", "sNaN", "-Infinity",
    raw("1e400"), raw("1e999999999"), raw("1e-999999999"), raw("-1E+5"), raw("9" * 400), raw("9" * 5000),
    raw("NaN"), raw("01"), raw('"\\ud800"'), raw('"\\u0000"'), raw("[" * 300 + "]" * 300), raw("[" * 5000 + "]" * 5000),
    "2026-02-30", "2026-13-01", "2026-3-1", "2026", "2026-03", "2026-03-00", "0001-01-01", "9999-12-31", "0000-00-00",
    "2026-03-01T24:00:00Z", "2026-06-30T23:59:60Z", "2026-03-01T10:60:00Z", "2026-03-01T10:00:00", "2026-03-01T10:00Z",
    "2026-03-08T02:30:00-06:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2026-03-01T10:00:00+99:99",
    "2026-W10-1T10:00Z", "20260301T100000Z", "2026-03-01t10:00:00z", "-2026-03-01", "2026-03-01T10:00:00.Z",
    "\u0662\u0660\u0662\u0666-03-01",
    "#", "#x", "/", "Patient/", "Patient/maria", "Patient/maria/_history/", "Practitioner/pcp", "http://", "urn:uuid:",
    "Practitioner?identifier=|", "Practitioner?identifier=a%|%ff", "PractitionerRole/pcp-role", "https://x/Patient/maria",
    "entered-in-error", "finished", "completed", "unknown", "deny", "REDACTED", "Bundle", "Patient", "Encounter",
]  # fmt: skip


class Chance(random.Random):
    """A source of chance that knows JSON."""

    def odd(self) -> Any:
        return copy.deepcopy(self.choice(ODD))

    def place(self, node: Any) -> Path:
        """Somewhere inside, each level as likely to be left as to be stopped at."""
        path: Path = ()
        while isinstance(node, (dict, list)) and node:
            key = self.choice(list(node)) if isinstance(node, dict) else self.randrange(len(node))
            path, node = (*path, key), node[key]
            if self.random() < 0.25:
                break
        return path


def at(node: Any, path: Path) -> Any:
    for key in path:
        node = node[key]
    return node


# -- mutations of what a record says ----------------------------------------------------------------

Mutation = Callable[[Resource, Chance], None]


def _replace(bundle: Resource, chance: Chance) -> None:
    *outer, key = chance.place(bundle)
    at(bundle, tuple(outer))[key] = chance.odd()


def _drop(bundle: Resource, chance: Chance) -> None:
    *outer, key = chance.place(bundle)
    del at(bundle, tuple(outer))[key]


def _twice(bundle: Resource, chance: Chance) -> None:
    """A list item twice; an element under another's name."""
    *outer, key = chance.place(bundle)
    holder = at(bundle, tuple(outer))
    value = copy.deepcopy(holder[key])
    if isinstance(holder, list):
        holder.insert(chance.randint(0, len(holder)), value)
    else:
        holder[chance.choice(list(holder))] = value


def _swap(bundle: Resource, chance: Chance) -> None:
    places = [chance.place(bundle), chance.place(bundle)]
    first, second = (copy.deepcopy(at(bundle, place)) for place in places)
    for (*outer, key), value in zip(places, (second, first), strict=True):
        try:
            at(bundle, tuple(outer))[key] = value
        except (KeyError, IndexError, TypeError):
            return  # the first place held the second


def _wrap(bundle: Resource, chance: Chance) -> None:
    *outer, key = chance.place(bundle)
    holder = at(bundle, tuple(outer))
    for _ in range(chance.choice([1, 2, 60])):
        holder[key] = chance.choice([[holder[key]], {chance.choice(["item", "provision", "resource"]): holder[key]}])


def _rename(bundle: Resource, chance: Chance) -> None:
    *outer, key = chance.place(bundle)
    holder = at(bundle, tuple(outer))
    if isinstance(holder, dict):
        holder[chance.choice([f"_{key}", str(key).upper(), "", "id", "reference", "period", "meta"])] = holder.pop(key)


def _odd_text(bundle: Resource, chance: Chance) -> None:
    """A text cut, doubled, or with a character that does not belong there."""
    *outer, key = chance.place(bundle)
    holder = at(bundle, tuple(outer))
    if isinstance(holder[key], str) and holder[key]:
        text, cut = holder[key], chance.randrange(len(holder[key]))
        holder[key] = chance.choice([text[:cut], text + text, text[:cut] + chance.choice("Z-:/#|é\u2028") + text[cut:]])


def _cycle(bundle: Resource, chance: Chance) -> None:
    """References that go round in a circle."""
    resources = [e["resource"] for e in bundle["entry"] if isinstance(e, dict) and _is_resource(e.get("resource"))]
    resource, other = chance.choice(resources), chance.choice(resources)
    name = f"{other['resourceType']}/{other.get('id')}"
    kind = resource["resourceType"]
    if kind == "Patient":
        resource["link"] = [{"type": chance.choice(["replaced-by", "replaces"]), "other": {"reference": name}}]
        other["link"] = [{"type": "replaced-by", "other": {"reference": f"{kind}/{resource.get('id')}"}}]
    elif kind == "PractitionerRole":
        resource["practitioner"] = {"reference": chance.choice([name, f"{kind}/{resource.get('id')}", "#", "#a"])}
        resource["contained"] = [{"resourceType": kind, "id": "a", "practitioner": {"reference": "#a"}}]
    else:
        resource["contained"] = [copy.deepcopy(other), {"resourceType": "Practitioner", "id": name}]
        for part in resource.values():
            if isinstance(part, dict) and "reference" in part:
                part["reference"] = chance.choice([name, "#", f"#{other.get('id')}"])


def _is_resource(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("resourceType"), str)


def _new_entry(bundle: Resource, chance: Chance) -> None:
    entry = chance.choice([
        chance.odd(), {"resource": chance.odd()}, {"resource": {"resourceType": chance.odd()}},
        {"resource": {"resourceType": "Bundle", "entry": [chance.odd(), *bundle["entry"][:3]]}},
        {"resource": {"resourceType": chance.choice(sorted(VIEWS)), "id": chance.odd(), "meta": chance.odd()}},
        {"resource": {"resourceType": "OperationOutcome", "issue": chance.odd()}},
    ])  # fmt: skip
    bundle["entry"].insert(chance.randint(0, len(bundle["entry"])), entry)


MUTATIONS: list[Mutation] = [
    *[_replace] * 8, *[_drop] * 4, *[_twice] * 2, *[_odd_text] * 3, _swap, _wrap, _rename, _cycle, _new_entry,
]  # fmt: skip


def mutated(bundle: str, chance: Chance) -> Resource:
    """One to three mutations, most of them inside a resource."""
    changed: Resource = json.loads(bundle)
    for _ in range(chance.choice([1, 1, 2, 3])):
        mutation = chance.choice(MUTATIONS)
        whole = mutation in (_cycle, _new_entry) or chance.random() < 0.1
        if not isinstance(changed.get("entry"), list) or not changed["entry"]:
            break
        part = changed if whole else chance.choice(changed["entry"])
        if isinstance(part, dict) and part:
            try:
                mutation(part, chance)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError):
                continue  # an earlier mutation took its place away
    return changed


def as_bytes(value: Any) -> bytes:
    text = _RAW.sub(lambda found: found[1].replace('\\"', '"').replace("\\\\", "\\"), json.dumps(value))
    return text.encode("utf-8", "surrogatepass")


# -- mutations that nobody can notice ---------------------------------------------------------------


def unread_places(resource: Resource) -> list[Path]:
    """The elements of a resource that no view reads."""
    view = VIEWS.get(resource["resourceType"])
    if view is None:
        return [(key,) for key in resource if key not in ("resourceType", "id")]
    return [path for path in _unread(resource, view, ()) if path != ("resourceType",)]


def _unread(node: Any, of: Any, path: Path) -> Iterator[Path]:
    struct = _struct(of)
    if isinstance(node, list):
        for index, value in enumerate(node):
            yield from _unread(value, of, (*path, index))
    elif isinstance(node, dict) and struct is not None:
        known = _elements(struct)
        for key, value in node.items():
            if key not in known:
                yield (*path, key)
            else:
                yield from _unread(value, known[key], (*path, key))


@cache
def _elements(struct: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(struct)
    return {f.encode_name: hints[f.name] for f in msgspec.structs.fields(struct)}


def _struct(of: Any) -> Any:
    """The Struct inside `list[X | None] | None`; None for a plain value."""
    if get_origin(of) in (Union, UnionType, list):
        return next((s for part in get_args(of) if (s := _struct(part))), None)
    return of if isinstance(of, type) and issubclass(of, msgspec.Struct) else None


def changed_where_nobody_reads(bundle: str, chance: Chance) -> Resource:
    """Unread elements replaced, unknown ones added, in any number of resources."""
    changed: Resource = json.loads(bundle)
    legal = [odd for odd in ODD if "@@" not in str(odd)]
    for entry in changed["entry"]:
        resource = entry["resource"]
        for path in unread_places(resource):
            *outer, key = path
            if chance.random() < 0.5:
                at(resource, tuple(outer))[key] = copy.deepcopy(chance.choice(legal))
        inside = chance.place(resource)
        for holder in (resource, at(resource, inside)):
            if isinstance(holder, dict) and chance.random() < 0.5:
                holder[chance.choice(["vendorField", "_status", "x"])] = copy.deepcopy(chance.choice(legal))
    return changed


# -- mutations of bytes -----------------------------------------------------------------------------


def broken_bytes(data: bytes, chance: Chance) -> bytes:
    spoiled = bytearray(data)
    for _ in range(chance.choice([1, 1, 2, 10])):
        place = chance.randrange(len(spoiled))
        match chance.randrange(5):
            case 0:
                spoiled[place] ^= 1 << chance.randrange(8)
            case 1:
                spoiled[place] = chance.randrange(256)
            case 2:
                del spoiled[place : place + chance.choice([1, 5, 500])]
            case 3:
                spoiled[place:place] = chance.choice(
                    [b"\n", b"\x00", b"\xff", b'"', b"}", b"]", b"\xef\xbb\xbf", b"{}"]
                )
            case _:
                if chance.random() < 0.2:
                    del spoiled[place:]
        if not spoiled:
            break
    return bytes(spoiled)
