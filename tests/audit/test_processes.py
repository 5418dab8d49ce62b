"""Several processes, a full disk and kill -9."""

import subprocess
import sys
import time
from pathlib import Path

from bhi_fhir.audit import verify

WRITER = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from bhi_fhir.audit import AuditError, AuditLog

path, name, number, limit = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)) if limit else None
clock = lambda: datetime(2026, 10, 4, tzinfo=UTC)
log = AuditLog.open(path, source="Clinic", version="1", server="https://f.example.org", clock=clock)
for n in range(number):
    audit = log.patient(f"Patient/{name}")
    audit.read(f"Observation/{n}", 200)
    audit.read(f"Observation/{n}", 200)
    try:
        audit.commit()
    except AuditError as error:
        print(error)
        break
"""


def writer(path: Path, name: str, number: int, limit: int = 0) -> subprocess.Popen[str]:
    args = [sys.executable, "-c", WRITER, str(path), name, str(number), str(limit)]
    return subprocess.Popen(args, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def test_four_processes_append_to_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    for process in [writer(path, name, 100) for name in "abcd"]:
        said, _ = process.communicate(timeout=120)
        assert (said, process.returncode) == ("", 0)
    checked = verify(path)
    assert (checked.lines, checked.breaks) == (800, ())


def test_the_chain_holds_after_a_writer_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    file = tmp_path / "audit-2026-10.ndjson"
    for round_ in range(10):
        before = file.stat().st_size if file.exists() else 0
        process = writer(path, "a", 1_000_000)
        while not file.exists() or file.stat().st_size < before + 5_000:
            time.sleep(0.002)
        time.sleep(round_ * 0.0007)
        process.kill()
        process.communicate()
    writer(path, "b", 1).communicate(timeout=60)
    checked = verify(path)
    assert checked.breaks == ()
    assert checked.lines > 20


def test_a_full_disk_leaves_no_half_line_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.ndjson"
    said, _ = writer(path, "a", 100, limit=20_000).communicate(timeout=60)
    assert "File too large. Nothing is sent while it cannot be written." in said
    checked = verify(path)
    assert checked.breaks == ()
    assert checked.lines % 2 == 0  # a commit is there as a whole, or not at all
