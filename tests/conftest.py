"""Fixtures that more than one room needs."""

import signal
from collections.abc import Iterator

import pytest
from servers import running

MARKS = {
    "hapi": "needs Java and Maven: HAPI FHIR's server or validator",
    "medplum": "needs Node and npm: Medplum's router and memory repository",
    "postgres": "needs PostgreSQL",
}


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    # The servers end with their fixtures, however the tests are ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session")
def fhir_server() -> Iterator[str]:
    """The base URL of a real R4 server in its own process. Tests share it: each uses ids of its own."""
    with running.sekmet() as base_url:
        yield base_url


@pytest.fixture(scope="session")
def hapi_server() -> Iterator[str]:
    """The base URL of a HAPI FHIR JPA server; shared, like fhir_server."""
    with running.hapi() as base_url:
        yield base_url


@pytest.fixture(scope="session")
def medplum_server() -> Iterator[str]:
    """The base URL of Medplum; shared, like fhir_server."""
    with running.medplum() as base_url:
        yield base_url


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("fhir_server", id="sekmet", marks=pytest.mark.server),
        pytest.param("hapi_server", id="hapi", marks=(pytest.mark.server, pytest.mark.hapi)),
        pytest.param("medplum_server", id="medplum", marks=(pytest.mark.server, pytest.mark.medplum)),
    ],
)
def any_fhir_server(request: pytest.FixtureRequest) -> str:
    """The base URL of each of the three in turn; each is started once, when a test first asks for it."""
    base_url: str = request.getfixturevalue(request.param)
    return base_url


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The SQLAlchemy URL of an empty PostgreSQL. Tests share it: each makes a schema or database of its own."""
    with running.postgresql() as url:
        yield url
