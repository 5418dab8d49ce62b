"""A search never believes that it has read what it has not."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import respx

from bhi_fhir.errors import Incomplete, Refused
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.fhir.reading import find_by_identifier, read, search

URL = "https://ehr.example/fhir/Encounter"
PARAMS = {"patient": "maria"}


def encounter(number: int) -> dict[str, Any]:
    return {"resourceType": "Encounter", "id": f"e{number}"}


def page(*resources: dict[str, Any], next_link: str | None = None, **more: Any) -> dict[str, Any]:
    link = [{"relation": "next", "url": next_link}] if next_link else []
    entry = [{"fullUrl": f"{URL}/{each.get('id')}", "resource": each} for each in resources]
    return {"resourceType": "Bundle", "type": "searchset", "link": link, "entry": entry, **more}


def outcome(severity: str, code: str, *codes: str) -> dict[str, Any]:
    details = {"coding": [{"code": each} for each in codes], "text": "Maria Canary"}
    issue = {"severity": severity, "code": code, "details": details, "diagnostics": "Maria Canary"}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


def ids(entries: tuple[bytes, ...]) -> list[str]:
    return [json.loads(entry)["id"] for entry in entries]


async def test_all_pages_are_read_in_order(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    first = respx_mock.get(URL, params__eq={"patient": "maria", "date": ["ge2026-03-01", "lt2026-04-01"]})
    first.respond(200, json=page(encounter(1), encounter(2), next_link=f"{URL}?ct=a%2Bb%7C", total=3))
    second = respx_mock.get(f"{URL}?ct=a%2Bb%7C").respond(200, json=page(encounter(3)))
    params = client.resources("Encounter").search(patient="maria", date__ge="2026-03-01", date__lt="2026-04-01")
    result = await search(client, "Encounter", params.params)
    assert ids(result.entries) == ["e1", "e2", "e3"]
    assert result.full_urls == (f"{URL}/e1", f"{URL}/e2", f"{URL}/e3")
    assert (result.complete, result.withheld, result.notes) == (True, (), ())
    assert first.calls.last.request.headers["prefer"] == "handling=strict"
    assert first.calls.last.request.headers["cache-control"] == "no-cache"
    assert second.calls.last.request.url.raw_path.endswith(b"?ct=a%2Bb%7C")


async def test_a_resource_keeps_the_bytes_that_the_server_sent(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    sent = b'{ "resourceType":"Encounter", "x": 20.10 }'
    body = b'{"entry":[{"resource":' + sent + b'}],"resourceType":"Bundle"}'
    respx_mock.get(URL).respond(200, content=body)
    assert (await search(client, "Encounter", PARAMS)).entries == (sent,)


async def test_an_empty_search_is_a_whole_answer(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL).respond(200, json={"resourceType": "Bundle", "type": "searchset", "total": 0})
    result = await search(client, "Encounter", PARAMS)
    assert (result.entries, result.complete) == ((), True)


HOSTILE_NEXT = [
    "http://169.254.169.254/latest/meta-data/",
    "https://evil.example/?x=https://ehr.example/fhir",
    "//evil.example/fhir/Encounter",
    "https://ehr.example@evil.example/fhir",
    "https://ehr.example.evil.example/fhir",
    "https://ehr.example:444/fhir/Encounter",
    "https://ehr.example/fhir/%2e%2e/admin",
    "https://ehr.example/admin",
    "https://еhr.example/fhir",  # noqa: RUF001 (Cyrillic)
    "file:///etc/passwd",
]


@pytest.mark.parametrize("link", HOSTILE_NEXT)
async def test_a_foreign_next_link_is_not_followed_and_the_search_is_not_whole(
    client: BhiClient, respx_mock: respx.MockRouter, link: str
) -> None:
    respx_mock.get(URL).respond(200, json=page(encounter(1), next_link=link))
    result = await search(client, "Encounter", PARAMS)
    assert (ids(result.entries), result.complete, len(respx_mock.calls)) == (["e1"], False, 1)
    assert "Not all of Encounter could be read: the next page cannot be asked for" in result.withheld[0]


async def test_a_next_link_without_an_address_is_a_lost_page(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL).respond(200, json=page(encounter(1)) | {"link": [{"relation": "next"}]})
    assert not (await search(client, "Encounter", PARAMS)).complete


async def test_pages_that_go_round_in_a_circle_end(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL, params__eq=PARAMS).respond(200, json=page(encounter(1), next_link=f"{URL}?p=2"))
    respx_mock.get(f"{URL}?p=2").respond(200, json=page(encounter(2), next_link=f"{URL}?patient=maria"))
    result = await search(client, "Encounter", PARAMS)
    assert result.withheld == ("Not all of Encounter could be read: the pages go round in a circle.",)


async def test_the_caps_on_pages_and_resources_are_said(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    def numbered(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("p", "1"))
        return httpx.Response(200, json=page(encounter(number), next_link=f"{URL}?p={number + 1}"))

    respx_mock.get(URL).mock(side_effect=numbered)
    by_pages = await search(client, "Encounter", PARAMS, max_pages=3)
    by_resources = await search(client, "Encounter", PARAMS, max_resources=2)
    assert ids(by_pages.entries) == ["e1", "e2", "e3"]
    assert by_pages.withheld == ("Not all of Encounter could be read: there are more than 3 pages.",)
    assert ids(by_resources.entries) == ["e1", "e2"]
    assert by_resources.withheld == ("Not all of Encounter could be read: there are more than 2 resources.",)


@pytest.mark.parametrize(
    "lost",
    [
        httpx.Response(404),
        httpx.Response(410),
        httpx.Response(503),
        httpx.Response(200, text="<html>Session expired</html>", headers={"Content-Type": "text/html"}),
        httpx.Response(200, json=outcome("error", "expired")),
        httpx.Response(200, content=b'{"resourceType":"Bundle","entry":['),
    ],
    ids=["404", "410", "503", "HTML", "outcome", "cut off"],
)
async def test_a_lost_page_keeps_what_came_before_and_says_so(
    client: BhiClient, respx_mock: respx.MockRouter, lost: httpx.Response
) -> None:
    respx_mock.get(URL, params__eq=PARAMS).respond(200, json=page(encounter(1), next_link=f"{URL}?p=2"))
    respx_mock.get(f"{URL}?p=2").mock(side_effect=lambda _: lost)
    result = await search(client, "Encounter", PARAMS)
    assert (ids(result.entries), result.complete) == (["e1"], False)
    assert "page 2 is lost" in result.withheld[0]


async def test_fewer_resources_than_the_server_counts_is_not_whole(
    client: BhiClient, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(URL).respond(200, json=page(encounter(1), total=5))
    result = await search(client, "Encounter", PARAMS)
    assert result.withheld == ("Not all of Encounter could be read: the server counts 5 and gave 1.",)


@pytest.mark.parametrize("code", ["4130", "4131", "4134"])
async def test_break_the_glass_is_withheld_and_named_without_patient_data(
    client: BhiClient, respx_mock: respx.MockRouter, code: str
) -> None:
    respx_mock.get(URL).respond(200, json=page(encounter(1), outcome("warning", "suppressed", code)))
    result = await search(client, "Encounter", PARAMS)
    assert (ids(result.entries), result.complete) == (["e1"], False)
    said = f"The server keeps back Encounter of a protected record, break-the-glass (suppressed, {code})."
    assert result.withheld == (said,)


@pytest.mark.parametrize(("severity", "whole"), [("information", True), ("warning", False), ("error", False)])
async def test_an_outcome_beyond_information_makes_the_search_not_whole(
    client: BhiClient, respx_mock: respx.MockRouter, severity: str, whole: bool
) -> None:
    respx_mock.get(URL).respond(200, json=page(encounter(1), outcome(severity, "processing", "Maria Canary")))
    result = await search(client, "Encounter", PARAMS)
    assert (ids(result.entries), result.complete) == (["e1"], whole)
    assert "anary" not in str(result.withheld)


async def test_an_outcome_that_cannot_be_read_is_not_taken_for_silence(
    client: BhiClient, respx_mock: respx.MockRouter
) -> None:
    broken = {"resourceType": "OperationOutcome", "issue": "?"}
    respx_mock.get(URL).respond(200, json=page(encounter(1), broken))
    assert not (await search(client, "Encounter", PARAMS)).complete


@pytest.mark.parametrize(
    "entry",
    [
        "{}",
        "null",
        "7",
        '{"resource":null}',
        '{"resource":7}',
        '{"resource":{"id":"x"}}',
        '{"resource":{"resourceType":7}}',
    ],
)
async def test_a_broken_entry_costs_itself_and_not_the_page(
    client: BhiClient, respx_mock: respx.MockRouter, entry: str
) -> None:
    good = json.dumps({"resource": encounter(1)})
    respx_mock.get(URL).respond(200, text=f'{{"resourceType":"Bundle","entry":[{entry},{good}]}}')
    result = await search(client, "Encounter", PARAMS)
    assert ids(result.entries) == ["e1"]
    assert result.withheld == ("Not all of Encounter could be read: an entry is broken or has no resource.",)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"<html>Sign in</html>", "text/html"),
        (b"", "application/fhir+json"),
        (b"[]", "application/fhir+json"),
        (b'{"resourceType":"Patient"}', "application/fhir+json"),
        (b'{"resourceType":"Bundle","type":"history"}', "application/fhir+json"),
        (
            b'{"resourceType":"Bundle","entry":[' + b"[" * 40_000 + b"]" * 40_000 + b"]}",
            "application/fhir+json",
        ),
        (b'{"resourceType":"Bundle","type":"\xff\xfe"}', "application/fhir+json"),
    ],
    ids=["HTML", "empty", "array", "no Bundle", "history", "deep", "no UTF-8"],
)
async def test_a_first_page_that_is_no_search_result_is_an_error_and_not_an_empty_record(
    client: BhiClient, respx_mock: respx.MockRouter, content: bytes, kind: str
) -> None:
    respx_mock.get(URL).respond(200, content=content, headers={"Content-Type": kind})
    with pytest.raises(Incomplete, match="GET Encounter"):
        await search(client, "Encounter", PARAMS)


async def test_a_refused_first_page_is_an_error(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(URL).respond(403)
    with pytest.raises(Refused):
        await search(client, "Encounter", PARAMS)


async def test_a_parameter_that_the_server_ignored_is_noted(client: BhiClient, respx_mock: respx.MockRouter) -> None:
    answer = page(encounter(1))
    answer["link"] = [{"relation": "self", "url": f"{URL}?patient:Patient=maria&_offset=0"}]
    respx_mock.get(URL).respond(200, json=answer)
    result = await search(client, "Encounter", {"patient": "maria", "date": "ge2026-03-01", "_count": "50"})
    assert result.notes == ("The server ignored date in a search of Encounter.",)
    assert result.complete


async def test_included_resources_are_kept_and_do_not_make_up_for_missing_matches(
    client: BhiClient, respx_mock: respx.MockRouter
) -> None:
    answer = page(encounter(1), {"resourceType": "Practitioner", "id": "p"}, total=2)
    answer["entry"][1]["search"] = {"mode": "include"}
    respx_mock.get(URL).respond(200, json=answer)
    result = await search(client, "Encounter", PARAMS)
    assert (ids(result.entries), result.complete) == (["e1", "p"], False)


@pytest.mark.parametrize("reference", ["Encounter/e1", "https://EHR.example:443/fhir/Encounter/e1"])
async def test_a_reference_is_read_relative_or_absolute(
    client: BhiClient, respx_mock: respx.MockRouter, reference: str
) -> None:
    respx_mock.get(f"{URL}/e1").respond(200, json=encounter(1))
    assert json.loads(await read(client, reference))["id"] == "e1"


@pytest.mark.parametrize(
    "reference",
    [
        "https://other.example/fhir/Encounter/e1",
        "urn:uuid:1",
        "#contained",
        "Encounter",
        "Encounter?x=1",
        "a/b/c",
    ],
)
async def test_a_reference_that_leads_elsewhere_is_not_fetched(
    client: BhiClient, respx_mock: respx.MockRouter, reference: str
) -> None:
    with pytest.raises(Incomplete):
        await read(client, reference)
    assert not respx_mock.calls


@pytest.mark.parametrize("body", [outcome("warning", "suppressed"), {}, [], {"resourceType": "Patient"}])
async def test_another_resource_than_the_one_asked_for_is_no_answer(
    client: BhiClient, respx_mock: respx.MockRouter, body: object
) -> None:
    respx_mock.get(f"{URL}/e1").respond(200, json=body)
    with pytest.raises(Incomplete, match="GET Encounter"):
        await read(client, "Encounter/e1")


def charge(number: int, value: str) -> dict[str, Any]:
    identifier = [{"system": "urn:bhi-fhir:draft", "value": value}]
    return {"resourceType": "ChargeItem", "id": f"c{number}", "identifier": identifier}


async def test_what_an_identifier_finds_is_filtered_again(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    """A server that ignores the parameter answers with every charge that it has."""
    route = respx_mock.get(f"{base}/ChargeItem")
    route.respond(200, json=page(charge(1, "x,1"), charge(2, "x2"), {"resourceType": "ChargeItem", "id": "c3"}))
    found = await find_by_identifier(client, "ChargeItem", "urn:bhi-fhir:draft", "x,1")
    assert ids(found) == ["c1"]
    assert route.calls.last.request.url.params["identifier"] == r"urn:bhi-fhir:draft|x\,1"


@pytest.mark.parametrize("odd", [outcome("warning", "processing"), {"resourceType": "ChargeItem", "identifier": 7}])
async def test_no_charge_found_is_only_believed_of_a_whole_answer(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, odd: dict[str, Any]
) -> None:
    respx_mock.get(f"{base}/ChargeItem").respond(200, json=page(odd))
    with pytest.raises(Incomplete, match="GET ChargeItem by identifier"):
        await find_by_identifier(client, "ChargeItem", "urn:bhi-fhir:draft", "x")


def versioned(number: int, version: str, updated: str = "") -> dict[str, Any]:
    return {**encounter(number), "meta": {"versionId": version, "lastUpdated": updated}}


@pytest.mark.parametrize(
    ("first", "second", "kept"),
    [
        (versioned(1, "9"), versioned(1, "10"), "10"),
        (versioned(1, "10"), versioned(1, "9"), "10"),
        (versioned(1, "b", "2026-03-01T10:00:00Z"), versioned(1, "a", "2026-03-02T10:00:00Z"), "a"),
        (versioned(1, "b"), versioned(1, "a"), "b"),
        (versioned(1, "1"), {**encounter(1), "meta": 7}, "1"),
    ],
)
async def test_of_a_resource_that_stands_on_two_pages_the_highest_version_is_kept(
    client: BhiClient, respx_mock: respx.MockRouter, first: dict[str, Any], second: dict[str, Any], kept: str
) -> None:
    respx_mock.get(URL, params__eq=PARAMS).respond(200, json=page(first, encounter(2), next_link=f"{URL}?p=2"))
    respx_mock.get(f"{URL}?p=2").respond(200, json=page(second, {"resourceType": "Patient", "id": "e1"}))
    result = await search(client, "Encounter", PARAMS)
    assert ids(result.entries) == ["e1", "e2", "e1"]
    assert json.loads(result.entries[0])["meta"]["versionId"] == kept
    assert len(result.full_urls) == 3


async def test_a_resource_that_came_twice_does_not_make_up_for_one_that_is_missing(
    client: BhiClient, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(URL).respond(200, json=page(encounter(1), encounter(1), total=2))
    result = await search(client, "Encounter", PARAMS)
    assert result.withheld == ("Not all of Encounter could be read: the server counts 2 and gave 1.",)


async def test_a_search_larger_than_memory_should_hold_is_cut_off(
    client: BhiClient, respx_mock: respx.MockRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bhi_fhir.fhir.reading.MAX_BYTES", 100)
    large = {**encounter(1), "x": "x" * 100}
    respx_mock.get(URL).respond(200, json=page(large, next_link=f"{URL}?p=2"))
    result = await search(client, "Encounter", PARAMS)
    assert result.withheld == ("Not all of Encounter could be read: it is larger than 100 bytes.",)


# -- POST _search ------------------------------------------------------------------------------------


@pytest.fixture
async def private(base: str) -> AsyncIterator[BhiClient]:
    """A client of a site that wants no parameter in a URL."""

    async def at_once(_: float) -> None:
        pass

    async with BhiClient(Connection(base, search_by_post=True), sleep=at_once) as client:
        yield client


async def test_where_the_site_wants_it_the_parameters_travel_in_the_body_only(
    private: BhiClient, respx_mock: respx.MockRouter
) -> None:
    route = respx_mock.post(f"{URL}/_search")
    answer = page(encounter(1), next_link=f"{URL}?ct=opaque")
    answer["link"].append({"relation": "self", "url": f"{URL}/_search"})
    route.side_effect = [httpx.ReadTimeout("slow"), httpx.Response(503), httpx.Response(200, json=answer)]
    respx_mock.get(f"{URL}?ct=opaque").respond(200, json=page(encounter(2)))
    params = {"patient": "Maria Canary", "date": ["ge2026-03-01", "lt2026-04-01"], "_count": "2"}
    result = await search(private, "Encounter", params)
    assert (ids(result.entries), result.complete, result.notes) == (["e1", "e2"], True, ())
    sent = route.calls.last.request
    assert sent.content == b"patient=Maria+Canary&date=ge2026-03-01&date=lt2026-04-01&_count=2"
    assert sent.headers["content-type"] == "application/x-www-form-urlencoded"
    assert (sent.url.query, sent.headers["prefer"]) == (b"", "handling=strict")
    assert route.call_count == 3


async def test_what_fhirpy_searches_travels_in_the_body_too(private: BhiClient, respx_mock: respx.MockRouter) -> None:
    route = respx_mock.post(f"{URL}/_search").respond(200, json=page(encounter(1)))
    found = await private.resources("Encounter").search(patient="canary").fetch()
    assert [each.id for each in found] == ["e1"]
    assert route.calls.last.request.content == b"patient=canary"
