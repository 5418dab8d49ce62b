"""Everything that is measured, one after the other, in one table.

    python tests/benchmarks [--patients N] [--pairs K]

Each part says what its ratios are to; each is a script of its own, whose first lines tell how it measures. Wants the
test extra, and Java for Spark.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    asked.add_argument("--patients", type=int, default=2000)
    asked.add_argument("--pairs", type=int, default=5)
    options = asked.parse_args()
    size = ["--patients", str(options.patients), "--pairs", str(options.pairs)]
    parts = {
        "An export": ["bulk.py", *size],
        "Spark": ["bulk.py", "--spark", *size],
        "evaluate, start-up included": ["start_up.py", str(3 * options.pairs)],
        "Search pages": ["wire.py", str(options.pairs)],
        "The service": ["over_http.py", "--rounds", str(options.pairs)],
    }
    failed = 0
    for title, (script, *words) in parts.items():
        print(f"\n{title} ({script})", flush=True)
        failed |= subprocess.run([sys.executable, Path(__file__).with_name(script), *words], check=False).returncode
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
