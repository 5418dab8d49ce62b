"""Each destination from end to end: the command line, a real FHIR server for the record, a real receiver."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result
from delivery.test_dft import Listener, acknowledging, kinds, listening, raw
from hospital import NOW, Hospital
from make_examples import MONTH

import bhi_fhir.cli
from bhi_fhir.delivery.fhir_sink import FhirSink
from bhi_fhir.delivery.line import Receipt
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.approving import approve
from bhi_fhir.jobs.desk import Desk

pytestmark = pytest.mark.server

LONG = "cocm-long-month-with-add-ons"
FIRST = "cocm-first-month-in-order"
FOLDER = '[delivery]\nsink = "files"\nfolder = "out"\n'


@pytest.fixture
def hospital(fhir_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hospital:
    monkeypatch.setattr(bhi_fhir.cli.saying, "now", lambda: NOW)
    return Hospital(fhir_server, tmp_path / "site")


def run(hospital: Hospital, command: str, *arguments: str, status: int = 0) -> Result:
    site = ["--site", str(hospital.folder), "--month", MONTH]
    done = CliRunner().invoke(bhi_fhir.cli.cli, [command, *site, *arguments])
    assert done.exit_code == status, (done.output, done.exception)
    return done


def synced(hospital: Hospital, *arguments: str, status: int = 0) -> dict[str, str]:
    """Code to outcome; of a Claim, "Claim"."""
    said = json.loads(run(hospital, "sync", "--write", "--format", "json", *arguments, status=status).stdout)
    (month,) = said["months"]
    assert not month["failed"]
    return {d["code"] if d["resource_type"] == "ChargeItem" else "Claim": d["outcome"] for d in month["delivered"]}


def approved(hospital: Hospital, *arguments: str, status: int = 0) -> list[str]:
    return run(hospital, "approve", "--by", "Ann Biller", *arguments, "--format", "json", status=status).stderr.split(
        "\n"
    )[:-1]


def shown(hospital: Hospital) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run(hospital, "approve", "--format", "json").stdout)
    return found


def by_hand(hospital: Hospital) -> list[tuple[str, str, str]]:
    text = run(hospital, "approve", "--format", "csv").stdout
    return [(row["do"], row["what"], row["code"]) for row in csv.DictReader(io.StringIO(text))]


# -- a folder -----------------------------------------------------------------------------------------


def out(hospital: Hospital) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (hospital.folder / "out" / MONTH).iterdir()}


def manifests(hospital: Hospital) -> Counter[tuple[str, str, int]]:
    said = [json.loads(data) for name, data in out(hospital).items() if name.endswith(".manifest.json")]
    return Counter((each["action"], each["resourceType"], each["revision"]) for each in said)


def test_a_folder_gets_each_line_once_then_what_changed_as_its_next_revision(hospital: Hospital) -> None:
    patient = hospital.admit(LONG)
    hospital.configure(FOLDER)
    assert synced(hospital) == {"99493": "created", "99494": "created", "Claim": "created"}
    before = out(hospital)
    assert sorted(name.partition(".")[2] for name in before) == sorted(
        [*(2 * ["1.csv"]), *(3 * ["1.manifest.json"]), *(3 * ["1.ndjson"])]
    )
    rows = [row for name, data in before.items() if name.endswith(".csv") for row in _table(data)]
    assert {(row["action"], row["patient"], row["code"]) for row in rows} == {
        ("charge", patient, "99493"),
        ("charge", patient, "99494"),
    }
    assert set(synced(hospital).values()) == {"unchanged"}
    assert out(hospital) == before
    hospital.lasts("Encounter/james-work-1", 200)
    assert synced(hospital) == {"99493": "unchanged", "99494": "updated", "Claim": "updated"}
    assert manifests(hospital) == {
        ("charge", "ChargeItem", 1): 2,
        ("charge", "Claim", 1): 1,
        ("update", "ChargeItem", 2): 1,
        ("update", "Claim", 2): 1,
    }
    assert out(hospital).items() >= before.items()
    assert hospital.drafts() == {}


def _table(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def test_a_charge_without_a_claim_has_its_diagnosis_with_it(hospital: Hospital) -> None:
    hospital.admit("no-coverage-on-file")
    hospital.configure(FOLDER)
    assert synced(hospital) == {"99492": "created"}
    (row,) = (row for name, data in out(hospital).items() if name.endswith(".csv") for row in _table(data))
    assert row["diagnoses"] == "F33.1"


def test_what_the_receiver_acknowledged_and_took_away_is_confirmed(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.configure(FOLDER)
    synced(hospital)
    assert [row["state"] for row in shown(hospital)] == ["sent"]
    folder = hospital.folder / "out" / MONTH
    for file in list(folder.iterdir()):
        if file.name.endswith(".manifest.json"):
            file.with_name(file.name.replace(".manifest.json", ".ack")).touch()
        file.unlink()
    assert set(synced(hospital).values()) == {"unchanged"}
    assert [row["state"] for row in shown(hospital)] == ["confirmed"]


def test_a_receiver_that_empties_the_folder_gets_nothing_twice(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.configure(FOLDER)
    synced(hospital)
    for file in (hospital.folder / "out" / MONTH).iterdir():
        file.unlink()
    assert set(synced(hospital).values()) == {"unchanged"}
    assert out(hospital) == {}
    hospital.change(hospital.own("Encounter/maria-work-1"), status="cancelled")
    hospital.change(hospital.own("Encounter/maria-work-2"), status="cancelled")
    assert set(synced(hospital).values()) == {"withdrawn"}
    assert manifests(hospital) == {("credit", "ChargeItem", 2): 1, ("credit", "Claim", 2): 1}


def test_an_approval_is_the_next_revision_of_the_charge(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.configure(FOLDER)
    synced(hospital)
    (said,) = approved(hospital)
    assert said.startswith("approved 99492")
    assert manifests(hospital)["update", "ChargeItem", 2] == 1
    (row,) = (r for n, data in out(hospital).items() if n.endswith(".2.csv") for r in _table(data))
    assert row["status"] == "billable"


# -- HL7 v2 -------------------------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[Listener]:
    """In a thread: the command line has a loop of its own."""
    loop, found, ended = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
    holder: list[Listener] = []

    async def listen() -> None:
        async with listening() as opened:
            holder.append(opened)
            found.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(listen()))
    thread.start()
    assert found.wait(10)
    try:
        yield holder[0]
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
        loop.close()


def dft(listener: Listener, more: str = "") -> str:
    return (
        f'[delivery]\nsink = "dft"\n[delivery.dft]\nhost = "127.0.0.1"\nport = {listener.port}\ntimeout_s = 1\n{more}\n'
    )


def sent(listener: Listener) -> list[tuple[str, str]]:
    """Kind and code of every FT1 that ever came, in order."""
    found = []
    for message in listener.messages:
        codes = [line.split("|")[7].split("^")[0] for line in message.split("\r") if line.startswith("FT1")]
        found += [(kind, code) for (kind, *_), code in zip(kinds(message), codes, strict=True)]
    return found


def test_a_message_leaves_only_when_a_named_person_has_approved_and_then_once(
    hospital: Hospital, listener: Listener
) -> None:
    hospital.admit(LONG)
    hospital.configure(dft(listener))
    for _ in range(2):
        assert synced(hospital) == {"99493": "waiting", "99494": "waiting", "Claim": "created"} | (
            {"Claim": "unchanged"} if _ else {}
        )
    assert listener.messages == []
    assert by_hand(hospital) == [("enter", "Claim", "99493"), ("enter", "Claim", "99494")]
    assert len(approved(hospital)) == 2
    assert sorted(sent(listener)) == [("CG", "99493"), ("CG", "99494")]
    assert {(row["code"], row["state"], row["approved_by"]) for row in shown(hospital)} == {
        ("99493", "approved", "Ann Biller"),
        ("99494", "approved", "Ann Biller"),
    }
    for _ in range(2):
        assert synced(hospital) == {"99493": "approved", "99494": "approved", "Claim": "unchanged"}
        assert len(approved(hospital)) == 2
    hospital.lasts("Encounter/james-work-1", 200)
    assert synced(hospital)["99494"] == "left-alone"
    assert len(sent(listener)) == 2


def test_a_message_that_was_refused_is_shown_and_goes_again_once_it_is_mended(
    hospital: Hospital, listener: Listener
) -> None:
    hospital.admit(FIRST)
    hospital.configure(dft(listener))
    synced(hospital)
    listener.answer = acknowledging("AE", more="ERR|||204^Unknown key|E\r")
    (said,) = approved(hospital, status=1)
    assert said.startswith("refused 99492")
    assert "(AE, 204)" in shown(hospital)[0]["todo"]
    listener.answer = acknowledging("AA")
    assert synced(hospital)["99492"] == "created"
    assert synced(hospital)["99492"] == "approved"
    assert len(listener.messages) == 2


@pytest.mark.parametrize("arrived", [True, False])
def test_a_message_whose_answer_is_lost_is_never_sent_again_until_a_person_has_found_out(
    hospital: Hospital, listener: Listener, arrived: bool
) -> None:
    patient = hospital.admit(FIRST)
    hospital.configure(dft(listener))
    synced(hospital)
    listener.answer = raw()
    (said,) = approved(hospital, status=1)
    assert said.startswith("unknown 99492")
    listener.answer = acknowledging("AA")
    for _ in range(2):
        assert synced(hospital, status=3)["99492"] == "unknown"
        (said,) = approved(hospital, status=1)
        assert said.startswith("unknown 99492")
    assert "bhi-fhir resolve" in shown(hospital)[0]["todo"]
    assert len(listener.messages) == 1
    what = "--arrived" if arrived else "--never-arrived"
    run(hospital, "resolve", "--patient", patient, "--code", "99492", "--by", "Ann Biller", what)
    assert synced(hospital)["99492"] == ("approved" if arrived else "created")
    assert synced(hospital)["99492"] == "approved"
    assert len(listener.messages) == (1 if arrived else 2)
    assert shown(hospital)[0]["approved_by"] == "Ann Biller"


def test_a_review_queue_gets_drafts_at_once_and_a_credit_for_what_is_taken_back(
    hospital: Hospital, listener: Listener
) -> None:
    hospital.admit(LONG)
    hospital.configure(dft(listener, 'review_queue = "BHI review"'))
    assert synced(hospital) == {"99493": "created", "99494": "created", "Claim": "created"}
    assert set(synced(hospital).values()) == {"unchanged"}
    hospital.lasts("Encounter/james-work-1", 200)
    assert synced(hospital)["99494"] == "updated"
    for work in ("1", "2", "3"):
        hospital.change(hospital.own(f"Encounter/james-work-{work}"), status="entered-in-error")
    assert synced(hospital) == {"99493": "withdrawn", "99494": "withdrawn", "Claim": "withdrawn"}
    assert synced(hospital) == {}
    assert Counter(sent(listener)) == {
        ("CG", "99493"): 1,
        ("CD", "99493"): 1,
        ("CG", "99494"): 2,
        ("CD", "99494"): 2,
    }
    corrected = [kinds(message) for message in listener.messages if "|CG|" in message and "|CD|" in message]
    assert [[kind for kind, *_ in each] for each in corrected] == [["CD", "CG"]]


# -- people -------------------------------------------------------------------------------------------


def test_the_work_list_says_what_to_enter_to_correct_and_to_take_back(hospital: Hospital) -> None:
    hospital.admit(LONG)
    hospital.configure('[delivery]\nsink = "worklist"\n')
    synced(hospital)
    charges = [("enter", "ChargeItem", "99493"), ("enter", "ChargeItem", "99494")]
    assert by_hand(hospital) == [*charges, ("enter", "Claim", "99493"), ("enter", "Claim", "99494")]
    hospital.lasts("Encounter/james-work-1", 200)
    synced(hospital)
    assert ("correct", "ChargeItem", "99494") in by_hand(hospital)
    for work in ("1", "2", "3"):
        hospital.change(hospital.own(f"Encounter/james-work-{work}"), status="cancelled")
    synced(hospital)
    assert {do for do, *_ in by_hand(hospital)} == {"take back"}


# -- a server that refuses ------------------------------------------------------------------------------


@contextmanager
def read_only(upstream: str) -> Iterator[tuple[str, list[str]]]:
    """The server behind somebody who lets nothing be written, though /metadata says otherwise."""
    writes: list[str] = []

    class Doorkeeper(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = httpx.get(f"{upstream}{self.path.removeprefix('/fhir')}", headers={"Accept": "*/*"}, timeout=30)
            mine = f"http://{self.headers['Host']}/fhir"
            self._say(answer.status_code, answer.content.replace(upstream.encode(), mine.encode()))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            writes.append(self.path)
            self._say(403, b"")

        do_PUT = do_POST  # noqa: N815

        def _say(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Doorkeeper)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/fhir", writes
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_the_server_refuses_goes_to_the_folder_and_says_so_and_is_not_tried_again(hospital: Hospital) -> None:
    hospital.admit(FIRST)
    hospital.configure('[delivery]\nfolder = "out"\n')
    with read_only(hospital.base_url) as (base_url, writes):
        there = ("--set", f'fhir.base_url="{base_url}"')
        said = json.loads(run(hospital, "sync", "--write", "--format", "json", *there).stdout)
        delivered = said["months"][0]["delivered"]
        assert {(d["outcome"], d["sink"]) for d in delivered} == {("created", "files")}
        assert all("fhir: POST" in d["reason"] and "403" in d["reason"] for d in delivered)
        assert len(writes) == 3, "the transaction, then one by one"
        assert set(synced(hospital, *there).values()) == {"unchanged"}
        assert len(writes) == 3
    assert manifests(hospital) == {("charge", "ChargeItem", 1): 1, ("charge", "Claim", 1): 1}
    assert hospital.drafts() == {}


def test_what_is_only_not_sent_yet_is_on_nobodys_list(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever entered it would charge it a second time."""
    hospital.admit(FIRST)
    for answer in (Receipt("unsent", reason="not now"), Receipt("refused", reason="not so", status=400)):
        with monkeypatch.context() as busy:
            busy.setattr(FhirSink, "create", _always(answer))
            assert set(synced(hospital, status=3).values()) == {"refused"}
        assert by_hand(hospital) == []
        assert shown(hospital)[0]["todo"] == answer.reason
    assert set(synced(hospital).values()) == {"created"}


def test_of_merged_records_the_new_one_waits_until_the_old_ones_charge_is_taken_back(
    hospital: Hospital, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = hospital.admit(FIRST)
    hospital.sync()
    new = f"{old}-new"
    hospital.put({**hospital.get(old), "id": new.rpartition("/")[2]})
    hospital.change(old, active=False, link=[{"other": {"reference": new}, "type": "replaced-by"}])
    with monkeypatch.context() as busy:
        busy.setattr(FhirSink, "change", _always(Receipt("refused", reason="not now", status=403)))
        (month,) = hospital.sync().months()
    assert {d.outcome for d in month.delivered} == {"refused", "held"}
    assert [c["status"] for c in _charges(hospital, old, new)] == ["planned"]
    hospital.sync()
    assert sorted(c["status"] for c in _charges(hospital, old, new)) == ["aborted", "planned"]


def _charges(hospital: Hospital, *patients: str) -> list[dict[str, Any]]:
    return [each for each in hospital.all("ChargeItem") if each["subject"].get("reference") in patients]


def _always(answer: Receipt) -> Callable[..., Awaitable[Any]]:
    async def answers(sink: FhirSink, lines: Any, *draft: Any) -> Any:
        return answer if draft else [answer for _ in lines]

    return answers


# -- a site that changes ----------------------------------------------------------------------------------


def test_a_line_that_went_by_a_door_that_is_gone_is_held_and_goes_by_no_other(hospital: Hospital) -> None:
    hospital.admit(LONG)
    hospital.configure(FOLDER)
    synced(hospital)
    hospital.configure('[delivery]\nsink = "fhir"\n')
    hospital.lasts("Encounter/james-work-1", 200)
    assert set(synced(hospital).values()) == {"held"}
    assert hospital.drafts() == {}
    hospital.configure(FOLDER)
    assert synced(hospital)["99494"] == "updated"


def test_what_waited_for_approval_goes_by_the_new_door_of_the_site(hospital: Hospital, listener: Listener) -> None:
    hospital.admit(FIRST)
    hospital.configure(dft(listener))
    synced(hospital)
    hospital.configure('[delivery]\nsink = "fhir"\n')
    assert synced(hospital)["99492"] == "created"
    assert hospital.drafts()["99492"]["status"] == "planned"
    assert listener.messages == []


# -- two at once ------------------------------------------------------------------------------------------


def test_an_approval_and_a_sync_at_the_same_moment_never_take_each_other_for_a_stranger(hospital: Hospital) -> None:
    hospital.admit(LONG)
    for minutes in (100, 150, 200, 250):
        hospital.lasts("Encounter/james-work-1", minutes)
        at_once = [
            threading.Thread(target=run, args=(hospital, "sync", "--write")),
            threading.Thread(target=asyncio.run, args=(_approve(hospital),)),
        ]
        for thread in at_once:
            thread.start()
        for thread in at_once:
            thread.join()
        (month,) = hospital.sync().months()
        assert all("somebody" not in said.reason for said in month.delivered)
        stands = {code: charge["status"] for code, charge in hospital.drafts().items()}
        says = {row["code"]: "billable" if row["state"] == "approved" else "planned" for row in shown(hospital)}
        assert stands == says


async def _approve(hospital: Hospital) -> None:
    with suppress(UsageError):  # before the first sync there is nothing to approve
        await approve(Desk.open(hospital.folder, MONTH), "Ann Biller", NOW, code="99494")
