"""The whole thing on this machine: a real FHIR server, the example patients, a month synced twice."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.fernet import Fernet
from rich.console import Console

from bhi_fhir.errors import Refused
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.writing import transact
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.local_server import local_fhir_server
from bhi_fhir.jobs.progress import showing
from bhi_fhir.jobs.sync import Report, sync
from bhi_fhir.jobs.sync_report import show_month
from bhi_fhir.shipped import shipped

MONTH = "2026-09"
_SITE = """\
name = "Example Family Medicine"
time_zone = "America/Chicago"

[fhir]
base_url = "{base_url}"
"""


def demo(console: Console, *, keep: bool, now: datetime, port: int = 0) -> Report:
    """Run it all; the first sync's report. UsageError without sekmet-fhir, ServerError if it fails.

    `port`: the FHIR server's; 0 is a free one.
    """
    # A server must not outlive its demo, however that is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console.print("Starting a FHIR server (sekmet-fhir, its own process, this machine only) …")
    with local_fhir_server(port) as base_url, tempfile.TemporaryDirectory(prefix="bhi-fhir-site-") as folder:
        site = Path(folder)
        (site / "site.toml").write_text(_SITE.format(base_url=base_url), encoding="utf-8")
        (site / "bhi-fhir.key").write_bytes(Fernet.generate_key())  # gone with the demo: nobody need back it up
        report = asyncio.run(_run(console, base_url, Desk.open(site, MONTH), now))
        _say_where_to_look(console, base_url)
        if keep:
            _stay(console, base_url, site)
    return report


async def _run(console: Console, base_url: str, desk: Desk, now: datetime) -> Report:
    await load_examples(base_url)
    first = await _sync(console, desk, now)
    show_month(console, first.decisions, MONTH)
    _say_written(console, first)
    second = await _sync(console, desk, now)
    counts = second.counts()
    console.print(
        f"\n[bold]Synced again:[/] {counts['created']} created, {counts['unchanged']} unchanged: "
        "nothing is written twice."
    )
    return first


async def _sync(console: Console, desk: Desk, now: datetime) -> Report:
    with showing("reading and deciding") as progress:
        return await sync(
            desk,
            write=True,
            now=now,
            progress=progress,
            started=lambda found: console.print(
                f"Roster: {len(found.patients)} patients ({found.source}), month {desk.month}"
            ),
        )


async def load_examples(base_url: str) -> int:
    """Put the example patients onto a server; returns how many resources. Refused if it does not take them."""
    count = 0
    async with BhiClient(Connection(base_url=base_url)) as client:
        for file in sorted(shipped("examples/patients").glob("*.json")):
            record: dict[str, Any] = msgspec.json.decode(file.read_bytes())
            resources = [entry["resource"] for entry in record["entry"]]
            entries = [
                {"resource": r, "request": {"method": "PUT", "url": f"{r['resourceType']}/{r['id']}"}}
                for r in resources
            ]
            answers = await transact(client, {"resourceType": "Bundle", "type": "transaction", "entry": entries})
            for answer in answers:
                if answer.problem:
                    raise Refused(f"{file.name} was not loaded: {answer.problem}", answer.status)
            count += len(answers)
    return count


def _say_written(console: Console, report: Report) -> None:
    console.print("\n[bold]Written as drafts[/] (ChargeItem planned, Claim draft):")
    for month in report.months():
        written = [d.reference for d in month.delivered if d.outcome == "created" and d.reference]
        if written:
            console.print(f"  {month.patient}: {', '.join(written)}", highlight=False)
        for remark in month.remarks:
            console.print(f"  {month.patient}: {remark}", highlight=False)
    counts = report.counts()
    console.print(
        f"  {', '.join(f'{counts[k]} {k}' for k in ('decided', 'drafts', 'created', 'left-alone', 'failed'))}"
    )


def _say_where_to_look(console: Console, base_url: str) -> None:
    folder = shipped("examples/patients")
    example = folder / "cocm-one-minute-short.json"
    console.print("\nWhy, for one patient, in full sentences:")
    print_plain(
        console,
        f"  {_program()} explain --site {shipped('mappings') / 'sites/example'} --month {MONTH} {example}",
    )
    console.print(f"The example patients: {folder}", highlight=False, soft_wrap=True)


def _program() -> str:
    """As it was called: after README's first command it is on no PATH."""
    return sys.argv[0] if Path(sys.argv[0]).name == "bhi-fhir" else "bhi-fhir"


def print_plain(console: Console, text: str) -> None:
    """A command that can be copied: not wrapped, not coloured."""
    console.print(text, highlight=False, soft_wrap=True, markup=False)


def _stay(console: Console, base_url: str, site: Path) -> None:
    console.print("\nThe server goes on until Ctrl-C:")
    for path in ("ChargeItem", "Claim", "Patient"):
        print_plain(console, f"  curl {base_url}/{path}")
    print_plain(console, f"  {_program()} sync --site {site} --month {MONTH}")
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        console.print("Stopped.")
