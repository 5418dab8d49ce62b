"""Writes examples/bulk/export/: the example patients as a Bulk Data export. Run it after a change of the examples."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from make_examples import EXAMPLES

EXPORT = Path(__file__).parent.parent / "examples" / "bulk" / "export"
PACKED = "Procedure"


def files() -> dict[str, bytes]:
    """Each file's name and content; the practice's staff, who stand in every example, once."""
    lines: dict[str, dict[str, None]] = {}
    for example in EXAMPLES:
        for entry in example.make().bundle()["entry"]:
            line = json.dumps(entry["resource"], separators=(",", ":"))
            lines.setdefault(entry["resource"]["resourceType"], {})[line] = None
    made = {kind: "".join(f"{line}\n" for line in found).encode() for kind, found in lines.items()}
    plain = {f"{kind}.ndjson": text for kind, text in made.items() if kind != PACKED}
    return plain | {f"{PACKED}.ndjson.gz": gzip.compress(made[PACKED], mtime=0)}


def main() -> None:
    EXPORT.mkdir(parents=True, exist_ok=True)
    for path in EXPORT.iterdir():
        path.unlink()
    for name, content in files().items():
        (EXPORT / name).write_bytes(content)


if __name__ == "__main__":
    main()
