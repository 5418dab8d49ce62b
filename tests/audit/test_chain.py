"""What the chain shows, and what only a head that was kept elsewhere shows."""

import json
import stat
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import fhirkit
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bhi_fhir.audit import AuditError, AuditLog, Head, verify

NAME = "audit.ndjson"
LINES = 6


def opened(folder: Path, clock: Callable[[], datetime] = lambda: datetime(2026, 10, 4, tzinfo=UTC)) -> AuditLog:
    return AuditLog.open(folder / NAME, source="Clinic", version="1", server="https://f.example.org", clock=clock)


def told(log: AuditLog, number: int = 1) -> None:
    audit = log.patient("Patient/1")
    for n in range(number):
        audit.read(f"Patient/{n}", 200)
    audit.commit()


def written() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        told(opened(Path(folder)), LINES)
        return (Path(folder) / "audit-2026-10.ndjson").read_bytes()


WHOLE = written()
KEPT = WHOLE.splitlines(keepends=True)


def broken(data: bytes, kept: bool = True) -> list[int]:
    """At which lines the chain does not hold."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "audit-2026-10.ndjson"
        file.write_bytes(WHOLE)
        before = verify(Path(folder) / NAME).head
        file.write_bytes(data)
        return [b.line for b in verify(Path(folder) / NAME, before if kept else None).breaks]


def test_a_chain_that_nobody_touched_holds() -> None:
    assert broken(WHOLE) == []


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_any_changed_byte_is_found(place: int, by: int) -> None:
    data = bytearray(WHOLE)
    data[place] ^= by
    assert broken(bytes(data))
    if place < len(WHOLE) - len(KEPT[-1]):
        assert broken(bytes(data), kept=False)


@given(st.integers(0, LINES - 1), st.booleans())
def test_any_removed_line_is_found(place: int, kept: bool) -> None:
    data = b"".join(KEPT[:place] + KEPT[place + 1 :])
    assert bool(broken(data, kept)) == (kept or place < LINES - 1)


@given(st.permutations(KEPT).filter(lambda p: p != KEPT), st.booleans())
def test_any_other_order_is_found(order: list[bytes], kept: bool) -> None:
    assert broken(b"".join(order), kept)


@given(st.integers(0, LINES), st.sampled_from(KEPT) | st.binary(max_size=40).map(lambda b: b + b"\n"), st.booleans())
def test_any_inserted_line_is_found(place: int, line: bytes, kept: bool) -> None:
    assert broken(b"".join([*KEPT[:place], line, *KEPT[place:]]), kept)


@given(st.integers(0, len(WHOLE) - 1))
def test_a_cut_off_end_is_found_by_a_kept_head(at: int) -> None:
    assert broken(WHOLE[:at])


def test_the_line_is_named_and_the_rest_is_still_checked() -> None:
    lines = [*KEPT]
    lines[1] = lines[1].replace(b"Patient/1", b"Patient/2")
    lines[4] = lines[4].replace(b"Patient/1", b"Patient/2")
    assert broken(b"".join(lines), kept=False) == [3, 6]


def test_the_hash_of_a_line_is_what_sha256sum_says(tmp_path: Path) -> None:
    from hashlib import sha256

    told(opened(tmp_path), 3)
    last = (tmp_path / "audit-2026-10.ndjson").read_bytes().splitlines(keepends=True)[-1]
    assert verify(tmp_path / NAME).head == Head("audit-2026-10.ndjson", 3, sha256(last).hexdigest())


def test_an_empty_audit_has_no_head_and_holds(tmp_path: Path) -> None:
    assert verify(tmp_path / NAME).head is None
    opened(tmp_path)
    assert verify(tmp_path / NAME).head is None
    assert verify(tmp_path / NAME).breaks == ()


def test_only_the_owner_may_read_the_files(tmp_path: Path) -> None:
    told(opened(tmp_path))
    with (tmp_path / "audit-2026-10.ndjson").open("ab") as file:
        file.write(b"half")
    opened(tmp_path)
    assert {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == {0o600}
    assert len(list(tmp_path.iterdir())) == 3


# -- a torn line ------------------------------------------------------------------------------------


@given(st.integers(0, len(KEPT[-1]) - 1))
def test_a_line_that_was_cut_off_is_set_aside_and_its_place_marked(length: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = folder / "audit-2026-10.ndjson"
        torn = KEPT[-1][:length]
        file.write_bytes(b"".join(KEPT[:-1]) + torn)
        told(opened(folder))
        assert verify(folder / NAME).breaks == ()
        events = [json.loads(line)["event"] for line in file.read_text().splitlines()]
        assert len(events) == LINES + bool(torn)
        if torn:
            assert (folder / "audit-2026-10.ndjson.torn").read_bytes() == torn + b"\n"
            assert events[-2]["entity"][0]["detail"][0]["valueString"] == str(length)
            assert fhirkit.validate(json.dumps(events[-2])) == []


def test_a_torn_line_longer_than_a_block_is_set_aside_whole(tmp_path: Path) -> None:
    file = tmp_path / "audit-2026-10.ndjson"
    file.write_bytes(WHOLE + b"\0" * 200_000)
    told(opened(tmp_path))
    assert verify(tmp_path / NAME).breaks == ()
    assert len(Path(f"{file}.torn").read_bytes()) == 200_001


def test_the_end_of_a_line_longer_than_a_block_is_found(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.patient("Patient/1").announce("create", [])
    for _ in range(3):
        audit = log.patient("Patient/1")
        audit.searched("GET Observation?code=" + "1," * 100_000, 200)
        audit.commit()
    assert verify(tmp_path / NAME).lines == 3
    assert verify(tmp_path / NAME).breaks == ()


# -- months -----------------------------------------------------------------------------------------


def test_each_month_has_its_file_and_the_chain_goes_on(tmp_path: Path) -> None:
    now = [datetime(2026, 10, 31, 23, 59, tzinfo=UTC)]
    log = opened(tmp_path, lambda: now[0])
    told(log, 2)
    kept = verify(tmp_path / NAME).head
    now[0] = datetime(2027, 1, 1, tzinfo=UTC)
    told(log, 2)
    now[0] = datetime(2026, 12, 31, tzinfo=UTC)  # a clock that was set back does not open an older file
    told(log)
    assert [f.name for f in sorted(tmp_path.glob("*.ndjson"))] == ["audit-2026-10.ndjson", "audit-2027-01.ndjson"]
    checked = verify(tmp_path / NAME, kept)
    assert (checked.lines, checked.breaks) == (5, ())
    assert checked.head is not None
    assert (checked.head.file, checked.head.line) == ("audit-2027-01.ndjson", 3)
    (tmp_path / "audit-2026-10.ndjson").unlink()
    assert [(b.file, b.line) for b in verify(tmp_path / NAME, kept).breaks] == [
        ("audit-2027-01.ndjson", 1),
        ("audit-2026-10.ndjson", 2),
    ]


def test_a_line_torn_at_the_end_of_a_month_is_set_aside_in_the_next(tmp_path: Path) -> None:
    (tmp_path / "audit-2026-10.ndjson").write_bytes(WHOLE + b"half")
    told(opened(tmp_path, lambda: datetime(2026, 11, 1, tzinfo=UTC)))
    assert verify(tmp_path / NAME).breaks == ()
    assert verify(tmp_path / NAME).lines == LINES + 2


def test_audits_with_similar_names_are_different_chains(tmp_path: Path) -> None:
    told(opened(tmp_path))
    (tmp_path / "audit-2026-10-09.ndjson").write_bytes(b"other\n")
    (tmp_path / "my-audit-2026-11.ndjson").write_bytes(b"other\n")
    told(opened(tmp_path))
    assert (verify(tmp_path / NAME).lines, verify(tmp_path / NAME).breaks) == (2, ())


# -- fail closed ------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_ends_the_run_and_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match=r"gone/audit\.ndjson cannot be used: No such file.*Nothing is sent"):
        opened(tmp_path / "gone")


def test_what_could_not_be_written_is_kept_for_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audit = opened(tmp_path).patient("Patient/1")
    audit.read("Patient/1", 200)
    with monkeypatch.context() as patch:
        patch.setattr("bhi_fhir.audit.chain.os.fsync", refuse)
        with pytest.raises(AuditError, match=r"No space left on device\. Nothing is sent"):
            audit.commit()
        assert verify(tmp_path / NAME).lines == 0
    audit.commit()
    assert verify(tmp_path / NAME).lines == 1


def refuse(_: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_lock_that_nobody_gives_back_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    log = opened(tmp_path)
    monkeypatch.setattr("bhi_fhir.audit.chain._WAIT_S", 0.05)
    with FileLock(tmp_path / f"{NAME}.lock"), pytest.raises(AuditError, match="another process has held its lock"):
        told(log)
