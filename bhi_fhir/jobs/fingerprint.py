"""What tells whether a run that was cut off may be gone on with."""

from __future__ import annotations

import hashlib

from bhi_fhir import __version__
from bhi_fhir.jobs.desk import Desk


def fingerprint(desk: Desk) -> str:
    """A digest of the site's folder, of the overrides and of the program: a run is resumed only as the same run."""
    digest = hashlib.sha256("\n".join((__version__, *desk.overrides)).encode())
    for file in sorted(f for f in desk.folder.iterdir() if f.suffix in (".toml", ".json") and f.is_file()):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
