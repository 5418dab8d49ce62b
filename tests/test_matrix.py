"""Every code in order, and every single thing that breaks it."""

import pytest
from matrix import CODES, Row, rows

from bhi_fhir.policy import policy

DRAFTED = {code.code: code for code, _ in policy().codes if code.drafted}


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row.name)
def test_the_code_comes_to_what_the_table_says(row: Row) -> None:
    [(decision, _)] = row.decide()[1].decisions
    assert row.wrong(decision) == ""


def test_the_matrix_holds_every_code_that_is_drafted() -> None:
    assert set(CODES) == set(DRAFTED)


@pytest.mark.parametrize("name", CODES)
def test_the_matrix_breaks_every_requirement_of_a_code(name: str) -> None:
    """But for those that only the choice, or only another month, can break."""
    elsewhere = {"exclusivity", "episode-month", "continuity", "follow-up-call", "minutes"}
    asked = set(DRAFTED[name].block) | set(DRAFTED[name].review)
    assert asked - elsewhere <= set(CODES[name].block) | set(CODES[name].review)
