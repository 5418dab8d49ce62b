"""bhi_fhir/fhir/servers.md, as three servers answer today: python -m tests.servers.table writes it."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path

from . import running
from .probes import PROBES, Server

PAGE = Path(__file__).parents[2] / "bhi_fhir" / "fhir" / "servers.md"
Column = dict[str, str]

_HEAD = """\
# What FHIR servers do differently

Measured, not read: each line is a probe of `tests/servers/probes.py`, sent over HTTP to servers that the tests start.
They are empty and set up as by default, but that HAPI repeats no search from its cache. Numbers are HTTP statuses.
A test asks again and compares; `python -m tests.servers.table` writes this page anew.

Of several conditional creates at the same moment HAPI refuses some with 409, now more and now fewer of them, and writes
one. Each of the three is one process, which a hospital's server need not be: there nothing promises that it is one.
Medplum stands here with its router and its memory repository, not with its own server and database.
"""


def write() -> None:
    with ExitStack() as stack:
        urls = [stack.enter_context(server()) for server in (running.sekmet, running.hapi, running.medplum)]
        PAGE.write_text(render(dict(asked(url) for url in urls)), encoding="utf-8")


def asked(base_url: str) -> tuple[str, Column]:
    """The server's name with its version, and what each probe saw."""
    with Server(base_url) as server:
        return server.version(), {probe.question: probe.run(server) for probe in PROBES}


def render(columns: dict[str, Column]) -> str:
    alike = [p.question for p in PROBES if len({column[p.question] for column in columns.values()}) == 1]
    different = [p.question for p in PROBES if p.question not in alike]
    return "\n".join([_HEAD, "## The same on all of them\n", *_rows(alike, columns), "",
                      "## Different\n", *_rows(different, columns), ""])  # fmt: skip


def read() -> dict[str, Column]:
    """The columns of the page as it stands."""
    columns: dict[str, Column] = {}
    names: list[str] = []
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        question, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| behaviour"):
            names = cells
        elif line.startswith("| "):
            for name, cell in zip(names, cells, strict=True):
                columns.setdefault(name, {})[question] = cell
    return columns


def _rows(questions: list[str], columns: dict[str, Column]) -> list[str]:
    head, *rows = (
        f"| {' | '.join(cells)} |"
        for cells in (
            ["behaviour", *columns],
            *([question, *(column[question] for column in columns.values())] for question in questions),
        )
    )
    return [head, "|---" * (len(columns) + 1) + "|", *rows]


if __name__ == "__main__":
    sys.exit(write())
