"""A site's folder: `site.toml` read strictly, and where its code maps stand."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from bhi_fhir.errors import SiteError
from bhi_fhir.policy import Switches, policy


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class FhirAuth(_Strict):
    """How to authorise; secrets come by environment or file, never from here."""

    kind: Literal["none", "basic", "bearer"] = "none"
    user: str = ""
    secret_env: str = ""
    secret_file: str = ""


class Fhir(_Strict):
    base_url: str = ""
    aliases: list[str] = Field(default_factory=list)
    concurrency: int = Field(default=8, ge=1, le=256)
    timeout_s: int = Field(default=30, ge=1)
    auth: FhirAuth = FhirAuth()


class Roster(_Strict):
    from_: str = Field(default="care-team", alias="from", pattern=r"^(care-team|episode|(group|list|file):.+)$")


class ClaimSettings(_Strict):
    place_of_service: str = Field(default="11", pattern=r"^\d{2}$")
    provider: str = ""


class Delivery(_Strict):
    sink: Literal["auto", "fhir"] = "auto"
    ledger: str = "sqlite:///bhi-fhir.db"
    write_open_month: bool = False


class Site(_Strict):
    """What a site says."""

    name: str = Field(min_length=1)
    time_zone: str
    policy: dict[str, Any] = Field(default_factory=dict)
    """Switches that differ from their defaults; `Site.switches` has all of them."""
    fhir: Fhir = Fhir()
    roster: Roster = Roster.model_validate({})
    claim: ClaimSettings = ClaimSettings()
    delivery: Delivery = Delivery()

    @field_validator("time_zone")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError("is no IANA time zone such as America/Chicago") from error
        return value

    @field_validator("policy")
    @classmethod
    def _switches(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = policy().switches
        for key, chosen in value.items():
            if key not in known:
                raise ValueError(f"{key} is not a known key")
            if wrong := known[key].check(chosen):
                raise ValueError(f"{key} {wrong}")
        return value

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def switches(self) -> Switches:
        return policy().defaults(**self.policy)


def load_site(folder: Path, overrides: Iterable[str] = ()) -> Site:
    """Read `folder/site.toml`, with `KEY=VALUE` overrides on top. SiteError names file and key."""
    file = folder / "site.toml"
    if not file.is_file():
        raise SiteError(
            f"{file} does not exist: name a folder that holds a site.toml (an example: mappings/sites/example)"
        )
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SiteError(f"{file} is not readable TOML: {error}") from error
    where = str(file)
    for override in overrides:
        _override(table, override)
        where = f"{file} with --set {override}"
    try:
        return Site.model_validate(table)
    except ValidationError as error:
        raise SiteError(f"{where}: {_first(error)}") from error


def _override(table: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SiteError(f"--set {text}: write KEY=VALUE, such as policy.g2214_min=30")
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value
    *path, last = key.strip().split(".")
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SiteError(f"--set {text}: {part} is no table")
    table[last] = parsed


_SAID = {"extra_forbidden": "is not a known key", "missing": "is missing"}


def _first(error: ValidationError) -> str:
    """The first problem in one sentence, without the value that caused it."""
    problem = error.errors(include_url=False, include_input=False)[0]
    key = ".".join(str(part) for part in problem["loc"])
    said = _SAID.get(problem["type"]) or problem["msg"].removeprefix("Value error, ")
    return f"{key} {said[0].lower()}{said[1:]}" if key else said
