"""Python work never blocks the loop: what decides, drafts, sorts and writes runs in threads beside it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from inside import Inside, inside

from bhi_fhir.jobs import month_work
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.patient_record import RecordReader
from bhi_fhir.web import caseload
from bhi_fhir.web.pages import month
from bhi_fhir.web.pages.rows import Filter

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def within(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    stems = ("brief-intervention-not-documented", "cocm-one-minute-short")
    with inside(fhir_server, tmp_path_factory.mktemp("beside"), *stems) as found:
        yield found


@pytest.fixture
def worked(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """The kinds of threads in which each piece of work was done; "" is the loop's own."""
    found: dict[str, set[str]] = {}

    def watch(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def seen(*given: Any, **named: Any) -> Any:
            found.setdefault(name, set()).add(threading.current_thread().name.rpartition("_")[0])
            return real(*given, **named)

        monkeypatch.setattr(owner, name, seen)

    watch(RecordReader, "_named")
    watch(Desk, "decide")
    watch(month_work, "draft")
    watch(month_work, "delivery_drafts")
    watch(month, "shown")
    watch(Filter, "choose")
    watch(caseload, "as_csv")
    return found


def test_a_months_page_and_its_forms_compute_beside_the_loop(within: Inside, worked: dict[str, set[str]]) -> None:
    for path, more in (
        ("/patient", {}),
        ("/patient/prepare", {}),
        ("/patient/attest", {"requirement": "brief-intervention"}),
    ):
        assert within.get(path, at=within.launch, **more).status_code == 200
    assert worked.keys() == {"_named", "decide", "draft", "delivery_drafts", "shown"}
    assert worked.pop("_named") - {""}  # whom the few people name is looked up at once
    assert not [name for name, threads in worked.items() if "" in threads]


def test_the_list_is_sorted_and_written_beside_the_loop(within: Inside, worked: dict[str, set[str]]) -> None:
    assert within.get("/caseload").status_code == 200
    assert within.get("/caseload/list.csv").status_code == 200
    assert worked.keys() == {"choose", "as_csv"}
    assert not [name for name, threads in worked.items() if "" in threads]
