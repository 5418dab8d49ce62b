"""The ledger on SQLite and on PostgreSQL: what it remembers, who may write, what can be read in it."""

from __future__ import annotations

import asyncio
import multiprocessing
import sqlite3
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from cryptography.fernet import Fernet

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.ledger import RESUMED_FOR, Ledger, open_ledger
from bhi_fhir.delivery.line import Draft, Line
from bhi_fhir.delivery.migrating import config
from bhi_fhir.delivery.seal import Seal, site_seal
from bhi_fhir.delivery.writer import alone, writing
from bhi_fhir.domain.record import Attestation
from bhi_fhir.errors import SiteError

SEAL = Seal(Fernet.generate_key().decode())
MONTH = "2026-09"
DRAFT = Draft(
    "i-1", "ChargeItem", "99492", {"subject": {"reference": "Patient/canary-77"}}, (("2026-09-30", 1),), ("F33.1",)
)
LINE = Line(DRAFT, MONTH, "prepared")


@contextmanager
def opened(url: str, folder: Path, site: UUID | None = None, seal: Seal = SEAL) -> Iterator[Ledger]:
    ledger = open_ledger(url, folder, site or uuid4(), seal)
    try:
        yield ledger
    finally:
        ledger.close()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str:
    """Of a ledger; tests share the PostgreSQL and have a site each."""
    if request.param == "sqlite":
        return "sqlite:///ledger.db"
    found: str = request.getfixturevalue("postgresql")
    return found


@pytest.fixture
def ledger(url: str, tmp_path: Path) -> Iterator[Ledger]:
    with opened(url, tmp_path) as found:
        yield found


def test_what_was_put_is_what_is_found(ledger: Ledger) -> None:
    approved = replace(
        LINE,
        state="unknown",
        sink="dft",
        reference="ChargeItem/9",
        version="3",
        revision=4,
        replaces=replace(DRAFT, content={"status": "planned"}),
        approved_by="Ann Biller",
        approved_at=datetime(2026, 10, 2, 9, tzinfo=UTC),
        witnessed=True,
        reason="why",
    )
    ledger.put("Patient/1", [LINE])
    ledger.put("Patient/1", [approved])
    (found,) = ledger.lines("Patient/1", MONTH)
    assert replace(found, changed_at=None) == approved
    assert ledger.month_lines(MONTH) == [("Patient/1", found)]
    assert ledger.patients([MONTH]) == {"Patient/1"}
    assert ledger.lines("Patient/2", MONTH) == ledger.lines("Patient/1", "2026-10") == []


def test_a_withdrawn_line_needs_no_more_looking_after(ledger: Ledger) -> None:
    ledger.put("Patient/1", [replace(LINE, state="withdrawn")])
    assert ledger.patients([MONTH]) == set()


def test_sites_of_one_database_know_nothing_of_each_other(ledger: Ledger) -> None:
    ledger.put("Patient/1", [LINE])
    other = Ledger(ledger.engine, uuid4(), SEAL)
    assert other.lines("Patient/1", MONTH) == []
    assert other.key("Patient/1") != ledger.key("Patient/1")


def test_who_reads_does_not_wait_for_who_writes(ledger: Ledger) -> None:
    ledger.put("Patient/1", [LINE])
    reads = (
        lambda: ledger.lines("Patient/1", MONTH),
        lambda: ledger.month_lines(MONTH),
        lambda: ledger.patients([MONTH]),
        lambda: ledger.kept("Patient/1", MONTH),
        lambda: ledger.attested("Patient/1", MONTH),
        lambda: ledger.done("run", MONTH),
        ledger.delivered_months,
        lambda: ledger.synced(MONTH),
        lambda: ledger.roster(MONTH),
        lambda: list(ledger.kept_of(MONTH, [ledger.key("Patient/1")], dict)),
    )
    with ThreadPoolExecutor(1) as beside, ledger.transaction() as db:
        db.execute(sa.delete(tables.lines).where(tables.lines.c.site == ledger.site))
        assert [line.code for line in (n.draft for n in beside.submit(reads[0]).result(timeout=5))] == ["99492"]
        for each in reads:
            beside.submit(each).result(timeout=5)


def test_the_tables_are_those_that_the_migrations_make(ledger: Ledger) -> None:
    with ledger.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), tables.metadata) == []


def test_a_ledger_of_the_first_version_is_brought_up_to_date(tmp_path: Path) -> None:
    """Also where a service of then has made tables of its own in it."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'l.db'}")
    with engine.begin() as db:
        command.upgrade(config(db), "0001")
        db.execute(sa.text("CREATE TABLE web_sessions (key TEXT)"))
        db.execute(sa.text("INSERT INTO runs VALUES ('r', 's', '2026-09', 'f', 1, '2026-10-01', NULL)"))
    engine.dispose()
    with opened("sqlite:///l.db", tmp_path) as ledger, ledger.engine.connect() as db:
        assert compare_metadata(MigrationContext.configure(db), tables.metadata) == []
        assert db.execute(sa.text("SELECT id FROM runs")).all() == [("r",)]


def test_a_ledger_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    ledger = open_ledger("sqlite:///l.db", tmp_path, uuid4(), SEAL)
    with ledger.engine.begin() as db:
        db.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SiteError, match="later bhi-fhir"):
        open_ledger("sqlite:///l.db", tmp_path, uuid4(), SEAL)


def test_nobody_who_reads_the_database_learns_who_a_patient_is(tmp_path: Path) -> None:
    ledger = open_ledger("sqlite:///l.db", tmp_path, uuid4(), SEAL)
    ledger.put("Patient/canary-77", [replace(LINE, approved_by="Canary Biller")])
    ledger.decided("run", "Patient/canary-77", MONTH, {"patient": "Patient/canary-77"})
    ledger.attest(
        "Patient/canary-77", MONTH, Attestation("outreach", "Dr Canary", date(2026, 9, 1), "canary", "x"), "b"
    )
    ledger.engine.dispose()
    for file in tmp_path.glob("l.db*"):
        if file.is_file():
            assert b"anary" not in file.read_bytes()


def test_another_key_opens_nothing_and_says_so(tmp_path: Path) -> None:
    site = uuid4()
    open_ledger("sqlite:///l.db", tmp_path, site, SEAL).put("Patient/1", [LINE])
    with pytest.raises(SiteError, match="another key"):
        open_ledger("sqlite:///l.db", tmp_path, site, Seal(Fernet.generate_key().decode())).lines("Patient/1", MONTH)


def test_a_new_key_goes_before_the_old_one(tmp_path: Path) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    sealed = Seal(old).close("x")
    assert Seal(f"{new}\n{old}").open(sealed) == "x"


def test_a_key_file_is_made_once_and_for_its_owner_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "k"
    sealed = site_seal("", file).close("x")
    assert site_seal("", file).open(sealed) == "x"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert capsys.readouterr().err.count("was made") == 1
    assert [f.name for f in tmp_path.iterdir()] == ["k"]


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "forgets what it sent"),
        ("mysql://x/y", "SQLite and PostgreSQL|postgresql"),
        ("nonsense", "sqlite:///FILE"),
        ("sqlite:////no/such/folder/l.db", "cannot be made"),
    ],
)
def test_a_ledger_that_cannot_be_is_one_sentence(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=said):
        open_ledger(url, tmp_path, uuid4(), SEAL)


def test_a_run_that_was_cut_off_is_gone_on_with_and_only_that(ledger: Ledger) -> None:
    run, resumed = ledger.begin(MONTH, "f", wrote=True, afresh=False)
    assert not resumed
    ledger.decided(run, "Patient/1", MONTH, {"n": 1})
    assert ledger.begin(MONTH, "f", wrote=True, afresh=False) == (run, True)
    assert ledger.done(run, MONTH) == {ledger.key("Patient/1")}
    assert ledger.kept("Patient/1", MONTH) == {"n": 1}
    ledger.end(run)
    assert ledger.begin(MONTH, "f", wrote=True, afresh=False)[1] is False


@pytest.mark.parametrize("what", ["site changed", "not writing", "afresh", "too old"])
def test_a_run_that_is_not_the_same_is_a_new_one(ledger: Ledger, what: str) -> None:
    run, _ = ledger.begin(MONTH, "f", wrote=True, afresh=False)
    if what == "too old":
        later = datetime.now(UTC) + RESUMED_FOR + timedelta(minutes=1)
        ledger.now = lambda: later
    fingerprint, wrote = ("g" if what == "site changed" else "f"), what != "not writing"
    again, resumed = ledger.begin(MONTH, fingerprint, wrote=wrote, afresh=what == "afresh")
    assert (again == run, resumed) == (False, False)


def test_the_delivered_months_are_those_that_were_written(ledger: Ledger) -> None:
    ledger.begin("2026-08", "f", wrote=True, afresh=False)
    ledger.begin("2026-07", "f", wrote=False, afresh=False)
    ledger.begin("2026-06", "f", wrote=True, afresh=True)
    assert ledger.delivered_months() == ["2026-06", "2026-08"]


def test_an_attestation_holds_until_it_lapses(ledger: Ledger) -> None:
    said = Attestation("outreach", "Dr Kim", date(2026, 9, 30), "by letter", "binder")
    made = ledger.attest("Patient/1", MONTH, said, "basis")
    (found,) = ledger.attested("Patient/1", MONTH)
    assert (found.id, found.attestation, found.basis) == (made, said, "basis")
    ledger.lapse(made, "changed")
    assert ledger.attested("Patient/1", MONTH) == []


def test_retention_takes_who_and_keeps_that_it_was_delivered(ledger: Ledger) -> None:
    ledger.put("Patient/1", [replace(LINE, state="confirmed", reference="ChargeItem/9")])
    ledger.decided("run", "Patient/1", MONTH, {"n": 1})
    assert ledger.forget_before(MONTH) == 0
    assert ledger.forget_before("2026-10") == 2
    (kept,) = ledger.lines("Patient/1", MONTH)
    assert (kept.state, kept.reference, kept.content) == ("confirmed", "ChargeItem/9", {})
    assert ledger.kept("Patient/1", MONTH) is None
    assert ledger.month_lines(MONTH) == []


# -- one writer -------------------------------------------------------------------------------------


async def test_tasks_of_one_process_take_turns(ledger: Ledger) -> None:
    inside = most = 0

    async def one() -> None:
        nonlocal inside, most
        async with writing(ledger.engine, "key") as lock:
            assert lock.sure()
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(one() for _ in range(12)))
    assert most == 1


def _count_in_turns(url: str, folder: Path, counter: Path, times: int) -> None:
    for _ in range(times):
        with opened(url, folder) as ledger, alone(ledger.engine, "key"):
            counter.write_text(str(int(counter.read_text()) + 1))


def test_processes_take_turns(url: str, tmp_path: Path) -> None:
    counter = tmp_path / "counter"
    counter.write_text("0")
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=_count_in_turns, args=(url, tmp_path, counter, 40)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert counter.read_text() == "120"


def _hold(url: str, folder: Path, held: Path) -> None:
    with opened(url, folder) as ledger, alone(ledger.engine, "key"):
        held.touch()
        multiprocessing.Event().wait(60)


def test_the_lock_of_a_killed_writer_is_free_at_once(url: str, tmp_path: Path) -> None:
    held = tmp_path / "held"
    holder = multiprocessing.get_context("spawn").Process(target=_hold, args=(url, tmp_path, held))
    holder.start()
    while not held.exists():
        assert holder.is_alive()

    async def wait(patience: float) -> None:
        with opened(url, tmp_path) as ledger:
            async with writing(ledger.engine, "key", patience):
                pass

    with pytest.raises(SiteError, match="Another bhi-fhir"):
        asyncio.run(wait(0.1))
    holder.kill()
    holder.join()
    asyncio.run(wait(5.0))


@pytest.mark.postgres
async def test_a_writer_whose_database_session_was_cut_off_knows_it(postgresql: str, tmp_path: Path) -> None:
    with opened(postgresql, tmp_path) as ledger:
        async with writing(ledger.engine, "cut off") as lock:
            with ledger.engine.begin() as db:
                db.execute(sa.text("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"))
            assert not lock.sure()


def test_a_power_cut_does_not_undo_what_was_committed(tmp_path: Path) -> None:
    """SQLite syncs at each commit: the settings that see to it."""
    ledger = open_ledger("sqlite:///l.db", tmp_path, uuid4(), SEAL)
    with ledger.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    assert sqlite3.connect(tmp_path / "l.db").execute("SELECT count(*) FROM lines").fetchone() == (0,)
