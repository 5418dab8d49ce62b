"""A folder that another program polls: each revision of a line by itself, so that no hand-over covers another.

    2026-09/<identifier>.<revision>.ndjson          the FHIR resource
    2026-09/<identifier>.<revision>.csv             of a charge: one row for each day of service
    2026-09/<identifier>.<revision>.manifest.json   last, and so the sign that the others are whole
    2026-09/<identifier>.<revision>.ack             put there by the receiver, empty: it has taken them

The receiver takes what has a manifest, may move it away, and keys on identifier and revision: a revision stands
in the place of every earlier one of its identifier. The same revision always has the same name and bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bhi_fhir.delivery.charged import charged
from bhi_fhir.delivery.folder import sheet, write_whole
from bhi_fhir.delivery.line import WITHDRAWN, Content, Draft, Line, Receipt, Seen, Standing, Unseen
from bhi_fhir.errors import ServerError

COLUMNS = (
    "action",
    "identifier",
    "revision",
    "patient",
    "code",
    "units",
    "date_of_service",
    "performer",
    "status",
    "diagnoses",
)
_MANIFEST = ".manifest.json"
_ACK = ".ack"
_RULESET = "urn:bhi-fhir:ruleset"


class FilesSink:
    name = "files"
    keyed = True
    drafts = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def takes(self, draft: Draft) -> bool:
        return True

    async def look(self, line: Line) -> Seen:
        """What the receiver has acknowledged, and what a hand-over that was cut off has left.

        Anything else may have been fetched already: that it is not there says nothing.
        """
        try:
            return self._seen(line)
        except (OSError, ValueError):
            raise ServerError("A line in [delivery] folder cannot be read: see its permissions.") from None

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        return [self._hand_over("charge", line, line.draft, line.draft) for line in lines]

    async def change(self, line: Line, draft: Draft) -> Receipt:
        """A credit says what it takes back."""
        withdrawn = draft.content["status"] == WITHDRAWN[draft.resource_type]
        action, said = ("credit", line.draft) if withdrawn else ("update", draft)
        return self._hand_over(action, line, draft, said)

    def _hand_over(self, action: str, line: Line, draft: Draft, said: Draft) -> Receipt:
        name = f"{line.identifier}.{line.revision}"
        files = {f"{name}.ndjson": _ndjson(draft.content)}
        if draft.resource_type == "ChargeItem":
            status = draft.content["status"]
            files[f"{name}.csv"] = sheet([COLUMNS, *_rows(action, line.revision, said, status)]).encode()
        manifest = _manifest(action, line.month, line.revision, draft, files)
        month = self._folder / line.month
        try:
            return self._write(month, name, files, manifest)
        except OSError as error:
            return Receipt("unsent", reason=f"[delivery] folder cannot be written ({error.strerror}).")

    def _write(self, month: Path, name: str, files: dict[str, bytes], manifest: bytes) -> Receipt:
        where, version = f"{month.name}/{name}", name.rpartition(".")[2]
        last = month / f"{name}{_MANIFEST}"
        if last.exists():
            if last.read_bytes() == manifest:
                return Receipt("sent", where, version, existed=True)
            return Receipt("conflict", where, reason="Another content was handed over under the same revision.")
        # Without a manifest it is what a crash left behind, and is written again.
        for file, data in files.items():
            write_whole(month / file, data)
        write_whole(last, manifest)
        return Receipt("sent", where, version)

    def _seen(self, line: Line) -> Seen:
        month = self._folder / line.month
        handed = _revisions(month, line.identifier, _MANIFEST)
        taken = _revisions(month, line.identifier, _ACK)
        newest = max(handed | taken, default=None)
        if newest is None or not (newest in taken or line.unanswered):
            return Unseen()
        name = f"{line.identifier}.{newest}"
        if newest in handed:
            content = json.loads((month / f"{name}.ndjson").read_bytes())
        elif str(newest) == line.version:
            content = line.content
        else:
            return Unseen()
        return Standing(f"{line.month}/{name}", str(newest), content)


def _revisions(month: Path, identifier: str, ending: str) -> set[int]:
    found = (file.name.removeprefix(f"{identifier}.").removesuffix(ending) for file in month.glob(f"{identifier}.*"))
    return {int(number) for number in found if number.isdecimal()}


def _ndjson(content: Content) -> bytes:
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _rows(action: str, revision: int, draft: Draft, status: str) -> list[tuple[str, ...]]:
    charge = charged(draft)
    line = (action, draft.identifier, str(revision), charge.patient, charge.code)
    beside = (charge.performer, status, " ".join(charge.diagnoses))
    return [(*line, str(units), day, *beside) for day, units in charge.served]


def _manifest(action: str, month: str, revision: int, draft: Draft, files: dict[str, bytes]) -> bytes:
    """No clock: the same revision has the same manifest."""
    said = {
        "action": action,
        "identifier": draft.identifier,
        "revision": revision,
        "month": month,
        "resourceType": draft.resource_type,
        "rules": _rules(draft.content),
        "files": [_file(name, data) for name, data in files.items()],
    }
    return json.dumps(said, indent=2).encode() + b"\n"


def _file(name: str, data: bytes) -> dict[str, Any]:
    header = name.endswith(".csv")
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), "count": data.count(b"\n") - header}


def _rules(content: Content) -> str:
    tags = content.get("meta", {}).get("tag", [])
    return next((tag["code"] for tag in tags if tag.get("system") == _RULESET), "")
