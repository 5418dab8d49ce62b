"""The list from the ledger alone: names, order, a sheet; whatever the FHIR server does, and for many patients."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from hospital import Hospital
from inside import Inside, inside
from make_examples import MONTH
from served import running

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.web.app import create_app
from bhi_fhir.web.caseload import Caseload

pytestmark = pytest.mark.server
STEMS = ("cocm-first-month-in-order", "cocm-one-minute-short", "brief-intervention-not-documented",
         "general-bhi-in-order", "team-without-consultant")  # fmt: skip


@pytest.fixture(scope="module")
def within(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    with inside(fhir_server, tmp_path_factory.mktemp("list"), *STEMS) as found:
        yield found


def names(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a [^>]*>([^<]+)</a>', text)


def sheet(within: Inside, **chosen: str) -> list[dict[str, str]]:
    return list(csv.DictReader(within.get("/caseload/list.csv", **chosen).text.splitlines()))


def test_people_are_named_on_the_list_and_in_the_sheet(within: Inside) -> None:
    shown = within.get("/caseload").text
    assert "Maria Synthetic" in shown
    assert "1951-07-14" in shown
    (maria,) = [row for row in sheet(within) if row["name"] == "Maria Synthetic"]
    assert (maria["born"], maria["patient"]) == ("1951-07-14", within.hospital.patients[0])
    assert maria["days left"] == "0"


def test_names_stand_sealed_in_the_ledger(within: Inside) -> None:
    with within.app.state.caseload.last.ledger.engine.connect() as db:
        assert "Synthetic" not in str(db.execute(sa.select(tables.months)).all())


@pytest.mark.parametrize("sort", ["patient", "minutes", "missing", "elements", "review", "contact", "improving"])
def test_every_column_sorts_both_ways(within: Inside, sort: str) -> None:
    there = names(within.get("/caseload", sort=sort).text)
    back = names(within.get("/caseload", sort=sort, back="1").text)
    assert len(there) == len(STEMS)
    assert back == there[::-1]
    assert [row["name"] for row in sheet(within, sort=sort, back="1")] == back


def test_by_name_is_by_the_family_name(within: Inside) -> None:
    there = names(within.get("/caseload", sort="patient").text)
    assert there == sorted(there, key=lambda name: (name.split()[-1], name))


def test_whose_psychiatric_review_is_due_is_a_column_and_a_filter(within: Inside) -> None:
    due = [row["name"] for row in sheet(within) if row["psychiatric review"] == "due"]
    assert [row["name"] for row in sheet(within, review="1")] == due
    assert within.get("/caseload").text.count(">due<") == len(due)
    assert set(names(within.get("/caseload", review="1").text)) == set(due)


def test_it_opens_whatever_the_fhir_server_does(within: Inside) -> None:
    site = within.hospital.folder / "site.toml"
    before = site.read_text()
    try:
        site.write_text(before.replace(within.hospital.base_url, "http://127.0.0.1:9/fhir"))
        with running(create_app(within.hospital.folder)) as away:
            listed = away.get("/caseload", params={"month": MONTH}, headers=within.cookie)
            assert (listed.status_code, len(names(listed.text))) == (200, len(STEMS))
            taken = away.get("/caseload/list.csv", params={"month": MONTH}, headers=within.cookie)
            assert taken.status_code == 200
            patient = away.get("/caseload/patient", params={"month": MONTH, "of": within.key}, headers=within.cookie)
            assert (patient.status_code, "cannot be read" in patient.text) == (502, True)
    finally:
        site.write_text(before)


def test_of_many_patients_a_page_is_shown_and_each_is_opened_once(
    within: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    caseload: Caseload = within.app.state.caseload
    ledger = caseload.last.ledger
    with ledger.engine.connect() as db:
        row = db.execute(sa.select(tables.months).where(tables.months.c.month == MONTH)).first()
    assert row is not None
    kept = ledger.kept(within.hospital.patients[0], MONTH)
    for number in range(500):
        ledger.decided(row.run, f"Patient/many-{number}", MONTH, {**kept, "patient": f"Patient/many-{number}"})
    opened = []
    real = Seal.open

    def counted(self: Seal, *given: object) -> object:
        opened.append(given)
        return real(self, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Seal, "open", counted)
    shown = within.get("/caseload").text
    assert f"{500 + len(STEMS)} patients" in shown
    assert len(names(shown)) == 50
    assert 500 <= len(opened) <= 500 + 2 * len(STEMS) + 1
    opened.clear()
    assert len(sheet(within)) == 500 + len(STEMS)
    assert len(opened) == 1  # the session


def test_a_sync_says_nothing_of_names(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    from bhi_fhir.jobs import sync_report

    hospital = Hospital(fhir_server, tmp_path_factory.mktemp("said") / "site")
    hospital.admit("cocm-first-month-in-order")
    said = b"".join(sync_report.json(hospital.sync(write=False)))
    assert hospital.patients[0].encode() in said
    assert b"Synthetic" not in said
