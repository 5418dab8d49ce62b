"""The caseload in a real browser: who may see it, what it shows, and what a named person does from it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import Clinic, chromium, clinic
from hospital import NOW

from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.sync import sync

pytestmark = pytest.mark.server
SHOTS = os.environ.get("SHOTS", "")
MONTH = "2026-09"
SETTINGS = (
    '[caseload]\nissuer = "ISSUER"\nclient_id = "bhi-list"\nauth = "client_secret"\nsecret_env = "TEST_LIST"\n'
    'may_view = ["bhi-team", "bhi-billing"]\nmay_approve = ["bhi-billing"]\nmay_attest = ["bhi-team"]\n'
)
EXAMPLE = Path(__file__).parents[2] / "mappings" / "sites" / "example"
PATIENTS = ("cocm-first-month-in-order", "cocm-one-minute-short", "brief-intervention-not-documented")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def clinic_(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_LIST", "SECRET-list")
        with clinic(fhir_server, tmp_path_factory.mktemp("caseload"), patch, more=SETTINGS) as found:
            for stem in PATIENTS:
                found.hospital.admit(stem)
            synced(found)
            yield found


def synced(clinic: Clinic) -> None:
    desk = Desk.open(clinic.site, MONTH)

    def run() -> None:
        asyncio.run(
            sync(desk, write=True, now=NOW, progress=lambda now: None, started=lambda roster: None, afresh=True)
        )

    with ThreadPoolExecutor(1) as aside:  # the browser's own loop runs in this thread
        aside.submit(run).result()


@pytest.fixture
def tab(browser: Any, clinic_: Clinic) -> Iterator[Any]:
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


def signed_in(tab: Any, clinic: Clinic, who: str = "manager") -> None:
    tab.goto(f"{clinic.url}/caseload")
    tab.fill("input[name=login]", who)
    tab.fill("input[name=password]", "SECRET")
    tab.click("button[type=submit]")
    if not tab.locator("h1").inner_text().startswith("You may not"):
        tab.goto(f"{clinic.url}/caseload?month={MONTH}")


def shot(tab: Any, name: str) -> None:
    if SHOTS:
        tab.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def sound(tab: Any, clinic: Clinic) -> None:
    tab.evaluate((clinic.ehr.packages / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert not found["violations"], [(v["id"], [n["html"][:200] for n in v["nodes"]][:3]) for v in found["violations"]]


def test_it_shows_the_patients_of_the_last_sync_with_what_is_next(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    shot(tab, "caseload")
    shown = tab.inner_text("main")
    assert "3 patients" in shown
    for said in ("Maria Synthetic", "99492 × 1", "1 to G2214", "brief intervention"):
        assert said in shown
    assert "signed in as Casey Manager" in tab.inner_text("footer")
    sound(tab, clinic_)


def test_a_sign_in_between_keeps_the_month_and_the_filter(tab: Any, clinic_: Clinic) -> None:
    tab.goto(f"{clinic_.url}/caseload?month=2026-08&status=billable&within=5")
    tab.fill("input[name=login]", "manager")
    tab.fill("input[name=password]", "SECRET")
    tab.click("button[type=submit]")
    assert tab.url == f"{clinic_.url}/caseload?month=2026-08&status=billable&within=5"
    assert tab.inner_text("h1") == "Caseload, August 2026"
    assert (tab.input_value("#status"), tab.input_value("#within")) == ("billable", "5")
    sound(tab, clinic_)


def test_it_is_sorted_filtered_and_taken_along(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    tab.fill("#within", "5")
    tab.click("form.filter button")
    assert tab.locator("tbody tr").count() == 1
    assert "Rosa Synthetic" in tab.inner_text("tbody")
    tab.goto(f"{clinic_.url}/caseload?month={MONTH}&sort=minutes")
    minutes = [int(each) for each in tab.locator("td.number").all_inner_texts()]
    assert minutes == sorted(minutes, reverse=True)
    lines = tab.request.get(f"{clinic_.url}/caseload/list.csv?month={MONTH}&status=needs-review").text().splitlines()
    assert lines[0].startswith("month,as of,days left,patient,name,born,number,status,codes,minutes")
    assert len(lines) == 2


def test_contact_and_course_are_columns_and_filters(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    assert "days ago" in tab.inner_text("tbody")
    tab.fill("#silent", "999")
    tab.click("form.filter button")
    assert tab.locator("tbody tr").count() == 0
    tab.goto(f"{clinic_.url}/caseload?month={MONTH}&sort=contact&silent=0")
    assert tab.locator("tbody tr").count() == 3
    assert tab.locator("th[aria-sort=descending]").inner_text() == "Last contact ↓"
    tab.check("input[name=stuck]")
    tab.click("form.filter button")
    assert tab.locator("tbody tr").count() == 0
    sound(tab, clinic_)
    header, *_ = tab.request.get(f"{clinic_.url}/caseload/list.csv?month={MONTH}").text().splitlines()
    assert header.endswith("last contact,days since,not improving")


def test_nobody_sees_it_without_a_group_that_may(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_, "stranger")
    assert tab.inner_text("h1") == "You may not see the caseload"
    sound(tab, clinic_)
    for path in ("/list.csv", "/patient?of=" + "0" * 36, "/patient/approve?of=" + "0" * 36):
        answer = tab.request.get(f"{clinic_.url}/caseload{path}")
        assert answer.status == 401
        assert "Synthetic" not in answer.text()


def test_whoever_is_not_on_the_roster_is_not_shown(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    answer = tab.goto(f"{clinic_.url}/caseload/patient?of=00000000-0000-0000-0000-000000000000&month={MONTH}")
    assert (answer.status, tab.inner_text("h1")) == (404, "This patient is not on the list")


def test_a_biller_approves_and_a_care_manager_does_not(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_, "biller")
    tab.get_by_text("Maria Synthetic").click()
    shot(tab, "caseload-patient")
    sound(tab, clinic_)
    tab.get_by_text("Approve lines …").click()
    tab.check("input[type=checkbox]")
    tab.click("button[type=submit]")
    assert "Released by Bo Biller" in tab.inner_text("main")
    approved = [c["status"] for c in clinic_.hospital.drafts().values()]
    assert approved == ["billable"]
    tab.get_by_text("Back to the month").click()
    tab.get_by_text("All patients of the month").click()
    assert "Caseload" in tab.inner_text("h1")
    other = tab.context.browser.new_context(ignore_https_errors=True).new_page()
    signed_in(other, clinic_, "manager")
    other.get_by_text("Maria Synthetic").click()
    assert "None of your groups may approve here." in other.inner_text("main")
    answer = other.goto(other.url.replace("/patient?", "/patient/approve?"))
    assert answer.status == 403
    other.context.close()


def test_a_care_manager_attests_what_is_not_documented(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    tab.locator("tbody tr", has_text="brief intervention").locator("a").click()
    tab.click("li.not-met > details > summary")
    tab.get_by_text("Attest “Brief intervention”").first.click()
    sound(tab, clinic_)
    tab.fill("textarea", "It is in the paper chart")
    tab.fill("input[name=reference]", "binder 7")
    tab.click("button[type=submit]")
    assert "attested by Casey Manager" in tab.inner_text("main")


def test_pages_that_end_a_request_are_sound(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    for path in ("/nowhere", "/caseload/none", "/caseload?month=2026-13", "/caseload?month=1999-01", "/patient",
                 "/callback", "/launch?iss=x", "/caseload/callback", "/caseload/patient?of=x"):  # fmt: skip
        answer = tab.goto(f"{clinic_.url}{path}")
        assert answer.status >= 400
        assert tab.locator("h1").count() == 1, path
        assert "Synthetic" not in tab.content()
        sound(tab, clinic_)


def test_signing_out_says_how_to_leave_the_hospitals_sign_in(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    tab.get_by_text("Sign out").click()
    assert tab.inner_text("h1") == "Signed out"
    sound(tab, clinic_)
    assert not [c for c in tab.context.cookies(clinic_.url) if c["name"].startswith("__Host-bhi-fhir")]
    tab.get_by_text("Sign out there, too").click()
    assert tab.url.startswith(clinic_.ehr.origin)


@pytest.mark.parametrize("width", [1280, 820, 400])
def test_the_list_fits_and_the_patient_stays_in_sight(tab: Any, clinic_: Clinic, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    signed_in(tab, clinic_)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.evaluate("document.querySelector('.list').scrollLeft = 10000")
    left = tab.evaluate("document.querySelector('.list tbody th a').getBoundingClientRect().left")
    assert 0 <= left < 100
    sound(tab, clinic_)


def test_the_list_is_used_by_keyboard_alone(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    reached = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.name || document.activeElement.innerText"))
        if reached[-1] == "Maria Synthetic":
            break
    assert {"Skip to the content", "status", "within", "Show", "Download as CSV", "Last contact"} <= set(reached)
    tab.keyboard.press("Enter")
    tab.wait_for_load_state()
    assert "Maria Synthetic" in tab.inner_text(".banner")


def test_on_paper_the_open_code_stands_with_its_evidence(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    tab.get_by_text("Maria Synthetic").click()
    tab.emulate_media(media="print")
    assert tab.get_by_text("Evidence:").first.is_visible()
    assert not tab.locator("details.code:not([open]) .requirements").first.is_visible()
    assert not tab.get_by_text("Sign out").is_visible()


def test_every_view_is_in_the_audit_with_the_person(tab: Any, clinic_: Clinic) -> None:
    signed_in(tab, clinic_)
    tab.get_by_text("Maria Synthetic").click()
    lines = [
        line
        for file in clinic_.site.glob("bhi-fhir-audit-*.ndjson")
        for line in file.read_text().splitlines()
        if "Casey Manager" in line
    ]
    assert any("/caseload 2026-09" in line for line in lines)
    assert any("/caseload/patient 2026-09" in line and clinic_.hospital.patients[0] in line for line in lines)


def test_what_starts_a_formula_is_harmless_in_a_spreadsheet() -> None:
    from bhi_fhir.web.pages.rows import Row, as_csv

    row = Row("k", "=cmd()", "nothing", "", 0, None, "", (), False, "@sum", NOW)
    assert "'=cmd()" in as_csv([row], Desk.open(EXAMPLE, MONTH).month, NOW.date())
    assert "'@sum" in as_csv([row], Desk.open(EXAMPLE, MONTH).month, NOW.date())


def test_without_a_cookie_the_list_leads_to_the_sign_in(clinic_: Clinic) -> None:
    answer = httpx.get(f"{clinic_.url}/caseload", verify=False, trust_env=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/caseload/login")
