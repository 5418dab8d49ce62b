"""Indeterminate is not zero: where part of a record could not be read, no finding rests on its absence.

Each way in which something is held back, for each type: never "0 minutes", never not met because it is not there,
never billable because nothing speaks against it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import respx
from record import BASE, Record, cocm_record, g0323_record, general_record

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart
from bhi_fhir.fhir.capabilities import Capabilities, TypeCapability
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.connection import Connection
from bhi_fhir.jobs import files
from bhi_fhir.jobs.desk import Decided, Desk
from bhi_fhir.jobs.evaluate import Evaluation, evaluate
from bhi_fhir.jobs.patient_record import RecordReader
from bhi_fhir.mapping.site_reading import AS_USUAL
from bhi_fhir.mapping.source import SUBJECT, Source

Resource = dict[str, Any]

DESK = Desk.open(Path(__file__).parents[1] / "mappings" / "sites" / "example", "2026-03")
OBSERVATION_VALUE = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
BASES: dict[str, Callable[[], Record]] = {
    "cocm": lambda: cocm_record().work(80),
    "cocm later": lambda: cocm_record(episode="later").work(70),
    "general": lambda: general_record().work(30),
    "g0323": lambda: g0323_record().work(30),
    "apcm": lambda: cocm_record().work(20).charge("G0557"),
}
READ = ("CareTeam", "ChargeItem", "Condition", "Consent", "Coverage", "Encounter", "Procedure", "QuestionnaireResponse")
PEOPLE = ("Practitioner", "PractitionerRole")
ALL = [*READ, *PEOPLE]


# -- the ways in which a resource is not there ------------------------------------------------------


def broken(resource: Resource) -> list[Resource]:
    return [{**resource, "meta": "of another shape"}]


def undecidable(resource: Resource) -> list[Resource]:
    return [resource, {**resource, "language": "en"}]


def _without_content(resource: Resource, meta: Resource) -> list[Resource]:
    kept = {"resourceType", "id", *SUBJECT.values()}
    return [{key: value for key, value in resource.items() if key in kept} | {"meta": meta}]


def redacted(resource: Resource) -> list[Resource]:
    return _without_content(resource, {"security": [{"system": OBSERVATION_VALUE, "code": "REDACTED"}]})


def masked(resource: Resource) -> list[Resource]:
    return _without_content(resource, {"security": [{"system": OBSERVATION_VALUE, "code": "MASKED"}]})


def summarized(resource: Resource) -> list[Resource]:
    return _without_content(resource, {"tag": [{"system": OBSERVATION_VALUE, "code": "SUBSETTED"}]})


WAYS = [broken, undecidable, redacted, masked, summarized]


def decide(resources: Iterable[Resource]) -> Decided:
    return DESK.decide(Source("record", f"[{i}]", json.dumps(r).encode()) for i, r in enumerate(resources))


def the_decision(resources: Iterable[Resource]) -> tuple[Decision, Chart]:
    [decided] = decide(resources).decisions
    return decided


def outcomes(decision: Decision) -> dict[tuple[str, str], str]:
    return {(c.code, f.requirement): f.outcome for c in decision.candidates for f in c.findings}


def billable(decision: Decision) -> list[str]:
    return [line.code for line in decision.lines if line.status == "billable"]


def outcome(severity: Any = "warning", code: str = "suppressed", *details: str) -> Resource:
    coded = {"details": {"coding": [{"system": "urn:oid:1.2.840.114350", "code": c} for c in details]}}
    return {"resourceType": "OperationOutcome", "issue": [{"severity": severity, "code": code, **coded}]}


# -- each type, each way ----------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("base", BASES)
def test_what_could_not_be_read_is_unknown_and_never_absent(
    base: str, kind: str, way: Callable[[Resource], list[Resource]]
) -> None:
    resources = BASES[base]().resources
    whole, _ = the_decision(resources)
    decision, facts = the_decision(part for r in resources for part in (way(r) if r["resourceType"] == kind else [r]))
    has_it = any(r["resourceType"] == kind for r in resources)
    assert has_it == any(part.part == kind for part in facts.withheld)
    before, after = outcomes(whole), outcomes(decision)
    # exclusivity between the codes of one family follows the choice, and the chosen one is for review
    lost = [key for key, said in after.items() if said == "not-met" and before.get(key) == "met"]
    assert [key for key in lost if key[1] != "exclusivity"] == []
    if has_it and kind not in PEOPLE:
        assert billable(decision) == []
    if lost or decision.lines != whole.lines:
        assert billable(decision) == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", ["Encounter", "CareTeam"])
def test_it_never_says_that_0_minutes_are_not_enough(kind: str, way: Callable[[Resource], list[Resource]]) -> None:
    resources = BASES["cocm"]().resources
    decision, _ = the_decision(part for r in resources for part in (way(r) if r["resourceType"] == kind else [r]))
    assert minutes_of(decision) == {"unknown"}
    assert [line.status for line in decision.lines] == ["needs-review"]


def test_nor_does_it_say_so_of_the_add_on() -> None:
    resources = [r for r in BASES["cocm"]().resources if r["resourceType"] != "Encounter"]
    assert outcomes(the_decision([*resources, outcome()])[0])["99494", "minutes"] == "unknown"


def minutes_of(decision: Decision) -> set[str]:
    """What is said of the minutes of the codes that stand by themselves."""
    return {said for (code, asked), said in outcomes(decision).items() if asked == "minutes" and code != "99494"}


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("kind", ["ChargeItem", "Claim"])
def test_a_charge_that_could_not_be_read_may_be_this_one(kind: str, way: Callable[[Resource], list[Resource]]) -> None:
    """The record without the charge is billable; with one that cannot be read it is for a person."""
    record = cocm_record().work(80)
    assert billable(the_decision(record.resources)[0]) == ["99492"]
    record = record.charge("99492") if kind == "ChargeItem" else record.claim("99492", day=28)
    assert billable(the_decision(record.resources)[0]) == []
    decision, _ = the_decision(
        part for r in record.resources for part in (way(r) if r["resourceType"] == kind else [r])
    )
    assert outcomes(decision)["99492", "exclusivity"] == "unknown"
    assert [line.status for line in decision.lines] == ["needs-review"]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_consent_that_could_not_be_read_may_be_the_withdrawal(way: Callable[[Resource], list[Resource]]) -> None:
    record = cocm_record().work(80)
    withdrawal = {**copy.deepcopy(record.get("Consent")), "id": "w", "provision": {"type": "deny"},
                  "dateTime": record.moment(2, "08:00").isoformat()}  # fmt: skip
    assert billable(the_decision([*record.resources, withdrawal])[0]) == []
    decision, _ = the_decision([*record.resources, *way(withdrawal)])
    assert outcomes(decision)["99492", "consent"] == "unknown"


def test_what_was_held_back_of_one_patient_says_nothing_about_another() -> None:
    other = [r for r in cocm_record(patient="josef").work(80).resources if r not in cocm_record().resources]
    mine = cocm_record().work(80).resources
    held = [part for r in other for part in (redacted(r) if r["resourceType"] == "Encounter" else [r])]
    decided = {d.patient: d for d, _ in decide([*mine, *held]).decisions}
    assert billable(decided["Patient/maria"]) == ["99492"]
    assert billable(decided["Patient/josef"]) == []


@pytest.mark.parametrize("code", ["R", "42CFRPart2", "PSY", "HTEST"])
def test_a_label_that_takes_nothing_away_changes_no_finding(code: str) -> None:
    resources = BASES["cocm"]().resources
    labelled = [r | {"meta": {"security": [{"code": code}], "tag": [{"code": code}]}} for r in resources]
    assert the_decision(labelled)[0] == the_decision(resources)[0]


# -- a server's word --------------------------------------------------------------------------------

OUTCOMES = [
    pytest.param(outcome("fatal", "exception"), id="fatal"),
    pytest.param(outcome("error", "forbidden"), id="error"),
    pytest.param(outcome("warning", "incomplete"), id="warning"),
    *[pytest.param(outcome("warning", "suppressed", c), id=f"break-the-glass {c}") for c in ("4130", "4131", "4134")],
    pytest.param({"resourceType": "OperationOutcome", "issue": [*outcome("information")["issue"],
                                                                *outcome("error")["issue"]]}, id="one of two"),
    pytest.param({"resourceType": "OperationOutcome", "issue": [{"code": "suppressed"}]}, id="without severity"),
    pytest.param({"resourceType": "OperationOutcome"}, id="without issue"),
    pytest.param({"resourceType": "OperationOutcome", "issue": []}, id="with no issue"),
    pytest.param({"resourceType": "OperationOutcome", "issue": 7}, id="of another shape"),
    pytest.param(outcome(["error"]), id="of an unreadable severity"),
]  # fmt: skip


@pytest.mark.parametrize("said", OUTCOMES)
@pytest.mark.parametrize("kind", [*ALL[: len(READ)], "nothing"])
def test_beside_an_outcome_no_finding_rests_on_absence(said: Resource, kind: str) -> None:
    resources = BASES["apcm"]().resources
    left = [r for r in resources if r["resourceType"] != kind]
    decision, facts = the_decision([*left, said])
    assert facts.withheld[0].part == "*"
    assert decision.withheld
    assert billable(decision) == []
    before = outcomes(the_decision(resources)[0])
    after = outcomes(decision)
    assert [key for key, found in after.items() if found == "not-met" and before.get(key) == "met"] == []


@pytest.mark.parametrize("base", BASES)
def test_an_outcome_that_only_informs_changes_nothing(base: str) -> None:
    resources = BASES[base]().resources
    for kind in (None, *READ):
        left = [r for r in resources if r["resourceType"] != kind]
        assert the_decision([outcome("information", "informational"), *left]) == the_decision(left)


@pytest.mark.parametrize("container", ["searchset", "ndjson", "array", "nested"])
def test_an_outcome_is_heard_wherever_it_stands(container: str, tmp_path: Path) -> None:
    resources = [r for r in BASES["cocm"]().resources if r["resourceType"] != "Encounter"]
    entries: list[Resource] = [{"resource": r, "search": {"mode": "match"}} for r in resources]
    entries.append({"resource": outcome("warning", "suppressed", "4131"), "search": {"mode": "outcome"}})
    bundle = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    written = {
        "searchset": json.dumps(bundle),
        "nested": json.dumps({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": bundle}]}),
        "array": json.dumps([e["resource"] for e in entries]),
        "ndjson": "\n".join(json.dumps(e["resource"]) for e in entries),
    }
    [result] = from_file(tmp_path, written[container]).results
    assert minutes_of(result.decision) == {"unknown"}


def from_file(folder: Path, text: str) -> Evaluation:
    (folder / "record").write_text(text)
    return evaluate(DESK, [str(folder / "record")])


# -- what nobody can say the type of ----------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [{"resource": {"resourceType": "encounter"}}, {"resource": {"resourceType": "Bundle", "entry": 7}},
     {"response": {"status": "404", "outcome": outcome("error", "not-found")}}],
    ids=str,
)  # fmt: skip
def test_a_broken_entry_of_no_known_type_may_be_anything(entry: Any, tmp_path: Path) -> None:
    bundle = cocm_record().work(80).bundle()
    bundle["entry"].insert(3, entry)
    done = from_file(tmp_path, json.dumps(bundle))
    [result] = done.results
    assert [s.at[:8] for s in done.set_aside] == ["entry[3]"]
    assert result.chart.withheld[0].part == "*"
    assert billable(result.decision) == []


@pytest.mark.parametrize(
    "entry",
    [42, {}, {"resource": None}, {"fullUrl": "urn:x"}, {"resource": 7}, {"resource": {"id": "x"}},
     {"resource": {"resourceType": 7}}],
    ids=str,
)  # fmt: skip
def test_an_entry_that_names_no_type_is_no_resource_and_costs_only_itself(entry: Any, tmp_path: Path) -> None:
    bundle = cocm_record().work(80).bundle()
    bundle["entry"].insert(3, entry)
    done = from_file(tmp_path, json.dumps(bundle))
    assert [s.at[:8] for s in done.set_aside] == ["entry[3]"]
    assert billable(done.results[0].decision) == ["99492"]


def test_a_line_that_cannot_be_read_or_is_too_long_may_be_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = cocm_record().work(80).ndjson()
    monkeypatch.setattr(files, "MAX_LINE", 5_000)
    torn, long = '{"resourceType": "Encounter", "id"', '{"x": "' + "y" * 6_000
    for number, line in ((1, torn), (27, torn), (27, long)):
        text = f"{line}\n{lines}" if number == 1 else f"{lines}{line}\n"
        [result] = (done := from_file(tmp_path, text)).results
        assert len(done.set_aside) == 1
        assert billable(result.decision) == []


def test_a_long_line_of_a_type_that_is_not_asked_for_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_LINE", 5_000)
    scan = json.dumps({"resourceType": "Binary", "id": "x", "data": "y" * 6_000})
    done = from_file(tmp_path, f"{cocm_record().work(80).ndjson()}{scan}\n")
    assert [s.reason[:23] for s in done.set_aside] == ["the line is longer than"]
    assert billable(done.results[0].decision) == ["99492"]


def test_a_type_that_fhir_does_not_have_holds_nothing_that_is_asked_for(tmp_path: Path) -> None:
    bundle = cocm_record().work(80).bundle()
    bundle["entry"].append({"resource": {"resourceType": "VendorSettings", "id": "x"}})
    done = from_file(tmp_path, json.dumps(bundle))
    assert [s.reason for s in done.set_aside] == ["its type is no FHIR R4 resource type"]
    assert billable(done.results[0].decision) == ["99492"]


@pytest.mark.parametrize("label", ["security", "tag"])
def test_a_bundle_that_says_that_parts_are_left_out_is_not_whole(label: str, tmp_path: Path) -> None:
    bundle = cocm_record().work(80).bundle() | {"meta": {label: [{"system": OBSERVATION_VALUE, "code": "REDACTED"}]}}
    [result] = from_file(tmp_path, json.dumps(bundle)).results
    assert result.chart.withheld[0].part == "*"
    assert billable(result.decision) == []


# -- a search result --------------------------------------------------------------------------------


@pytest.fixture
async def client() -> AsyncIterator[BhiClient]:
    async with BhiClient(Connection(BASE)) as client:
        yield client


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        pytest.param({"entry": [{"resource": outcome("warning", "suppressed", "4134"), "search": {"mode": "outcome"}}]},
                     "*", id="break-the-glass"),
        pytest.param({"entry": [{"resource": redacted({"resourceType": "Encounter", "id": "x",
                                                       "subject": {"reference": "Patient/maria"}})[0]}]},
                     "Encounter", id="redacted"),
        pytest.param({"entry": [{"resource": {"resourceType": "Encounter", "id": "x", "status": 7}}]},
                     "Encounter", id="broken"),
        pytest.param({"entry": [7]}, "*", id="a broken entry"),
        pytest.param({"total": 3}, "*", id="fewer than counted"),
        pytest.param(None, "Encounter", id="a type that is not served"),
    ],
)  # fmt: skip
async def test_a_search_that_is_not_whole_makes_the_month_unknown(
    answer: Resource | None, part: str, client: BhiClient, respx_mock: respx.MockRouter
) -> None:
    """A CoCM month of which only the search for encounters goes wrong."""
    record = cocm_record()
    respx_mock.get(f"{BASE}/Patient/maria").respond(200, json=record.get("Patient"))
    for person in (r for r in record.resources if r["resourceType"] in ("Practitioner", "Organization")):
        respx_mock.get(f"{BASE}/{person['resourceType']}/{person['id']}").respond(200, json=person)
    for kind in SUBJECT.keys() - {"DocumentReference"}:
        mine: Resource = {"entry": [{"resource": r} for r in record.resources if r["resourceType"] == kind]}
        found = answer if kind == "Encounter" else mine
        if found is not None:
            found = {"resourceType": "Bundle", "type": "searchset", **found}
            respx_mock.get(f"{BASE}/{kind}", params={"patient": "Patient/maria"}).respond(200, json=found)
    served = {
        kind: TypeCapability(frozenset({"search-type"}), frozenset({"patient"}), False, False) for kind in SUBJECT
    }
    if answer is None:
        del served["Encounter"]
        respx_mock.get(f"{BASE}/Encounter").respond(403, json=outcome("error", "forbidden"))
    server = Capabilities(served, frozenset())
    read = await RecordReader(client, server, AS_USUAL).read("Patient/maria")
    [(decision, facts)] = DESK.decide(read.sources, read.withheld).decisions
    assert part in {held.part for held in facts.withheld}
    found_outcomes = outcomes(decision)
    assert found_outcomes["99492", "minutes"] == "unknown"
    assert found_outcomes["99492", "initiating-visit"] == "unknown"
    assert billable(decision) == []
