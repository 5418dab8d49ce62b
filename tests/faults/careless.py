"""Writers with a fault, to prove that the harness finds it: what `bhi-fhir sync --write` must never be.

`careless` posts every line without looking and without If-None-Exist; `forgetful` notes a patient as done
before it writes, and skips whoever is noted.
"""

from __future__ import annotations

import json
import sys
import tomllib
import uuid
from pathlib import Path

import httpx


def write(folder: Path, *, forgetful: bool) -> int:
    """One charge 99492 for each patient of the roster; returns how many were made."""
    site = tomllib.loads((folder / "site.toml").read_text())
    noted = folder / "noted"
    made = 0
    with httpx.Client(trust_env=False) as http:
        for patient in (folder / "roster.txt").read_text().split():
            if forgetful:
                if noted.exists() and patient in noted.read_text():
                    continue
                with noted.open("a") as file:
                    file.write(f"{patient}\n")
            charge = {
                "resourceType": "ChargeItem",
                "status": "planned",
                "identifier": [{"system": "urn:bhi-fhir:draft", "value": str(uuid.uuid5(uuid.NAMESPACE_URL, patient))}],
                "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": "99492"}]},
                "subject": {"reference": patient},
            }
            http.post(f"{site['fhir']['base_url']}/ChargeItem", json=charge).raise_for_status()
            made += 1
    return made


def main(*, forgetful: bool = False) -> None:
    folder = Path(sys.argv[sys.argv.index("--site") + 1])
    print(json.dumps({"counts": {"created": write(folder, forgetful=forgetful)}}))  # noqa: T201


if __name__ == "__main__":
    main()
