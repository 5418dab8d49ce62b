"""Every key of reading.toml: where a site keeps minutes, consents, roles and what people are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from record import NPI, Record, Resource, cocm_record, concept, reference

from bhi_fhir.domain.decision import Decision
from bhi_fhir.errors import MappingError
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.site_reading import AS_USUAL, site_reading
from bhi_fhir.mapping.source import Source

LOCAL = "urn:example:local"
LOG = '[[minutes.time_log]]\nsystem = "urn:example:local"\ncode = "MIN"\n'
MINUTES = {"value": 36, "unit": "min", "system": "http://unitsofmeasure.org", "code": "min"}
DOCUMENT = '[[consent.document]]\nsystem = "urn:example:local"\ncode = "FORM"\ncovers_terms = true\n'
ANSWER = '[[consent.answer]]\nlink_id = "agrees"\ncovers_terms = true\n'
UNCODED = {"text": "somebody"}
MADE = "2026-02-20T15:30:00Z"


def decided(folder: Path, record: Record, reading: str = "", **maps: Resource) -> Decision:
    (folder / "site.toml").write_text('name = "x"\ntime_zone = "America/Chicago"\n')
    (folder / "reading.toml").write_text(reading)
    for name, resource in maps.items():
        (folder / f"{name}.json").write_text(json.dumps(resource))
    found = Desk.open(folder, "2026-03").decide([Source("x", "", json.dumps(record.bundle()).encode())])
    assert found.set_aside == ()
    [(decision, _)] = found.decisions
    return decision


def billable(decision: Decision) -> dict[str, int]:
    return {line.code: line.units for line in decision.lines if line.status == "billable"}


def outcome(decision: Decision, requirement: str, code: str = "99492") -> str:
    [candidate] = [c for c in decision.candidates if c.code == code]
    [finding] = [f for f in candidate.findings if f.requirement == requirement]
    return finding.outcome


def log(encounter: str | None = "maria-work-1", **fields: Any) -> Resource:
    what: Resource = {
        "resourceType": "Observation",
        "id": fields.pop("id", "log"),
        "status": "final",
        "code": concept(LOCAL, "MIN"),
        "subject": {"reference": "Patient/maria"},
        "performer": [reference("bhcm")],
        "effectiveDateTime": "2026-03-03T16:36:00Z",
        "valueQuantity": MINUTES,
    }
    if encounter:
        what["encounter"] = {"reference": f"Encounter/{encounter}"}
    return {k: v for k, v in (what | fields).items() if v is not None}


def untimed(**fields: Any) -> Record:
    """An assessment of 3 March whose period is a day without times."""
    return cocm_record().work(0, kind="assessment", period={"start": "2026-03-03"}, **fields)


# -- minutes ----------------------------------------------------------------------------------------


def test_a_time_log_lends_its_minutes_to_its_encounter(tmp_path: Path) -> None:
    decision = decided(tmp_path, untimed().add(log()), LOG)
    assert (billable(decision), decision.minutes.counted) == ({"99492": 1}, 36)


def test_a_time_log_that_the_site_does_not_name_is_no_time(tmp_path: Path) -> None:
    assert decided(tmp_path, untimed().add(log())).minutes.counted == 0


def test_a_call_that_stands_as_encounter_procedure_and_time_log_counts_once(tmp_path: Path) -> None:
    record = cocm_record().work(36, kind="assessment")
    record.work_procedure(36, kind="assessment", encounter={"reference": "Encounter/maria-work-1"}).add(log())
    assert decided(tmp_path, record, LOG + 'kind = "assessment"\n').minutes.counted == 36


def test_several_rows_of_one_encounter_are_added(tmp_path: Path) -> None:
    rows = [log(id=f"log-{n}", valueQuantity=MINUTES | {"value": minutes}) for n, minutes in enumerate((20, 16))]
    assert decided(tmp_path, untimed().add(*rows), LOG).minutes.counted == 36


def test_the_same_row_given_twice_counts_once(tmp_path: Path) -> None:
    assert decided(tmp_path, untimed().add(log(), log()), LOG).minutes.counted == 36


def test_a_row_of_a_time_log_by_itself_is_work_of_the_kind_that_the_site_says(tmp_path: Path) -> None:
    decision = decided(tmp_path, cocm_record().add(log(None)), LOG + 'kind = "care-coordination"\n')
    assert (billable(decision), decision.minutes.counted) == ({"99492": 1}, 36)


def test_a_row_inside_an_office_visit_is_work_of_its_own_kind(tmp_path: Path) -> None:
    record = cocm_record().add(log("maria-visit-1"))
    assert decided(tmp_path, record, LOG + 'kind = "care-coordination"\n').minutes.counted == 36


@pytest.mark.parametrize("kind", ["", 'kind = "care-cordination"\n'])
def test_a_row_by_itself_of_no_known_kind_is_unread_not_lost(kind: str, tmp_path: Path) -> None:
    decision = decided(tmp_path, cocm_record().add(log(None)), LOG + kind)
    assert [(n.source, n.minutes, n.reason) for n in decision.minutes.not_counted] == [
        ("Observation/log", None, "unreadable")
    ]
    assert outcome(decision, "minutes") == "unknown"


def test_a_row_without_a_kind_inside_an_office_visit_is_that_visits_time(tmp_path: Path) -> None:
    decision = decided(tmp_path, cocm_record().add(log("maria-visit-1")), LOG)
    assert (decision.minutes.counted, decision.minutes.not_counted) == (0, ())


def test_a_row_without_a_unit_takes_the_sites(tmp_path: Path) -> None:
    record = untimed().add(log(valueQuantity=None, valueInteger=36))
    assert decided(tmp_path, record, LOG + 'unit = "min"\n').minutes.counted == 36


def test_a_unit_in_the_row_is_taken_before_the_sites(tmp_path: Path) -> None:
    record = untimed().add(log(valueQuantity={"value": 0.6, "code": "h"}))
    assert decided(tmp_path, record, LOG + 'unit = "min"\n').minutes.counted == 36


def test_a_row_without_any_unit_is_unread(tmp_path: Path) -> None:
    decision = decided(tmp_path, untimed().add(log(valueQuantity={"value": 36})), LOG)
    assert outcome(decision, "minutes") == "unknown"
    assert [n.reason for n in decision.minutes.not_counted] == ["unreadable"]


@pytest.mark.parametrize("status", ["preliminary", "entered-in-error", "cancelled"])
def test_a_row_that_is_not_final_is_no_time(status: str, tmp_path: Path) -> None:
    assert decided(tmp_path, untimed().add(log(status=status)), LOG).minutes.counted == 0


THREE = {"length": MINUTES | {"value": 20}}
"""An encounter of 36 minutes' time log, 20 minutes' length and 60 minutes' period."""


@pytest.mark.parametrize(
    ("order", "counted"),
    [
        (None, 36),
        ('["time-log", "length", "period"]', 36),
        ('["length", "time-log"]', 20),
        ('["period", "length"]', 60),
        ('["period"]', 60),
        ("[]", 0),
    ],
)
def test_the_first_source_in_the_sites_order_is_trusted(order: str | None, counted: int, tmp_path: Path) -> None:
    record = cocm_record().work(60, kind="assessment", **THREE).add(log())
    reading = f"[minutes]\norder = {order}\n{LOG}" if order else LOG
    assert decided(tmp_path, record, reading).minutes.counted == counted


ONLY = '[[minutes.period.only_types]]\nsystem = "urn:bhi-fhir:activity"\ncode = "assessment"\n'


@pytest.mark.parametrize(("kind", "counted"), [("assessment", 36), ("care-planning", 0)])
def test_a_period_counts_only_for_the_contact_types_that_the_site_names(
    kind: str, counted: int, tmp_path: Path
) -> None:
    decision = decided(tmp_path, cocm_record().work(36, kind=kind), ONLY)
    assert decision.minutes.counted == counted
    assert outcome(decision, "minutes") == ("met" if counted else "unknown")


def test_a_contact_type_may_stand_in_the_service_type(tmp_path: Path) -> None:
    record = cocm_record().work(36, kind="assessment", serviceType=concept(LOCAL, "PHONE"))
    only = f'[[minutes.period.only_types]]\nsystem = "{LOCAL}"\ncode = "PHONE"\n'
    assert decided(tmp_path, record, only).minutes.counted == 36


@pytest.mark.parametrize(("minutes", "counted"), [(120, 120), (121, 0)])
def test_a_period_longer_than_the_sites_limit_is_unread_and_not_cut(minutes: int, counted: int, tmp_path: Path) -> None:
    decision = decided(tmp_path, cocm_record().work(minutes), "[minutes.period]\nlongest_minutes = 120\n")
    assert decision.minutes.counted == counted
    assert outcome(decision, "minutes") == ("met" if counted else "unknown")


def test_the_limit_of_periods_does_not_touch_a_length(tmp_path: Path) -> None:
    record = cocm_record().work(300, length=MINUTES)
    assert decided(tmp_path, record, "[minutes.period]\nlongest_minutes = 120\n").minutes.counted == 36


def test_a_time_log_that_was_withheld_leaves_the_minutes_unknown(tmp_path: Path) -> None:
    record = untimed().add(log())
    broken = Source("x", "", json.dumps({"resourceType": "Observation", "id": "b", "subject": 7}).encode())
    (tmp_path / "site.toml").write_text('name = "x"\ntime_zone = "America/Chicago"\n')
    (tmp_path / "reading.toml").write_text(LOG.replace("MIN", "OTHER"))
    bundle = Source("x", "", json.dumps(record.bundle()).encode())
    [(decision, _)] = Desk.open(tmp_path, "2026-03").decide([bundle, broken]).decisions
    assert outcome(decision, "minutes") == "unknown"


# -- consent ----------------------------------------------------------------------------------------


def form(**fields: Any) -> Record:
    """A record whose only consent is a document."""
    what: Resource = {
        "resourceType": "DocumentReference",
        "id": "form",
        "status": "current",
        "type": concept(LOCAL, "FORM"),
        "subject": {"reference": "Patient/maria"},
        "date": MADE,
        "author": [reference("pcp")],
        "content": [{"attachment": {"contentType": "application/pdf"}}],
    }
    record = cocm_record().work(36, kind="assessment").without("Consent")
    return record.add({k: v for k, v in (what | fields).items() if v is not None})


def test_a_document_of_the_sites_type_is_consent_to_its_author(tmp_path: Path) -> None:
    assert billable(decided(tmp_path, form(), DOCUMENT)) == {"99492": 1}


def test_a_document_that_the_site_does_not_name_is_no_consent(tmp_path: Path) -> None:
    assert outcome(decided(tmp_path, form()), "consent") == "not-met"


@pytest.mark.parametrize(
    ("speaks_for", "fields", "expected"),
    [
        ("author", {}, "met"),
        ("author", {"author": [reference("bhcm")]}, "not-met"),
        ("author", {"author": None}, "unknown"),
        ("author", {"author": [{"display": "Dr. Synthetic"}]}, "unknown"),
        ("organization", {"custodian": {"reference": "Organization/practice"}}, "met"),
        ("organization", {"custodian": {"reference": "Organization/another"}}, "not-met"),
        ("organization", {}, "unknown"),
        ("whoever-bills", {"author": None}, "met"),
    ],
)
def test_whom_a_document_speaks_for(speaks_for: str, fields: Resource, expected: str, tmp_path: Path) -> None:
    record = form(**fields).change("PractitionerRole/pcp-role", organization={"reference": "Organization/practice"})
    decision = decided(tmp_path, record, f'{DOCUMENT}speaks_for = "{speaks_for}"\n')
    assert outcome(decision, "consent") == expected


def test_a_form_that_does_not_cover_the_three_facts_is_unknown(tmp_path: Path) -> None:
    assert outcome(decided(tmp_path, form(), DOCUMENT.replace("true", "false")), "consent") == "unknown"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"docStatus": "final"}, "met"),
        ({"docStatus": "preliminary"}, "unknown"),
        ({"docStatus": "entered-in-error"}, "not-met"),
        ({"status": "superseded"}, "not-met"),
        ({"status": "entered-in-error"}, "not-met"),
        ({"date": None}, "unknown"),
        ({"date": "2026-03-20T15:30:00Z"}, "not-met"),
    ],
)
def test_a_document_is_consent_only_if_it_stands_is_signed_and_dated(
    fields: Resource, expected: str, tmp_path: Path
) -> None:
    assert outcome(decided(tmp_path, form(**fields), DOCUMENT), "consent") == expected


@pytest.mark.parametrize(("context", "expected"), [({"period": {"start": MADE}}, "met"), (None, "unknown")])
def test_a_document_may_be_dated_by_its_context(context: Resource | None, expected: str, tmp_path: Path) -> None:
    decision = decided(tmp_path, form(date=None, context=context), f'{DOCUMENT}dated_by = "period"\n')
    assert outcome(decision, "consent") == expected


def answered(*given: Resource, **fields: Any) -> Record:
    """A record whose only consent is an answer, a form for each of `given`, two days apart from 20 February."""
    record = cocm_record().work(36, kind="assessment").without("Consent")
    for number, answer in enumerate(given):
        what: Resource = {
            "resourceType": "QuestionnaireResponse",
            "id": f"form-{number}",
            "status": "completed",
            "subject": record.subject,
            "authored": f"2026-02-{20 + 2 * number}T15:30:00Z",
            "author": reference("pcp"),
            "item": [{"linkId": "page", "item": [{"linkId": "agrees", "answer": [answer]}]}],
        }
        record.add({k: v for k, v in (what | fields).items() if v is not None})
    return record


YES, NO = {"valueBoolean": True}, {"valueBoolean": False}
CODED = {"valueCoding": {"system": LOCAL, "code": "Y"}}


@pytest.mark.parametrize(
    ("given", "reading", "expected"),
    [
        ([YES], ANSWER, "met"),
        ([NO], ANSWER, "not-met"),
        ([YES], "", "not-met"),
        ([YES], ANSWER.replace("agrees", "other"), "not-met"),
        ([YES], ANSWER.replace("true", "false"), "unknown"),
        ([CODED], ANSWER + 'code = "Y"\n', "met"),
        ([CODED], ANSWER, "not-met"),
        ([{"valueCoding": {"system": LOCAL, "code": "N"}}], ANSWER + 'code = "Y"\n', "not-met"),
        ([YES], ANSWER + 'questionnaire = "urn:example:form"\n', "not-met"),
        ([YES, NO], ANSWER, "not-met"),
        ([NO, YES], ANSWER, "met"),
        ([CODED, {"valueCoding": {"system": LOCAL, "code": "ASK"}}], ANSWER + 'code = "Y"\n', "unknown"),
    ],
)
def test_an_answer_of_the_sites_item_is_consent_and_another_takes_it_back(
    given: list[Resource], reading: str, expected: str, tmp_path: Path
) -> None:
    assert outcome(decided(tmp_path, answered(*given), reading), "consent") == expected


@pytest.mark.parametrize("canonical", ["urn:example:form", "urn:example:form|2"])
def test_an_answer_counts_in_the_questionnaire_that_the_site_names_whatever_its_version(
    canonical: str, tmp_path: Path
) -> None:
    record = answered(YES, questionnaire=canonical)
    assert billable(decided(tmp_path, record, ANSWER + 'questionnaire = "urn:example:form"\n')) == {"99492": 1}


@pytest.mark.parametrize(
    ("speaks_for", "author", "expected"),
    [
        ("author", "pcp", "met"),
        ("author", "bhcm", "not-met"),
        ("author", None, "unknown"),
        ("whoever-bills", None, "met"),
    ],
)
def test_whom_an_answer_speaks_for(speaks_for: str, author: str | None, expected: str, tmp_path: Path) -> None:
    record = answered(YES, author=reference(author) if author else None)
    decision = decided(tmp_path, record, f'{ANSWER}speaks_for = "{speaks_for}"\n')
    assert outcome(decision, "consent") == expected


@pytest.mark.parametrize("status", ["in-progress", "entered-in-error", "stopped"])
def test_an_unfinished_form_is_no_consent(status: str, tmp_path: Path) -> None:
    assert outcome(decided(tmp_path, answered(YES, status=status), ANSWER), "consent") == "not-met"


# -- team and people --------------------------------------------------------------------------------


def in_words(record: Record) -> Record:
    """Every role on the care team is text only, and the team has no category."""
    team = record.get("CareTeam")
    del team["category"]
    for participant in team["participant"]:
        participant["role"] = [UNCODED]
    return record


BY_NPI = """[team.npi]
9000001013 = "treating-practitioner"
9000002029 = "behavioral-health-care-manager"
9000003035 = "psychiatric-consultant"
"""


def test_roles_come_from_the_sites_npis_where_the_team_says_nothing(tmp_path: Path) -> None:
    record = in_words(cocm_record().work(36, kind="assessment"))
    assert billable(decided(tmp_path, record, BY_NPI)) == {"99492": 1}


def test_an_npi_is_read_by_its_oid_as_well(tmp_path: Path) -> None:
    record = in_words(cocm_record().work(36, kind="assessment"))
    for who in ("pcp", "bhcm", "psych"):
        [identifier] = record.get(f"Practitioner/{who}")["identifier"]
        identifier["system"] = "urn:oid:2.16.840.1.113883.4.6"
    assert billable(decided(tmp_path, record, BY_NPI)) == {"99492": 1}


def test_a_coded_role_on_the_team_is_taken_before_the_sites_npis(tmp_path: Path) -> None:
    record = cocm_record().work(36, kind="assessment")
    swapped = BY_NPI.replace("behavioral-health-care-manager", "administrative-staff")
    assert billable(decided(tmp_path, record, swapped)) == {"99492": 1}


def test_a_team_in_words_alone_is_unknown_and_its_work_is_listed(tmp_path: Path) -> None:
    decision = decided(tmp_path, in_words(cocm_record().work(36, kind="assessment")))
    assert billable(decision) == {}
    assert outcome(decision, "care-team") == outcome(decision, "billing-practitioner") == "unknown"
    assert [(n.source, n.reason) for n in decision.minutes.not_counted] == [("Encounter/maria-work-1", "unreadable")]


def test_a_team_in_words_beside_a_known_one_changes_nothing(tmp_path: Path) -> None:
    record = cocm_record().work(36, kind="assessment")
    other = {"role": [UNCODED], "member": reference("pcp")}
    record.add({"resourceType": "CareTeam", "id": "hearts", "subject": record.subject, "participant": [other]})
    assert billable(decided(tmp_path, record)) == {"99492": 1}


ROLES = {
    "resourceType": "ConceptMap",
    "group": [
        {
            "source": LOCAL,
            "target": "urn:bhi-fhir:team-role",
            "element": [
                {"code": "PCP", "target": [{"code": "treating-practitioner", "equivalence": "equal"}]},
                {"code": "BHCM", "target": [{"code": "behavioral-health-care-manager", "equivalence": "equivalent"}]},
                {"code": "PSY", "target": [{"code": "psychiatric-consultant", "equivalence": "equal"}]},
            ],
        }
    ],
}


@pytest.mark.parametrize(("switch", "expected"), [("true", {"99492": 1}), ("false", {})])
def test_roles_come_from_practitioner_roles_where_the_site_says_so(
    switch: str, expected: dict[str, int], tmp_path: Path
) -> None:
    record = in_words(cocm_record().work(36, kind="assessment"))
    for who, code in (("pcp", "PCP"), ("bhcm", "BHCM"), ("psych", "PSY")):
        record.change(f"PractitionerRole/{who}-role", code=[concept(LOCAL, code)])
    reading = f"[team]\nroles_from_practitioner_role = {switch}\n"
    assert billable(decided(tmp_path, record, reading, roles=ROLES)) == expected


def without_roles() -> Record:
    """No PractitionerRole at all: nothing in the record says what anybody is."""
    return cocm_record().work(36, kind="assessment").without("PractitionerRole")


def test_without_practitioner_roles_nothing_says_who_may_bill(tmp_path: Path) -> None:
    decision = decided(tmp_path, without_roles())
    assert (billable(decision), outcome(decision, "billing-practitioner")) == ({}, "unknown")


def test_what_people_are_comes_from_the_sites_taxonomy_codes(tmp_path: Path) -> None:
    reading = '[people.nucc]\n9000001013 = ["207Q00000X"]\n9000003035 = ["2084P0800X"]\n'
    assert billable(decided(tmp_path, without_roles(), reading)) == {"99492": 1}


def test_a_listed_taxonomy_code_decides_as_one_in_the_record(tmp_path: Path) -> None:
    reading = '[people.nucc]\n9000001013 = ["163W00000X"]\n9000003035 = ["2084P0800X"]\n'
    assert outcome(decided(tmp_path, without_roles(), reading), "billing-practitioner") == "not-met"


def test_a_person_who_is_known_by_npi_only_is_found_in_both_lists(tmp_path: Path) -> None:
    record = in_words(without_roles().without("Practitioner"))
    text = json.dumps(record.resources)
    for who, npi in (("pcp", "9000001013"), ("bhcm", "9000002029"), ("psych", "9000003035")):
        logical = {"type": "Practitioner", "identifier": {"system": NPI, "value": npi}}
        text = text.replace(json.dumps(reference(who)), json.dumps(logical))
    record.resources = json.loads(text)
    reading = f'{BY_NPI}[people.nucc]\n9000001013 = ["207Q00000X"]\n9000003035 = ["2084P0800X"]\n'
    assert billable(decided(tmp_path, record, reading)) == {"99492": 1}


# -- hints ------------------------------------------------------------------------------------------


def one_code(target: str, code: str, equivalence: str) -> Resource:
    element = {"code": "L", "target": [{"code": code, "equivalence": equivalence}]}
    group = {"source": LOCAL, "target": f"urn:bhi-fhir:{target}", "element": [element]}
    return {"resourceType": "ConceptMap", "group": [group]}


def locally(record: Record, target: str) -> Record:
    """The one thing that is coded in the site's own system."""
    if target == "activity":
        return record.change("maria-work-1", type=[concept(LOCAL, "L")])
    if target == "consent":
        return record.change("Consent", category=[concept(LOCAL, "L")])
    record.get("CareTeam")["participant"][1]["role"] = [concept(LOCAL, "L")]
    return record


HINTED = [
    ("activity", "assessment", "minutes"),
    ("team-role", "behavioral-health-care-manager", "care-team"),
    ("consent", "bhi", "consent"),
]


@pytest.mark.parametrize("equivalence", ["wider", "narrower"])
@pytest.mark.parametrize(("target", "code", "requirement"), HINTED)
def test_a_code_that_is_only_wider_or_narrower_leaves_the_answer_unknown(
    target: str, code: str, requirement: str, equivalence: str, tmp_path: Path
) -> None:
    record = locally(cocm_record().work(36, kind="assessment"), target)
    decision = decided(tmp_path, record, local=one_code(target, code, equivalence))
    assert (billable(decision), outcome(decision, requirement)) == ({}, "unknown")


@pytest.mark.parametrize("equivalence", ["equal", "equivalent"])
@pytest.mark.parametrize(("target", "code", "requirement"), HINTED)
def test_a_code_that_is_equal_or_equivalent_is_a_fact(
    target: str, code: str, requirement: str, equivalence: str, tmp_path: Path
) -> None:
    record = locally(cocm_record().work(36, kind="assessment"), target)
    decision = decided(tmp_path, record, local=one_code(target, code, equivalence))
    assert (billable(decision), outcome(decision, requirement)) == ({"99492": 1}, "met")


def test_a_local_visit_type_may_open_bhi_and_is_no_unread_work(tmp_path: Path) -> None:
    record = cocm_record().work(36, kind="assessment").change("maria-visit-1", type=[concept(LOCAL, "OV")])
    include = [{"system": LOCAL, "concept": [{"code": "OV"}]}]
    visits = {"resourceType": "ValueSet", "id": "initiating-visit", "compose": {"include": include}}
    assert outcome(decided(tmp_path, record), "initiating-visit") == "unknown"
    decision = decided(tmp_path, record, visits=visits)
    assert (billable(decision), decision.minutes.not_counted) == ({"99492": 1}, ())


def test_a_local_type_of_another_service_is_placed_and_its_time_does_not_count(tmp_path: Path) -> None:
    record = cocm_record().work(30, kind="assessment").work(36, day=4, type=[concept(LOCAL, "THERAPY")])
    include = [{"system": LOCAL, "concept": [{"code": "THERAPY"}]}]
    other = {"resourceType": "ValueSet", "id": "other-service", "compose": {"include": include}}
    assert [n.reason for n in decided(tmp_path, record).minutes.not_counted] == ["unreadable"]
    decision = decided(tmp_path, record, other=other)
    assert (decision.minutes.counted, decision.minutes.not_counted) == (30, ())


# -- the file itself --------------------------------------------------------------------------------


def test_a_site_without_the_file_reads_as_the_contract_says(tmp_path: Path) -> None:
    assert site_reading(tmp_path) is AS_USUAL


def test_an_empty_file_says_the_same_as_none(tmp_path: Path) -> None:
    (tmp_path / "reading.toml").write_text("")
    assert site_reading(tmp_path) == AS_USUAL


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('minute = "x"', "minute"),
        ('[minutes]\norder = ["stopwatch"]', "minutes.order[0]"),
        ('[minutes]\norder = "length"', "minutes.order"),
        ('[[minutes.time_log]]\nsystem = "s"', "minutes.time_log[0]"),
        (f'{LOG}unit = "minutes"', "minutes.time_log[0].unit"),
        (f"{LOG}kind = 3", "minutes.time_log[0].kind"),
        ('[minutes.period]\nlongest_minutes = "2 h"', "minutes.period.longest_minutes"),
        ("[minutes.period]\nonly_types = [7]", "minutes.period.only_types[0]"),
        ('[[consent.document]]\nsystem = "s"\ncode = "c"', "consent.document[0]"),
        (f'{DOCUMENT}speaks_for = "everybody"', "consent.document[0].speaks_for"),
        (f'{DOCUMENT}dated_by = "now"', "consent.document[0].dated_by"),
        (f'{DOCUMENT}link_id = "x"', "consent.document[0]"),
        ("[[consent.answer]]\ncovers_terms = true", "consent.answer[0]"),
        (f'{ANSWER}speaks_for = "organization"', "consent.answer[0].speaks_for"),
        ('[team.npi]\n9000001013 = "boss"', "team.npi"),
        ("[team]\nroles_from_practitioner_role = 1", "team.roles_from_practitioner_role"),
        ('[people.nucc]\n9000001013 = "207Q00000X"', "people.nucc"),
        ('[people]\nnames = ["x"]', "people"),
    ],
)
def test_an_unknown_key_or_a_wrong_type_is_an_error_that_names_file_and_key(
    text: str, key: str, tmp_path: Path
) -> None:
    (tmp_path / "reading.toml").write_text(text)
    with pytest.raises(MappingError) as error:
        site_reading(tmp_path)
    assert str(tmp_path / "reading.toml") in str(error.value)
    assert key in str(error.value)


def test_a_file_that_is_no_toml_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "reading.toml").write_bytes(b"\xff = [")
    with pytest.raises(MappingError, match=r"reading\.toml is not readable TOML"):
        site_reading(tmp_path)


def test_the_example_names_every_key_and_each_line_of_it_is_valid(tmp_path: Path) -> None:
    example = (Path(__file__).parents[2] / "mappings/sites/example/reading.toml").read_text()
    lines = [line.removeprefix("# ") for line in example.splitlines()[4:] if line.startswith("# ")]
    (tmp_path / "reading.toml").write_text("\n".join(lines))
    shown = site_reading(tmp_path)
    assert shown.minutes.time_log[0].kind == "care-coordination"
    for table in (shown, shown.minutes, shown.minutes.period, shown.minutes.time_log[0], shown.consent, shown.team):
        for key in table.__struct_fields__:
            assert key in "\n".join(lines)
    for table in (shown.consent.document[0], shown.consent.answer[0], shown.people):
        for key in table.__struct_fields__:
            assert key in "\n".join(lines)


def test_the_example_says_nothing_but_the_defaults() -> None:
    assert site_reading(Path(__file__).parents[2] / "mappings/sites/example") == AS_USUAL
