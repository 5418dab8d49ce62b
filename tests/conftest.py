"""Fixtures that more than one room needs."""

import logging
import signal
from collections.abc import Iterator

import canaries
import pytest
from hypothesis import settings
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
    # A machine that is busy elsewhere is no failure.
    settings.register_profile("any machine", deadline=None)
    settings.load_profile("any machine")
    logging.getLogger().addHandler(canaries.Listening(level=1))


@pytest.fixture(autouse=True)
def _nobody_is_named(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test may make us log a patient or a secret, put one into an error, or ask for a URL with one."""
    canaries.leaks.clear()
    canaries.overhear(monkeypatch)
    yield
    assert not canaries.leaks, "; ".join(canaries.leaks)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Nor may anybody be named on standard error, also of processes that a test starts."""
    report = yield
    said = [text for name, text in report.sections if "stderr" in name or "log" in name]
    if report.when == "teardown" and report.passed and any(canaries.NAMES.search(t.encode()) for t in said):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} names a patient or a secret on standard error or in its log"
    return report


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
