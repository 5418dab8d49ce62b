"""A site's folder: its `site.toml` read strictly, with overrides, and the secrets that it names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
import tomli

from bhi_fhir.errors import SiteError, by_key
from bhi_fhir.policy import policy
from bhi_fhir.settings import Site

_SPARK_SECRET = re.compile(r"(?i)secret|password|token|access[.]?key")
"""What Spark itself takes for a secret: the default of its `spark.redaction.regex`."""


_PATHS = (
    ("fhir", "ca_file"),
    ("fhir", "client_certificate"),
    ("fhir", "client_key"),
    ("fhir", "auth", "secret_file"),
    ("smart", "secret_file"),
    ("caseload", "secret_file"),
    ("serve", "tls", "certificate"),
    ("serve", "tls", "key"),
    ("serve", "tls", "client_ca"),
)


def load_site(folder: Path, overrides: Iterable[str] = ()) -> Site:
    """Read `folder/site.toml`, with `KEY=VALUE` overrides on top. SiteError names file and key."""
    file = folder / "site.toml"
    if not file.is_file():
        raise SiteError(
            f"{file} does not exist: name a folder that holds a site.toml (an example: mappings/sites/example)"
        )
    try:
        table = tomli.loads(file.read_text(encoding="utf-8"))
    except (tomli.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SiteError(f"{file} is not readable TOML: {error}") from error
    where = str(file)
    for override in overrides:
        _override(table, override)
        where = f"{file} with --set {override}"
    for keys in _PATHS:
        _from_here(table, folder, *keys)
    try:
        return site_of(table)
    except (msgspec.ValidationError, ValueError) as error:
        raise SiteError(f"{where}: {by_key(str(error))}") from error


def site_of(table: dict[str, Any]) -> Site:
    """A site from what its file says. ValueError names the key."""
    site = msgspec.convert(table, Site)
    try:
        ZoneInfo(site.time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("time_zone is no IANA time zone such as America/Chicago") from None
    known = policy().switches
    for key, chosen in site.policy.items():
        if key not in known:
            raise ValueError(f"policy.{key} is not a known key")
        if wrong := known[key].check(chosen):
            raise ValueError(f"policy.{key} {wrong}")
    spark = site.bulk.spark
    for part, options in (("conf", spark.conf), ("input.options", spark.input.options),
                          ("output.options", spark.output.options)):  # fmt: skip
        if secret := next(filter(_SPARK_SECRET.search, options), None):
            raise ValueError(f"bulk.spark.{part}.{secret} holds a secret: keep it in Spark's own spark-defaults.conf")
    return site


def read_secret(table: str, env: str, file: str, name: str = "secret") -> str:
    """What `<name>_env` or, where that is not set, `<name>_file` of this table of site.toml stands for.

    SiteError, which names the key, if there is none.
    """
    if env and env in os.environ:
        return os.environ[env].strip()
    if file:
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise SiteError(f"{table}.{name}_file is not text") from None
        except OSError as error:
            raise SiteError(f"{table}.{name}_file cannot be read: {error.strerror}") from None
    if env:
        raise SiteError(f"{table}.{name}_env: the environment variable {env} is not set")
    raise SiteError(f"{table}: name {name}_env or {name}_file for the {name}")


def _from_here(table: dict[str, Any], folder: Path, *keys: str) -> None:
    """A relative path is relative to site.toml, wherever the program is started."""
    *path, last = keys
    for part in path:
        below = table.get(part)
        if not isinstance(below, dict):
            return
        table = below
    if isinstance(table.get(last), str) and table[last]:
        table[last] = str(folder / table[last])


def _override(table: dict[str, Any], text: str) -> None:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SiteError(f"--set {text}: write KEY=VALUE, such as policy.g2214_min=30")
    try:
        parsed = tomli.loads(f"value = {value}")["value"]
    except tomli.TOMLDecodeError:
        parsed = value
    *path, last = key.strip().split(".")
    for part in path:
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            raise SiteError(f"--set {text}: {part} is no table")
    table[last] = parsed
