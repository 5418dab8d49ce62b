"""Fixtures that more than one room needs."""

from collections.abc import Iterator

import pytest

from bhi_fhir.jobs.local_server import local_fhir_server


@pytest.fixture(scope="session")
def fhir_server() -> Iterator[str]:
    """The base URL of a real R4 server in its own process. Tests share it: each uses ids of its own."""
    with local_fhir_server() as base_url:
        yield base_url
