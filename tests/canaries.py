"""Who must never be named: the patients of all test records, and every secret that tests sign in with.

Every record of the tests and every example has the same family name and Medicare number; secrets in tests begin
with a word of their own. While any test runs, what is logged, printed to standard error, raised as an error of
ours or requested as a URL is searched for them (conftest.py). FHIR ids are not among them: a URL must have those.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

NAMES = re.compile(rb"(?<![A-Za-z0-9.])Synthetic(?![A-Za-z0-9])|1S00E00AA|SECRET|[Cc]anary[-_ ]?(?:Name|Token|MRN)")

leaks: list[str] = []
"""Where the test that runs now has said who must not be named."""


def searched(text: object, where: str) -> None:
    if found := NAMES.search(str(text).encode("utf-8", "replace")):
        leaks.append(f"{where} names {found[0].decode()}")


class Listening(logging.Handler):
    """Every log record of every library, at every level."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.name.startswith(("asyncio", "faulthandler")):
            return
        searched(record.getMessage(), f"the log of {record.name}")
        if record.exc_info:
            searched(record.exc_info[1], f"an exception in the log of {record.name}")


def overhear(monkeypatch: pytest.MonkeyPatch) -> None:
    """Listens to errors of ours and to the addresses of requests."""
    from bhi_fhir.errors import BhiError
    from bhi_fhir.fhir.gate import Gate

    made: Callable[..., None] = BhiError.__init__
    admit = Gate.admit

    def error(self: BhiError, *said: Any, **more: Any) -> None:
        searched(" ".join(map(str, said)), f"an error ({type(self).__name__})")
        made(self, *said, **more)

    def url(self: Gate, asked: str) -> str:
        admitted = admit(self, asked)
        searched(admitted, "a URL")
        return admitted

    monkeypatch.setattr(BhiError, "__init__", error)
    monkeypatch.setattr(Gate, "admit", url)
