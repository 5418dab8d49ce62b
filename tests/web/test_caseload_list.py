"""The list from the ledger alone: names, order, a sheet; whatever the FHIR server does, and for many patients."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from datetime import date

import pytest
import sqlalchemy as sa
from hospital import Hospital
from inside import Inside, inside
from make_examples import MONTH
from served import running

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.errors import Unreachable
from bhi_fhir.web.app import create_app
from bhi_fhir.web.caseload import Caseload
from bhi_fhir.web.oauth_client import Client, SignInRefused

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


def test_it_opens_at_the_newest_month_that_a_sync_has_read_and_names_it(within: Inside) -> None:
    """In November, while only September was read."""
    opened = within.http.get("/caseload", headers=within.cookie).text
    assert "<h1>Caseload, September 2026</h1>" in opened
    assert len(names(opened)) == len(STEMS)
    taken = within.http.get("/caseload/list.csv", headers=within.cookie)
    assert f"caseload-{MONTH}.csv" in taken.headers["content-disposition"]
    within.hospital.sync(write=False, month="2026-08")  # an older month that is read again later
    assert "<h1>Caseload, September 2026</h1>" in within.http.get("/caseload", headers=within.cookie).text
    assert "bhi-fhir sync --month 2026-07" in within.get("/caseload", month="2026-07").text


def test_month_and_filter_survive_the_way_to_the_sign_in(within: Inside) -> None:
    there = within.http.get("/caseload?month=2026-09&status=billable&silent=7&back=1&page=2&evil=https://x.example")
    assert there.headers["location"] == "/caseload/login?month=2026-09&status=billable&silent=7&back=1&page=2"
    nothing = within.http.get("/caseload?month=x&status=x&sort=status&page=-1")
    assert nothing.headers["location"] == "/caseload/login"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (Unreachable("away"), 503, "The hospital&#39;s sign-in does not answer"),
        (SignInRefused("no", "invalid_grant"), 400, "Open the caseload again."),
        (SignInRefused("no"), 403, "The hospital&#39;s sign-in cannot be trusted"),
    ],
)
def test_a_sign_in_of_the_hospital_that_fails_is_not_told_as_the_ehrs(
    within: Inside, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, said: str
) -> None:
    async def fails(client: Client, base: str) -> None:
        raise error

    monkeypatch.setattr(Client, "server", fails)
    answer = within.http.get("/caseload/login")
    assert answer.status_code == status
    assert said in answer.text
    assert "EHR" not in answer.text


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


def test_days_since_the_last_contact_are_counted_to_the_day_on_which_the_list_is_shown(within: Inside) -> None:
    today = within.app.state.service.today()
    rows = [row for row in sheet(within) if row["last contact"]]
    assert rows
    for row in rows:
        assert int(row["days since"]) == (today - date.fromisoformat(row["last contact"])).days
    some = rows[0]["days since"]
    assert f"{some} days ago" in within.get("/caseload", silent=some).text


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
