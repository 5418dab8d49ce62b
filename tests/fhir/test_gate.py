"""Links of a server are foreign text (fhir-interop §7 and §10)."""

import pytest

from bhi_fhir.errors import Incomplete, UsageError
from bhi_fhir.fhir.gate import Gate

GOOD = "https://good.example/fhir"

ADMITTED = {
    f"{GOOD}/Encounter?page=2": f"{GOOD}/Encounter?page=2",
    "HTTPS://GOOD.Example:443/fhir/Encounter": f"{GOOD}/Encounter",
    # Behind a TLS proxy: upward only. HAPI writes http with the port of https.
    "http://good.example/fhir/Encounter": f"{GOOD}/Encounter",
    "http://good.example:443/fhir/Encounter": f"{GOOD}/Encounter",
    # Another spelling of the same server.
    "http://localhost:8090/fhir/Encounter?x=1": f"{GOOD}/Encounter?x=1",
    "https://public.example/ehr/r4/Encounter": f"{GOOD}/Encounter",
    "https://public.example/ehr/r4?_getpages=1": f"{GOOD}?_getpages=1",
    # Relative.
    "Encounter?page=2": f"{GOOD}/Encounter?page=2",
    "/fhir/Encounter?page=2": f"{GOOD}/Encounter?page=2",
    "?_getpages=1": f"{GOOD}?_getpages=1",
    GOOD: GOOD,
    # Opaque: what stands behind the question mark stays as it came.
    f"{GOOD}?ct=a%2Bb%7C..//evil.example\\@x?": f"{GOOD}?ct=a%2Bb%7C..//evil.example\\@x?",
    f"{GOOD}/Encounter/a%2eb": f"{GOOD}/Encounter/a%2eb",
}

REFUSED = [
    "http://169.254.169.254/latest/meta-data/",
    "https://evil.example/fhir/Encounter",
    f"https://evil.example/?x={GOOD}",
    f"https://evil.example/{GOOD}",
    "//evil.example/fhir/Encounter",
    "//good.example/fhir/Encounter",
    "///evil.example/fhir",
    "https://good.example@evil.example/fhir/Encounter",
    "https://user:password@good.example/fhir/Encounter",
    "https://@good.example/fhir/Encounter",
    "https://good.example.evil.example/fhir/Encounter",
    "https://evilgood.example/fhir/Encounter",
    "https://good.example./fhir/Encounter",
    "https://good.example:444/fhir/Encounter",
    "https://good.example:0/fhir/Encounter",
    "https://good.example:99999/fhir/Encounter",
    "https://good.example:443:80/fhir",
    "http://good.example:8080/fhir/Encounter",
    "ftp://good.example/fhir/Encounter",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "urn:uuid:6f3c8a4e-0000-4000-8000-000000000001",
    "https:good.example/fhir/Encounter",
    "https:/good.example/fhir/Encounter",
    "https:///good.example/fhir/Encounter",
    "https://good.example",
    "https://good.example/",
    "https://good.example/admin",
    "https://good.example/fhirevil/Encounter",
    "https://good.example/FHIR/Encounter",
    "https://good.example/fhir/../admin",
    "https://good.example/fhir/%2e%2e/admin",
    "https://good.example/fhir/%2E./admin",
    "https://good.example/fhir/%252e%252e/admin",
    "https://good.example/fhir/..%2fadmin",
    "https://good.example/fhir/..%5cadmin",
    "https://good.example/fhir/..;/admin",
    "https://good.example/fhir/..;x=1/admin",
    "../admin",
    "%2e%2e/admin",
    "/admin",
    "https://good.example\\@evil.example/fhir",
    "https://evil.example\\.good.example/fhir",
    "\\\\evil.example\\fhir",
    "/\\evil.example/fhir",
    "https://gооd.example/fhir/Encounter",  # noqa: RUF001 (Cyrillic o)
    "https://good。example/fhir/Encounter",
    "https://good.example/fhir／..／admin",  # noqa: RUF001
    "https://good%2eexample/fhir/Encounter",
    "https://good.example%00.evil.example/fhir",
    f"{GOOD}/Encounter#@evil.example",
    f"{GOOD}/Encounter?x=1#y",
    f" {GOOD}/Encounter",
    f"{GOOD}/Enc\tounter",
    f"{GOOD}/Encounter?x=1\r\nHost: evil.example",
    "https://good.ex\nample/fhir",
    "https://[::1/fhir",
    "https://[::1]/fhir",
    "https://public.example/ehr/r4x/Encounter",
    "https://public.example/fhir/Encounter",
    f"{GOOD}/" + "%25" * 30_000,
    f"{GOOD}/Encounter?" + "x" * 70_000,
    f"{GOOD}/Encounter?\ud800",
    "",
]


@pytest.fixture
def gate() -> Gate:
    return Gate(GOOD + "/", ["http://localhost:8090", "https://public.example/ehr/r4/"])


@pytest.mark.parametrize(("link", "requested"), ADMITTED.items())
def test_a_link_of_the_configured_server_is_rewritten_onto_its_base(gate: Gate, link: str, requested: str) -> None:
    assert gate.admit(link) == requested


@pytest.mark.parametrize("link", REFUSED)
def test_every_other_link_is_refused(gate: Gate, link: str) -> None:
    with pytest.raises(Incomplete):
        gate.admit(link)


def test_the_refusal_names_the_other_server_but_neither_path_nor_query(gate: Gate) -> None:
    with pytest.raises(Incomplete, match=r"https://other\.example:8443, outside") as caught:
        gate.admit("https://other.example:8443/fhir/Patient/maria?name=Maria")
    assert "aria" not in str(caught.value)


def test_a_link_never_leads_from_https_down_to_http() -> None:
    gate = Gate("http://127.0.0.1:8090/fhir")
    assert gate.admit("http://127.0.0.1:8090/fhir/Patient") == "http://127.0.0.1:8090/fhir/Patient"
    with pytest.raises(Incomplete):
        gate.admit("https://127.0.0.1:8090/fhir/Patient")


def test_a_server_at_the_root_of_its_host_has_every_path() -> None:
    assert Gate("https://good.example").admit("/Encounter?page=2") == "https://good.example/Encounter?page=2"


@pytest.mark.parametrize("base_url", ["http://127.0.0.2/fhir", "http://LOCALHOST/fhir", "http://[::1]:80/fhir"])
def test_http_is_allowed_on_this_machine(base_url: str) -> None:
    assert Gate(base_url).loopback


@pytest.mark.parametrize(
    "base_url",
    [
        "http://good.example/fhir",
        "http://10.0.0.1/fhir",
        "http://127.0.0.1.evil.example/fhir",
        "http://localhost.evil.example/fhir",
    ],
)
def test_http_is_refused_beyond_this_machine(base_url: str) -> None:
    with pytest.raises(UsageError, match="use https"):
        Gate(base_url)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "good.example/fhir",
        "https://u:hunter2@good.example",
        f"{GOOD}?x=1",
        f"{GOOD}#x",
        f"{GOOD}/../x",
        "https://999.1.1.1",
        "https://xn--/",
    ],
)
def test_a_base_url_that_is_no_plain_address_is_refused_and_not_repeated(base_url: str) -> None:
    with pytest.raises(UsageError, match=r"\[fhir\] base_url") as caught:
        Gate(base_url)
    assert "hunter2" not in str(caught.value)
    with pytest.raises(UsageError, match=r"\[fhir\] aliases"):
        Gate(GOOD, [base_url])
