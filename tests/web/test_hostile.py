"""Whoever means harm: no page answers with a fault of ours, and nobody sees or does what is not theirs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from inside import CSRF, IDLE, PERSON, Inside, inside, launch_of
from make_examples import MONTH

from bhi_fhir.web.cookies import COOKIE, named, new_secret
from bhi_fhir.web.oauth_client import Client, Configuration

pytestmark = pytest.mark.server

PAGES = (
    "/launch",
    "/callback",
    "/patient",
    "/patient/prepare",
    "/patient/approve",
    "/patient/attest",
    "/patient/style.css",
    "/caseload",
    "/caseload/callback",
    "/caseload/list.csv",
    "/caseload/patient",
    "/caseload/patient/approve",
    "/caseload/patient/attest",
)
FORMS = (
    "/logout",
    "/caseload/logout",
    "/patient/prepare",
    "/patient/approve",
    "/patient/attest",
    "/caseload/patient/approve",
    "/caseload/patient/attest",
)
NAMES = (
    *("at", "of", "month", "page", "sort", "within", "silent", "status", "element", "state", "code", "error", "iss"),
    *("launch", "requirement", "csrf", "patient", "name", "born", "mark", "line", "because", "reference"),
)
FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def within(fhir_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    stems = ("cocm-first-month-in-order", "cocm-one-minute-short")
    with inside(fhir_server, tmp_path_factory.mktemp("hostile"), *stems) as found:
        yield found


def words(within: Inside) -> st.SearchStrategy[str]:
    """What might stand in an address: what is right, what is nearly right, and anything."""
    known = [within.launch, within.key, "2026-09", "2026-13", "20٢٦-09", "9" * 5000, "-1", "1", CSRF, "x" * 3000]
    known += [*within.hospital.patients, "brief-intervention", "\0", "%00", "../..", "Patient/1", "[", "1951-07-14"]
    return st.sampled_from(known) | st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@pytest.mark.parametrize("known", [True, False], ids=["signed in", "a stranger"])
def test_no_address_and_no_form_makes_a_page_fail(within: Inside, known: bool) -> None:
    headers = within.cookie if known else {}

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(
        st.sampled_from(PAGES + FORMS),
        st.lists(st.tuples(st.sampled_from(NAMES), words(within)), max_size=6),
        st.booleans(),
    )
    def never_fails(path: str, said: list[tuple[str, str]], post: bool) -> None:
        pairs = httpx.QueryParams(said)
        if post:
            answer = within.http.post(path, content=str(pairs), headers={**headers, **FORM})
        else:
            answer = within.http.get(path, params=pairs, headers=headers)
        # The authorization server of this test does not answer.
        assert answer.status_code < 500 or (answer.status_code, path) == (503, "/launch"), answer.text
        assert "fault of its own" not in answer.text
        if not known:
            assert "Synthetic" not in answer.text

    never_fails()


@pytest.mark.parametrize("path", FORMS)
def test_a_form_without_end_is_not_read_to_its_end(within: Inside, path: str) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(100):
            yield b"a" * 2**16

    answer = within.http.post(path, content=parts(), headers={**within.cookie, **FORM})
    assert answer.status_code == 413
    many = "&".join(f"a{n}=1" for n in range(300))
    answer = within.http.post(path, content=many, headers={**within.cookie, **FORM})
    assert (answer.status_code, heading(answer)) == (400, "This form cannot be read")


def heading(answer: httpx.Response) -> str:
    found = re.search(r"<h1>(.*)</h1>", answer.text)
    return found[1] if found else ""


def test_a_page_number_of_any_length_is_a_page(within: Inside) -> None:
    for page in ("9" * 5000, "-1", "1e9", "٣", "999"):
        assert within.get("/caseload", page=page).status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/caseload/", "/patient/", "/logout"])
def test_a_browser_gets_a_page_also_where_there_is_nothing(within: Inside, path: str) -> None:
    answer = within.http.get(path, headers={"accept": "text/html,*/*;q=0.8", "host": "evil.example"})
    assert answer.status_code in (404, 405)
    assert heading(answer) == "This cannot be shown"
    assert "evil" not in str(answer.headers)
    assert within.http.get(path).json().keys() == {"detail"}


@pytest.mark.parametrize("host", ["[", "a b", "x" * 3000, "[::1]:99999"])
def test_an_odd_host_is_no_fault_of_ours(within: Inside, host: str) -> None:
    for path in ("/nowhere", "/caseload", "/fhir/nothing", "/cds-services/bhi-month"):
        assert within.http.get(path, headers={"host": host, **within.cookie}).status_code in (200, 400, 404, 405)


def test_a_body_beside_a_patient_is_short(within: Inside) -> None:
    deep = b'{"resourceType":"Parameters","x":' + b"[" * 2**20 + b"]" * 2**20 + b"}"
    headers = {"content-type": "application/json", "x-api-key": "x" * 40}
    answer = within.http.post("/fhir/Patient/1/$evaluate-bhi?month=2026-09", content=deep, headers=headers)
    assert answer.status_code == 401


# -- forged acts ---------------------------------------------------------------------------------------


def fields(answer: httpx.Response) -> dict[str, str]:
    """The hidden fields of the form that was shown."""
    return dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text))


def test_a_line_that_changed_since_it_was_shown_is_not_approved(within: Inside) -> None:
    shown = within.get("/caseload/patient/approve", of=within.key)
    form, patient = fields(shown), within.hospital.patients[0]
    (line,) = re.findall(r'name="line" value="([^"]+)"', shown.text)
    ledger = within.app.state.caseload.last.ledger
    before = next(each for each in ledger.lines(patient, MONTH) if each.identifier == line)
    now = replace(before, draft=replace(before.draft, content={**before.draft.content, "quantity": {"value": 9}}))
    ledger.put(patient, [now])
    answer = within.post("/caseload/patient/approve", **{**form, "line": line})
    assert (answer.status_code, heading(answer)) == (409, "The record has changed")
    ledger.put(patient, [before])
    assert within.hospital.drafts()["99492"]["status"] == "planned"


@pytest.mark.parametrize(
    ("change", "status"),
    [({"csrf": "x"}, 403), ({"patient": "Patient/other"}, 409), ({"name": "Eve"}, 409), ({"born": ""}, 409),
     ({"line": "made-up"}, 400), ({"mark": "approve"}, 409), ({"month": "2026-08"}, 404)],
)  # fmt: skip
def test_a_forged_approval_approves_nothing(within: Inside, change: dict[str, str], status: int) -> None:
    shown = within.get("/caseload/patient/approve", of=within.key)
    (line,) = re.findall(r'name="line" value="([^"]+)"', shown.text)
    answer = within.post("/caseload/patient/approve", **{**fields(shown), "line": line, **change})
    assert answer.status_code == status
    assert within.hospital.drafts()["99492"]["status"] == "planned"


def test_a_line_of_another_patient_is_not_approved(within: Inside) -> None:
    other = within.app.state.caseload.last.key(within.hospital.patients[1])
    shown = within.get("/caseload/patient/approve", of=within.key)
    (line,) = re.findall(r'name="line" value="([^"]+)"', shown.text)
    form = {**fields(shown), "of": other, "line": line}
    assert within.post("/caseload/patient/approve", **form).status_code == 409
    assert within.hospital.drafts()["99492"]["status"] == "planned"


def test_nobody_vouches_with_another_patients_record(within: Inside) -> None:
    open_one = within.get("/caseload/patient/attest", of=within.key, requirement="outreach")
    assert open_one.status_code == 200
    for reference in (within.hospital.own("Encounter/rosa-work-1"), within.hospital.patients[1]):
        form = {**fields(open_one), "because": "seen", "reference": reference}
        answer = within.post("/caseload/patient/attest", **form)
        assert (answer.status_code, heading(answer)) == (400, "This cannot be attested")
        assert "not this patient" in answer.text


def test_whoever_signs_out_of_the_list_leaves_nothing_open_and_no_token(
    within: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions, secret = within.app.state.launches.sessions, new_secret()
    data = launch_of(within.hospital, within.hospital.patients[0])
    launch = asyncio.run(sessions.open("launch", secret, data, IDLE))
    asyncio.run(sessions.open("caseload", secret, {"person": PERSON, "groups": ["team"], "csrf": CSRF}, IDLE))
    given_back = []

    async def revoked(client: object, data: dict[str, str]) -> None:
        given_back.append(data["access"])

    monkeypatch.setattr("bhi_fhir.web.signing_in.revoked", revoked)
    cookie = {"cookie": f"{named(secret)}={secret}"}
    assert within.http.get(f"/patient?at={launch}", headers=cookie).status_code == 200
    answer = within.http.post("/caseload/logout", data={"csrf": CSRF}, headers=cookie)
    assert (answer.status_code, "Max-Age=0" in answer.headers["set-cookie"]) == (200, True)
    assert given_back == ["SECRET-access"]
    assert within.http.get(f"/patient?at={launch}", headers=cookie).status_code == 401
    assert within.http.get("/caseload", headers=cookie).status_code == 303


def test_a_form_from_elsewhere_signs_nobody_out(within: Inside) -> None:
    """SameSite keeps the cookie back: nobody is found, so nothing is closed and the browser keeps what it has."""
    strange = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}
    for path in ("/caseload/logout", "/logout"):
        answer = within.http.post(path, data={"at": within.launch}, headers=strange)
        assert heading(answer) == "Nobody is signed in here"
        assert "given back" not in answer.text
        assert "set-cookie" not in answer.headers
    assert within.get("/caseload").status_code == 200


@pytest.mark.parametrize(
    "said", ['"x\\015\\012X-Injected: yes"', '"x\\073 Domain=example.org\\073 y"', "short", "x" * 44, f'"{"x" * 42}é"']
)
def test_a_cookie_that_is_none_of_ours_is_not_written_back(
    within: Inside, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    async def answered(client: Client, base: str) -> Configuration:
        return Configuration(authorization_endpoint="https://login.example.org/a", token_endpoint="https://x.example")

    monkeypatch.setattr(Client, "server", answered)
    names = [f"{COOKIE}{middle}{n:012x}" for middle in ("-", "-in-") for n in range(30)]
    cookie = [(b"cookie", "; ".join(f"{name}={said}" for name in names).encode("latin-1"))]
    for path in ("/launch", "/caseload/login"):
        answer = within.http.get(path, headers=cookie)
        given, *dropped = answer.headers.get_list("set-cookie")
        assert answer.status_code == 302
        name, rest = rf"{COOKIE}-in-[0-9a-f]{{12}}", "; Secure; HttpOnly; SameSite="
        assert re.match(rf"{name}=[A-Za-z0-9_-]{{43}}; Path=/; Max-Age=600{rest}", given)
        assert all(re.match(rf"{name}=; Path=/; Max-Age=0{rest}", each) for each in dropped)
        words = " ".join([given, *dropped]).lower().replace("=", " ").split()
        assert not {"x-injected", "domain"} & {*answer.headers.keys(), *words}
