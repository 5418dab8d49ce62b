"""What a Bundle says of itself that is not here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.source import Source

Json = dict[str, Any]
PATIENT = {"resource": {"resourceType": "Patient", "id": "maria"}}


def read(*bundles: Json) -> Record:
    return Record.read(Source("f", f"line {n}", json.dumps(each).encode()) for n, each in enumerate(bundles, 1))


def page(number: int, *entries: Json, more: bool) -> Json:
    links = [{"relation": "self", "url": f"https://ehr.example/fhir?page={number}"}]
    links += [{"relation": "next", "url": f"https://ehr.example/fhir?page={number + 1}"}] if more else []
    return {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": links,
        "entry": list(entries),
    }


def test_a_next_page_that_is_not_here_is_withheld_from_everybody() -> None:
    (who, part), *others = read(page(1, PATIENT, more=True)).withheld
    assert (who, part.part, others) == (None, "*", [])


def test_all_pages_of_a_search_are_whole_in_any_order() -> None:
    assert read(page(2, more=False), page(1, PATIENT, more=True)).withheld == []


@pytest.mark.parametrize("link", [None, "next", [{"relation": ["next"]}], [{"relation": "first", "url": "x"}]])
def test_links_that_say_nothing_of_a_next_page_are_no_loss(link: object) -> None:
    record = read({"resourceType": "Bundle", "type": "searchset", "link": link, "entry": [PATIENT]})
    assert (record.withheld, record.set_aside) == ([], [])


@pytest.mark.parametrize(("status", "held"), [("403 Forbidden", True), ("500", True), ("204 No Content", False)])
def test_an_entry_that_the_server_refused_may_be_anything(status: str, held: bool) -> None:
    refused = {"response": {"status": status}}
    record = read({"resourceType": "Bundle", "type": "batch-response", "entry": [PATIENT, refused]})
    assert [part.part for who, part in record.withheld if who is None] == (["*"] if held else [])
    assert [each.at for each in record.set_aside] == ["line 1.entry[1]"]
