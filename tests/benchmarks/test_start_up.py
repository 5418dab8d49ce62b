"""The small form of start_up.py: a command starts as quickly as issue 6 asks."""

from __future__ import annotations

import pytest
from benchmarks.start_up import SHAPES, median, pairs

MOST = 3.0
"""Times `import msgspec, zoneinfo`, by processor."""
ATTEMPTS = 3
"""A median that is too high is asked again: what else the machine does passes, what a start does stays."""


@pytest.mark.parametrize("shape", SHAPES)
def test_one_patient_is_decided_within_three_times_what_two_imports_take(shape: str) -> None:
    taken = (median([pair.ratio for pair in pairs(shape, 5)]).processor for _ in range(ATTEMPTS))
    assert any(ratio <= MOST for ratio in taken)
