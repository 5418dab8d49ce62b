"""The clinician's page, launched by an EHR in a real browser."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browsing import Clinic, chromium, clinic

pytestmark = pytest.mark.server
SHOTS = os.environ.get("SHOTS", "")
"""A folder for pictures of the pages, for whoever wants to look at them."""
MONTH = "2026-09"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def clinic_(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clinic]:
    with pytest.MonkeyPatch.context() as patch, clinic(fhir_server, tmp_path_factory.mktemp("clinic"), patch) as found:
        found.maria = found.hospital.admit("cocm-first-month-in-order", numbered)
        found.rosa = found.hospital.admit("cocm-one-minute-short", numbered)
        yield found


def numbered(resource: dict[str, Any]) -> None:
    if resource["resourceType"] == "Practitioner" and resource["id"].startswith("pcp"):
        resource["name"] = [{"family": "Physician", "given": ["Ada"], "prefix": ["Dr."]}]


@pytest.fixture
def tab(browser: Any, clinic_: Clinic) -> Iterator[Any]:
    clinic_.ehr.say(
        patient=clinic_.maria.split("/")[1],
        refuse=[],
        banner=True,
        style=None,
        life=300,
        refresh=True,
        silent=False,
        only="",
        swap="",
    )
    context = browser.new_context(ignore_https_errors=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(15_000)
    yield page
    context.close()


def launched(tab: Any, clinic: Clinic, who: str = "") -> None:
    tab.goto(f"{clinic.url}/launch?iss={clinic.ehr.fhir}&launch=abc")
    sign_in(tab, who or user(clinic))


def sign_in(tab: Any, who: str) -> None:
    if tab.locator("input[name=login]").count():
        tab.fill("input[name=login]", who)
        tab.fill("input[name=password]", "SECRET")
        tab.click("button[type=submit]")


def month(tab: Any, which: str = MONTH) -> None:
    tab.goto(f"{tab.url.partition('&month=')[0]}&month={which}")


def shot(tab: Any, name: str) -> None:
    if SHOTS:
        tab.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def user(clinic: Clinic) -> str:
    return f"pcp-{clinic.hospital.mark}"


def told(tab: Any) -> str:
    """The heading of a page that ends a request; nobody is named on it."""
    assert "Synthetic" not in tab.content()
    assert "1951" not in tab.content()
    return str(tab.inner_text("h1"))


def sound(tab: Any, clinic: Clinic) -> None:
    """axe-core finds no violation."""
    source = (clinic.ehr.packages / "node_modules" / "axe-core" / "axe.min.js").read_text()
    tab.evaluate(source)
    found = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert not found["violations"], [
        (v["id"], [n["html"][:200] + str(n["any"][:1]) for n in v["nodes"]][:3]) for v in found["violations"]
    ]


def test_a_launch_from_the_ehr_shows_the_patients_month(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    month(tab)
    shot(tab, "desktop")
    assert "Maria Synthetic" in tab.inner_text(".banner")
    assert "1951-07-14" in tab.inner_text(".banner")
    assert "99492 × 1: supported" in tab.inner_text(".headline")
    assert "42 minutes count" in tab.inner_text(".figure")
    assert "signed in as Dr. Ada Physician" in tab.inner_text("footer")
    assert "Benita Synthetic (behavioral health care manager)" in tab.inner_text("table >> nth=0")
    sound(tab, clinic_)


def test_a_standalone_launch_asks_the_ehr_for_the_patient(tab: Any, clinic_: Clinic) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(f"{clinic_.url}/launch")
    sign_in(tab, user(clinic_))
    (authorize,) = [url for url in asked if "/auth?" in url]
    assert "launch%2Fpatient" in authorize
    assert "code_challenge_method=S256" in authorize
    asked.clear()
    month(tab)
    assert "99492 × 1" in tab.inner_text(".headline")
    assert {url.split("/")[2] for url in asked} == {clinic_.url.split("/")[2]}


def test_what_is_missing_stands_beside_the_tiers(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(patient=clinic_.rosa.split("/")[1])
    launched(tab, clinic_)
    month(tab)
    shot(tab, "short-month")
    assert "Rosa Synthetic" in tab.inner_text(".banner")
    assert "1 more minute to G2214" in tab.inner_text(".figure")
    sound(tab, clinic_)


def test_within_the_ehrs_frame_the_page_keeps_its_session(tab: Any, clinic_: Clinic) -> None:
    tab.set_viewport_size({"width": 900, "height": 960})
    tab.goto(clinic_.ehr.chart(f"{clinic_.url}/launch?iss={clinic_.ehr.fhir}&launch=abc"))
    frame = tab.frame_locator("iframe")
    frame.locator("input[name=login]").fill(user(clinic_))
    frame.locator("input[name=password]").fill("SECRET")
    frame.locator("button[type=submit]").click()
    frame.locator("nav a[rel=prev]").click()
    frame.locator("nav a[rel=prev]").click()
    frame.get_by_text("99492 × 1: supported").wait_for()
    shot(tab, "frame")
    (cookie,) = [c for c in tab.context.cookies() if c["name"].startswith("__Host-bhi-fhir-")]
    assert (cookie["secure"], cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, True, "None", "/")
    assert "localhost" in str(cookie.get("partitionKey"))


def test_only_the_ehr_may_frame_the_page_and_nothing_is_loaded_from_elsewhere(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    policy = tab.goto(tab.url).headers["content-security-policy"]
    assert f"frame-ancestors {clinic_.ehr.origin}" in policy
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


@pytest.mark.parametrize("silent", [False, True], ids=["refused", "filtered without a word"])
def test_what_the_ehr_does_not_grant_is_said_and_is_never_a_no(tab: Any, clinic_: Clinic, silent: bool) -> None:
    clinic_.ehr.say(refuse=["patient/Consent.rs"], silent=silent)
    launched(tab, clinic_)
    month(tab)
    shot(tab, "narrower")
    assert "is unknown here: Consent" in tab.inner_text("main")
    assert "99492 × 1: a person must decide" in tab.inner_text(".headline")
    assert "did not grant this launch to read Consent" in tab.inner_text("li.unknown >> nth=0")
    sound(tab, clinic_)


def test_without_the_grant_to_write_nothing_can_be_written(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(refuse=["user/ChargeItem.cu"])
    launched(tab, clinic_)
    month(tab)
    assert "did not grant this launch to write charges" in tab.inner_text("main")
    assert not tab.get_by_text("Prepare drafts …").count()
    answer = tab.goto(tab.url.replace("/patient?", "/patient/prepare?"))
    assert (answer.status, told(tab)) == (403, "Nothing can be written here")


def test_nobody_is_let_in_against_the_ehrs_or_the_persons_will(tab: Any, clinic_: Clinic) -> None:
    tab.goto(f"{clinic_.url}/launch?iss={clinic_.ehr.fhir}&launch=abc")
    tab.get_by_text("Cancel").click()
    tab.wait_for_url("**/callback**")
    assert told(tab) == "You were not let in"
    shot(tab, "denied")
    sound(tab, clinic_)


def test_another_servers_launch_ends_before_anything_is_asked_there(tab: Any, clinic_: Clinic) -> None:
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    for iss in ("https://evil.example/fhir", f"{clinic_.ehr.fhir}/../evil", f"{clinic_.ehr.fhir}@evil.example",
                clinic_.ehr.fhir.replace("localhost", "127.0.0.1"), clinic_.ehr.fhir.upper()):  # fmt: skip
        answer = tab.goto(f"{clinic_.url}/launch?iss={iss}&launch=abc")
        assert (answer.status, told(tab)) == (403, "This EHR is not known here")
    assert {url.split("/")[2] for url in asked} == {clinic_.url.split("/")[2]}


def test_a_callback_of_another_state_another_browser_or_a_second_time_ends(tab: Any, clinic_: Clinic) -> None:
    used: list[str] = []
    tab.on("request", lambda request: used.append(request.url) if "/callback?" in request.url else None)
    launched(tab, clinic_)
    assert "/patient?at=" in tab.url
    answer = tab.goto(used[0])
    assert (answer.status, told(tab)) == (400, "This sign-in does not belong to this browser")
    answer = tab.goto(re.sub(r"state=[^&]+", "state=made-up", used[0]))
    assert (answer.status, told(tab)) == (400, "This sign-in does not belong to this browser")
    with stranger(tab) as other:
        state = begun(other, clinic_)
        answer = tab.goto(re.sub(r"state=[^&]+", f"state={state}", used[0]))
        assert (answer.status, told(tab)) == (400, "This sign-in does not belong to this browser")


def test_a_code_that_was_redeemed_is_worth_nothing(tab: Any, clinic_: Clinic) -> None:
    used: list[str] = []
    tab.on("request", lambda request: used.append(request.url) if "/callback?" in request.url else None)
    launched(tab, clinic_)
    state = begun(tab, clinic_)
    answer = tab.goto(re.sub(r"state=[^&]+", f"state={state}", used[0]))
    assert (answer.status, told(tab)) == (400, "This sign-in was used before")


def begun(tab: Any, clinic: Clinic) -> str:
    """The state of a sign-in that this browser has begun and not ended."""
    answer = tab.request.get(f"{clinic.url}/launch?iss={clinic.ehr.fhir}&launch=abc", max_redirects=0)
    found = re.search(r"[?&]state=([^&]+)", answer.headers["location"])
    assert found
    return found[1]


@contextmanager
def stranger(tab: Any) -> Iterator[Any]:
    """Another browser."""
    context = tab.context.browser.new_context(ignore_https_errors=True)
    try:
        yield context.new_page()
    finally:
        context.close()


def test_the_address_of_a_page_opens_nothing_in_another_browser(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    with stranger(tab) as other:
        answer = other.goto(tab.url)
        assert (answer.status, told(other)) == (401, "Nobody is signed in here")
        sound(other, clinic_)


def test_a_token_that_ends_is_renewed_without_a_word(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(life=1)
    launched(tab, clinic_)
    for _ in range(3):  # each renewal uses up the refresh token before it
        time.sleep(1.1)
        month(tab)
        assert "99492 × 1: supported" in tab.inner_text(".headline")


def test_a_token_that_ends_for_good_ends_in_a_page(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(life=2, refresh=False)
    launched(tab, clinic_)
    time.sleep(2.5)
    answer = tab.goto(tab.url)
    assert (answer.status, told(tab)) == (401, "Your sign-in has ended")
    answer = tab.goto(tab.url)
    assert (answer.status, told(tab)) == (401, "Nobody is signed in here")


def test_a_patient_whom_the_token_does_not_open_is_not_shown(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(patient=clinic_.rosa.split("/")[1], only=clinic_.maria.split("/")[1])
    launched(tab, clinic_)
    assert told(tab) == "The record cannot be read"
    sound(tab, clinic_)


def test_a_server_that_gives_another_patients_record_is_not_believed(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(swap=clinic_.rosa.split("/")[1])
    launched(tab, clinic_)
    assert told(tab) == "This is another patient"
    for act in ("prepare", "approve"):
        tab.goto(tab.url.replace("/patient?", f"/patient/{act}?"))
        assert told(tab) == "This is another patient"
    sound(tab, clinic_)


def test_a_renewed_token_for_another_patient_ends_the_page(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(life=1)
    launched(tab, clinic_)
    clinic_.ehr.say(patient=clinic_.rosa.split("/")[1])
    time.sleep(1.1)
    answer = tab.goto(tab.url)
    assert (answer.status, told(tab)) == (401, "Your sign-in has ended")


def test_signing_in_gives_the_browser_another_secret(tab: Any, clinic_: Clinic) -> None:
    def cookies() -> list[dict[str, Any]]:
        found = [c for c in tab.context.cookies(clinic_.url) if c["name"].startswith("__Host-bhi-fhir-")]
        return [{"name": c["name"], "value": c["value"], "url": clinic_.url, "secure": True} for c in found]

    begun(tab, clinic_)
    before = cookies()
    tab.context.clear_cookies(name=before[0]["name"])
    launched(tab, clinic_)
    first, page = cookies(), tab.url
    assert len(first) == 1
    assert first[0]["value"] != before[0]["value"]
    launched(tab, clinic_)
    assert len(cookies()) == 1
    assert cookies()[0]["value"] != first[0]["value"]
    assert tab.goto(page).status == 200  # what the same person has open stays so
    with stranger(tab) as other:
        other.context.add_cookies([*before, *first])
        assert other.goto(page).status == 401


def test_two_first_launches_at_the_same_moment_open_a_page_each(tab: Any, clinic_: Clinic) -> None:
    tab.goto(f"{clinic_.url}/pages/page.css")  # gives no cookie
    tab.evaluate("to => { window.open(to); window.open(to) }", f"/launch?iss={clinic_.ehr.fhir}&launch=abc")
    while len(tab.context.pages) < 3:
        tab.wait_for_timeout(100)
    _, one, two = tab.context.pages
    for each in (one, two):
        each.locator("input[name=login]").wait_for()  # both have begun
    assert len([c for c in tab.context.cookies(clinic_.url) if "bhi-fhir-in-" in c["name"]]) == 2
    sign_in(one, user(clinic_))
    one.wait_for_url("**/patient?at=*")
    clinic_.ehr.say(patient=clinic_.rosa.split("/")[1])
    sign_in(two, user(clinic_))
    two.wait_for_url("**/patient?at=*")
    one.reload()
    assert "Maria" in one.inner_text(".banner")
    assert "Rosa" in two.inner_text(".banner")
    assert not [c for c in tab.context.cookies(clinic_.url) if "bhi-fhir-in-" in c["name"]]


def test_an_answer_of_another_server_than_was_asked_is_not_redeemed(tab: Any, clinic_: Clinic) -> None:
    state = begun(tab, clinic_)
    answer = tab.goto(f"{clinic_.url}/callback?code=x&state={state}&iss=https://evil.example")
    assert (answer.status, told(tab)) == (403, "You were not let in")


@pytest.mark.parametrize("patient", ["", "../Patient/x", "https://evil.example/Patient/1", "a b"])
def test_a_launch_for_nobody_shows_nothing(tab: Any, clinic_: Clinic, patient: str) -> None:
    clinic_.ehr.say(patient=patient)
    launched(tab, clinic_)
    assert told(tab) == "No patient is open"


def test_two_patients_in_two_tabs_never_mix(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    first = tab.url
    clinic_.ehr.say(patient=clinic_.rosa.split("/")[1])
    other = tab.context.new_page()
    launched(other, clinic_)
    tab.goto(first)
    assert "Maria" in tab.inner_text(".banner")
    assert "Rosa" in other.inner_text(".banner")


def test_whoever_signs_in_next_closes_what_was_open(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    first = tab.url
    tab.context.clear_cookies(domain="localhost")  # the person before has left the EHR
    launched(tab, clinic_, "manager")
    assert "/patient?at=" in tab.url
    tab.goto(first)
    assert told(tab) == "Nobody is signed in here"


def test_drafts_are_prepared_and_approved_by_the_person_who_is_signed_in(
    tab: Any, clinic_: Clinic, fhir_server: str
) -> None:
    patient = clinic_.hospital.admit("general-bhi-in-order", numbered)
    clinic_.ehr.say(patient=patient.split("/")[1])
    launched(tab, clinic_)
    month(tab)
    tab.get_by_text("Prepare drafts …").click()
    shot(tab, "prepare")
    sound(tab, clinic_)
    name = tab.inner_text(".banner .who")
    assert name in tab.inner_text("button")
    assert "created" in tab.inner_text("main")
    tab.click("button[type=submit]")
    assert tab.inner_text("h1") == "Drafts are prepared"
    sound(tab, clinic_)
    charges = [c for c in clinic_.hospital.all("ChargeItem") if c["subject"].get("reference") == patient]
    assert [c["status"] for c in charges] == ["planned"]
    tab.get_by_text("Back to the month").click()
    tab.get_by_text("Approve lines …").click()
    shot(tab, "approve")
    sound(tab, clinic_)
    tab.check("input[type=checkbox]")
    tab.click("button[type=submit]")
    assert "Released by Dr. Ada Physician" in tab.inner_text("main")
    charges = [c for c in clinic_.hospital.all("ChargeItem") if c["subject"].get("reference") == patient]
    assert [c["status"] for c in charges] == ["billable"]
    tab.get_by_text("Back to the month").click()
    assert "Dr. Ada Physician" in tab.inner_text("[aria-labelledby=h-drafts] table")
    shot(tab, "approved")
    assert audited(clinic_, patient, "Dr. Ada Physician") >= {"create", "verify", "access"}


def audited(clinic: Clinic, patient: str, by: str) -> set[str]:
    """What the audit says that this person did with this patient."""
    found = set()
    for file in clinic.site.glob("bhi-fhir-audit-*.ndjson"):
        for line in file.read_text().splitlines():
            if patient in line and by in line:
                found |= set(re.findall(r'"subtype":\[\{[^]]*?"code":"([a-z-]+)"', line))
    return found


def test_what_is_confirmed_is_what_was_shown(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    month(tab)
    tab.get_by_text("Prepare drafts …").click()
    form = {
        name: tab.get_attribute(f"form[action='/patient/prepare'] input[name={name}]", "value")
        for name in ("at", "month", "csrf", "patient", "name", "born", "mark")
    }

    def sent(**change: str) -> tuple[int, str]:
        answer = tab.request.post(f"{clinic_.url}/patient/prepare", form={**form, **change})
        found = re.search(r"<h1>(.*)</h1>", answer.text())
        assert found and "Synthetic" not in answer.text()
        return answer.status, found[1]

    assert sent(patient=clinic_.rosa) == (409, "This is another patient")
    assert sent(name="Somebody Else") == (409, "This is another patient")
    assert sent(born="1900-01-01") == (409, "This is another patient")
    assert sent(mark="0" * 64) == (409, "The record has changed")
    assert sent(csrf="x") == (403, "This form is not from this page")
    assert sent(at="x" * 22)[0] == 401
    assert not [c for c in clinic_.hospital.all("ChargeItem") if c["subject"].get("reference") == clinic_.maria]


def test_a_form_of_another_site_is_not_taken(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    name = tab.url.split("at=")[1]
    form = {"at": name, "csrf": tab.get_attribute("input[name=csrf]", "value")}
    for headers in ({"origin": "https://evil.example"}, {"sec-fetch-site": "cross-site"}):
        answer = tab.request.post(f"{clinic_.url}/logout", form=form, headers=headers)
        assert answer.status == 403
    assert tab.goto(tab.url).status == 200


def test_an_element_that_is_missing_can_be_attested(tab: Any, clinic_: Clinic) -> None:
    patient = clinic_.hospital.admit("brief-intervention-not-documented", numbered)
    clinic_.ehr.say(patient=patient.split("/")[1])
    launched(tab, clinic_)
    month(tab)
    assert "a person must decide" in tab.inner_text(".headline")
    tab.click("li.not-met > details > summary")
    tab.get_by_text("Attest “Brief intervention”").first.click()
    shot(tab, "attest")
    sound(tab, clinic_)
    tab.fill("textarea", "It is in the paper chart")
    tab.fill("input[name=reference]", "binder 7")
    tab.click("button[type=submit]")
    assert tab.inner_text("h1") == "It is attested"
    tab.get_by_text("Back to the month").click()
    assert "supported" in tab.inner_text(".headline")


def test_signing_out_takes_the_tokens_back(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    page = tab.url
    tab.get_by_text("Sign out").click()
    assert told(tab) == "Signed out"
    sound(tab, clinic_)
    tab.goto(page)
    assert told(tab) == "Nobody is signed in here"


def test_it_is_used_by_keyboard_alone(tab: Any, clinic_: Clinic) -> None:
    launched(tab, clinic_)
    month(tab)
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    reached = []
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("document.activeElement.innerText.slice(0, 14)"))
    assert "Consent met" in " ".join(reached)
    tab.focus("li.met summary >> nth=0")
    tab.keyboard.press("Enter")
    assert tab.locator("li.met details[open]").count() == 1


@pytest.mark.parametrize(("name", "width"), [("tablet", 768), ("narrow-frame", 420)])
def test_it_fits_narrow_places_in_the_dark_and_on_paper(tab: Any, clinic_: Clinic, name: str, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    tab.emulate_media(color_scheme="dark")
    launched(tab, clinic_)
    month(tab)
    shot(tab, name)
    sound(tab, clinic_)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tab.emulate_media(media="print", color_scheme="light")
    shot(tab, f"{name}-print")


def test_the_ehrs_banner_and_colours_are_honoured(tab: Any, clinic_: Clinic) -> None:
    clinic_.ehr.say(banner=False, style=f"{clinic_.ehr.origin}/style.json")
    launched(tab, clinic_)
    assert "slim" in tab.get_attribute(".banner", "class")
    assert "Maria Synthetic" in tab.inner_text(".banner")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 253, 245)"
    shot(tab, "styled")
    sound(tab, clinic_)
