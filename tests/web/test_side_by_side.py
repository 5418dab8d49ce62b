"""Sign-ins of one browser that overlap: each ends in its own page, and in no other browser."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from authorizing import Authorizing, Browser, authorizing
from served import running, site

from bhi_fhir.web.app import create_app


@pytest.fixture(scope="module")
def ehr() -> Iterator[Authorizing]:
    with authorizing() as found:
        yield found


@pytest.fixture(scope="module")
def http(ehr: Authorizing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_KEY", "0" * 64)
        folder = site(tmp_path_factory.mktemp("site"), ehr.site(), ehr.base)
        with running(create_app(folder)) as client:
            yield client


@pytest.fixture
def browser(http: httpx.Client, ehr: Authorizing) -> Browser:
    ehr.names_people = True
    ehr.revoked.clear()
    return Browser(http)


def test_two_first_launches_at_the_same_moment_both_open_their_page(browser: Browser, ehr: Authorizing) -> None:
    one, two = browser.launch(ehr), browser.launch(ehr)  # neither has seen the other's cookie
    browser.keep(one)
    browser.keep(two)
    first = browser.keep(browser.ask(ehr.back(one, "maria")))
    second = browser.keep(browser.ask(ehr.back(two, "rosa")))
    assert browser.shows(first, "maria")
    assert browser.shows(second, "rosa")


@pytest.mark.parametrize("later", [0, 1])
def test_answers_of_two_sign_ins_may_cross(browser: Browser, ehr: Authorizing, later: int) -> None:
    begun = [browser.launch(ehr), browser.launch(ehr)]
    for each in begun:
        browser.keep(each)
    ended = [browser.ask(ehr.back(each, patient)) for each, patient in zip(begun, ("maria", "rosa"), strict=True)]
    for each in (ended[1 - later], ended[later]):
        browser.keep(each)
    assert browser.shows(ended[0], "maria")
    assert browser.shows(ended[1], "rosa")


def test_they_may_end_at_the_very_same_moment(browser: Browser, ehr: Authorizing) -> None:
    patients = [f"patient-{n}" for n in range(6)]
    begun = [browser.launch(ehr) for _ in patients]
    for each in begun:
        browser.keep(each)
    with ThreadPoolExecutor(len(patients)) as tabs:
        ended = list(tabs.map(browser.ask, [ehr.back(b, p) for b, p in zip(begun, patients, strict=True)]))
    for each in ended:
        browser.keep(each)
    assert [browser.shows(page, patient) for page, patient in zip(ended, patients, strict=True)] == [True] * 6


def test_a_page_that_is_on_its_way_is_not_lost_to_the_sign_in_of_another_tab(
    browser: Browser, ehr: Authorizing
) -> None:
    one, two = browser.keep(browser.launch(ehr)), browser.keep(browser.launch(ehr))
    first = browser.keep(browser.ask(ehr.back(one, "maria")))
    asked = Browser(browser.http, dict(browser.cookies))
    browser.ask(ehr.back(two, "rosa"))
    assert asked.shows(first, "maria")  # sent before, and comes after


def test_a_launch_among_open_pages_leaves_them_open(browser: Browser, ehr: Authorizing) -> None:
    before = browser.sign_in(ehr, "betty")
    one, two = browser.launch(ehr), browser.launch(ehr)
    browser.keep(two)
    browser.keep(one)
    ended = [browser.ask(ehr.back(one, "maria")), browser.ask(ehr.back(two, "rosa"))]
    for each in reversed(ended):
        browser.keep(each)
    for page, patient in ((before, "betty"), (ended[0], "maria"), (ended[1], "rosa")):
        assert browser.shows(page, patient)


def test_the_next_sign_in_joins_what_was_apart(browser: Browser, ehr: Authorizing) -> None:
    begun = [browser.keep(browser.launch(ehr)) for _ in range(3)]
    ended = [browser.keep(browser.ask(ehr.back(each, f"p{n}"))) for n, each in enumerate(begun)]
    last = browser.sign_in(ehr, "rosa")
    assert len(browser.cookies) == 1
    assert all(browser.shows(page, f"p{n}") for n, page in enumerate(ended))
    assert browser.shows(last, "rosa")


def test_a_secret_from_before_a_sign_in_opens_nothing_after_it(browser: Browser, ehr: Authorizing) -> None:
    begun = browser.keep(browser.launch(ehr))
    planted = dict(browser.cookies)
    first = browser.keep(browser.ask(ehr.back(begun, "maria")))
    settled = dict(browser.cookies)
    second = browser.sign_in(ehr, "rosa")
    for known in (planted, settled):
        assert not Browser(browser.http, known).shows(first, "maria")
        assert not Browser(browser.http, known).shows(second, "rosa")


@pytest.mark.parametrize("own", [False, True], ids=["a fresh browser", "one that signs in itself"])
def test_a_sign_in_ends_only_in_the_browser_that_began_it(
    browser: Browser, http: httpx.Client, ehr: Authorizing, own: bool
) -> None:
    """Login CSRF: the way back of one's own sign-in, given to somebody else."""
    victim, begun = Browser(http), browser.keep(browser.launch(ehr))
    if own:
        victim.sign_in(ehr, "rosa")
        victim.keep(victim.launch(ehr))
    answer = victim.ask(ehr.back(begun, "maria"))
    assert answer.status_code == 400
    assert "does not belong to this browser" in answer.text
    assert browser.shows(browser.keep(browser.ask(ehr.back(begun, "maria"))), "maria")


def test_two_sign_ins_of_one_browser_cannot_be_swapped(browser: Browser, ehr: Authorizing) -> None:
    one, two = browser.keep(browser.launch(ehr)), browser.keep(browser.launch(ehr))
    swapped = ehr.back(one, "maria").partition("&")[0] + "&" + ehr.back(two, "rosa").partition("&")[2]
    assert browser.ask(swapped).status_code == 403  # the id token is of another nonce


def test_somebody_else_who_signs_in_closes_what_was_open_in_any_tab(browser: Browser, ehr: Authorizing) -> None:
    begun = [browser.keep(browser.launch(ehr)) for _ in range(2)]
    pages = [browser.keep(browser.ask(ehr.back(each, f"p{n}"))) for n, each in enumerate(begun)]
    other = browser.sign_in(ehr, "rosa", person="bo")
    assert browser.shows(other, "rosa")
    assert not any(browser.shows(page, f"p{n}") for n, page in enumerate(pages))
    assert sorted(ehr.revoked) == sorted(f"SECRET-{kind}-p{n}" for kind in ("access", "refresh") for n in range(2))


def test_a_sign_in_on_its_way_is_nobodys_and_is_not_closed_by_somebody_elses(
    browser: Browser, ehr: Authorizing
) -> None:
    ehr.names_people = False  # then nobody can be known to be the same, and what was open is closed
    one, two = browser.launch(ehr), browser.launch(ehr)
    browser.keep(one)
    browser.keep(two)
    first = browser.keep(browser.ask(ehr.back(one, "maria")))
    assert browser.shows(first, "maria")
    second = browser.keep(browser.ask(ehr.back(two, "rosa")))
    assert browser.shows(second, "rosa")
    assert not browser.shows(first, "maria")


def test_sign_ins_that_are_never_ended_do_not_fill_the_browser(browser: Browser, ehr: Authorizing) -> None:
    for _ in range(30):
        begun = browser.keep(browser.launch(ehr))
    assert len("; ".join(f"{name}={value}" for name, value in browser.cookies.items())) < 2000
    assert browser.shows(browser.keep(browser.ask(ehr.back(begun, "maria"))), "maria")
