"""The benchmark says what it needs instead of failing in the middle of an import."""

import subprocess
import sys
from pathlib import Path


def test_the_benchmark_names_the_extra_that_it_needs() -> None:
    program = (
        "import runpy, sys; sys.modules['orjson'] = None;"
        f"runpy.run_path({str(Path(__file__).with_name('bulk.py'))!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "The benchmark needs the test extra: pip install -e '.[test]'.\n")
