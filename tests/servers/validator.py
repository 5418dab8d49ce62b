"""HAPI's instance validator with all that FHIR R4 defines, offline: profiles, value sets, invariants."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .installed import java


@dataclass(frozen=True)
class Issue:
    """`severity`: fatal, error, warning or information. `rule` is the validator's own name for its message."""

    resource: str
    severity: str
    place: str
    rule: str
    message: str

    @property
    def wrong(self) -> bool:
        return self.severity in {"fatal", "error"}


def validate(resources: Sequence[dict[str, Any]]) -> list[Issue]:
    """All issues of all resources. Starting takes seconds and a resource milliseconds: give it all at once.

    Skips, or in CI fails, without Java and Maven.
    """
    run, class_path = java()
    done = subprocess.run(
        [run, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error",
         "-cp", class_path, "ValidateR4"],
        input="".join(json.dumps(resource) + "\n" for resource in resources),
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=600,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(f"the validator ended with {done.returncode}:\n{done.stderr}")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [
        Issue(f"{resource['resourceType']}/{resource.get('id', '')}", **issue)
        for resource, issues in zip(resources, answers, strict=True)
        for issue in issues
    ]
