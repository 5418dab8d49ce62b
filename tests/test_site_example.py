"""The example's site.toml names every key with its default: what stands there commented out changes nothing."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bhi_fhir import settings
from bhi_fhir.site_file import load_site

TEXT = (Path(__file__).parents[1] / "mappings" / "sites" / "example" / "site.toml").read_text(encoding="utf-8")
_SETTING = re.compile(r"# (\[[\w.]+\]|\[\[[\w.]+\]\]|\w+ = .*)")


def section(name: str) -> Any:
    """A table of the file as if every line of it counted."""
    lines = [found[1] if (found := _SETTING.match(line)) else line for line in TEXT.splitlines()]
    return tomllib.loads("\n".join(lines))[name]


def keys(table: dict[str, Any]) -> set[str]:
    return {key for key, value in table.items() if not isinstance(value, dict)}


def named(kind: type[msgspec.Struct]) -> set[str]:
    """The keys of a table that are no tables themselves."""
    return {
        each.encode_name
        for each in msgspec.structs.fields(kind)
        if not (isinstance(each.type, type) and issubclass(each.type, msgspec.Struct))
        and not str(each.type).startswith("dict")
    }


TABLES: list[tuple[str, type[msgspec.Struct]]] = [
    ("serve", settings.Serve),
    ("serve.tls", settings.Tls),
    ("serve.jwt", settings.Jwt),
    ("serve.callers.NAME", settings.Caller),
    ("smart", settings.Smart),
    ("caseload", settings.Caseload),
    ("bulk.spark.input", settings.SparkInput),
    ("bulk.spark.output", settings.SparkOutput),
]


@pytest.mark.parametrize(("path", "kind"), TABLES, ids=[path for path, _ in TABLES])
def test_every_key_stands_there_with_its_default(path: str, kind: type[msgspec.Struct]) -> None:
    top, *below = path.split(".")
    table = section(top)
    for name in below:
        table = table[name]
    assert keys(table) == named(kind)
    plain = {key: value for key, value in table.items() if key in keys(table)}
    assert msgspec.convert(plain, kind) == kind()


def test_an_ehr_that_calls_names_both_of_its_keys() -> None:
    (client,) = section("cds")["clients"]
    assert keys(client) == named(settings.CdsClient)


def test_a_relative_path_counts_from_the_site_s_folder(tmp_path: Path) -> None:
    tables = """
[fhir]
ca_file = "a.pem"
client_certificate = "b.pem"
client_key = "/etc/b.key"
[serve.tls]
certificate = "tls.pem"
key = "tls.key"
client_ca = "/etc/ca.pem"
"""
    (tmp_path / "site.toml").write_text(f'name = "x"\ntime_zone = "UTC"\n{tables}')
    site = load_site(tmp_path)
    here = str(tmp_path)
    fhir, tls = site.fhir, site.serve.tls
    assert (fhir.ca_file, fhir.client_certificate, fhir.client_key) == (f"{here}/a.pem", f"{here}/b.pem", "/etc/b.key")
    assert (tls.certificate, tls.key, tls.client_ca) == (f"{here}/tls.pem", f"{here}/tls.key", "/etc/ca.pem")
