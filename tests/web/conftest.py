"""A service that everybody on this machine may call, for the tests that ask nothing of who calls."""

from collections.abc import Iterator

import httpx
import pytest
from served import served


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    extra = '[serve]\npublic_url = "https://bhi.example.org/"\nmax_body_mib = 1\nmax_entries = 100\n'
    extra += "requests_per_minute = 0\n"
    with served(tmp_path_factory.mktemp("site"), extra) as client:
        yield client
