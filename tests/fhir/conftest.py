"""A client of an imagined server; respx fails the test on a request that it does not expect."""

from collections.abc import AsyncIterator

import pytest

from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection, bearer

BASE = "https://ehr.example/fhir"


@pytest.fixture
def base() -> str:
    return BASE


@pytest.fixture
def waits() -> list[float]:
    """The seconds that the client waited between attempts; nobody really waits."""
    return []


@pytest.fixture
async def client(waits: list[float]) -> AsyncIterator[BhiClient]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    connection = Connection(BASE, auth=bearer("SECRET"), max_body_bytes=100_000)
    async with BhiClient(connection, sleep=sleep) as client:
        yield client
