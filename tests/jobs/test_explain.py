"""Explanations: what a biller pastes into an appeal, and what a care manager still has to document."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from record import Record, cocm_record, g0323_record, general_record

from bhi_fhir import cli as command_line
from bhi_fhir.cli import cli
from bhi_fhir.jobs.advice import HELP, REMEDY
from bhi_fhir.policy import policy
from bhi_fhir.policy.trace import sentences
from bhi_fhir.rules import tally

SITE = Path(__file__).parents[2] / "mappings" / "sites" / "example"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "patients").glob("*.json"))
BHCM = "Practitioner/bhcm (behavioral health care manager)"


@pytest.fixture(autouse=True)
def _in_the_month(monkeypatch: pytest.MonkeyPatch) -> None:
    today_is(monkeypatch, date(2026, 3, 20))


def today_is(monkeypatch: pytest.MonkeyPatch, day: date) -> None:
    monkeypatch.setattr(command_line.saying, "today", lambda zone: day)


def run(*arguments: str, month: str = "2026-03") -> Result:
    return CliRunner().invoke(cli, ["explain", "--site", str(SITE), "--month", month, *arguments])


def explained(record: Record, folder: Path, *arguments: str) -> dict[str, Any]:
    """The one patient's explanation as JSON."""
    file = folder / "record.ndjson"
    file.write_text(record.ndjson(), encoding="utf-8")
    done = run("--format", "json", *arguments, str(file), month=record.month)
    assert done.exit_code == 0, done.stderr
    [result] = json.loads(done.stdout)["results"]
    return dict(result)


def line(record: Record, folder: Path, code: str = "", *arguments: str) -> dict[str, Any]:
    lines = explained(record, folder, *arguments)["biller"]
    [found] = [x for x in lines if not code or x["code"] == code]
    return dict(found)


def said(record: Record, folder: Path) -> dict[str, str]:
    return dict(line(record, folder)["sentences"])


def missing(record: Record, folder: Path) -> dict[str, Any]:
    return dict(explained(record, folder)["care_manager"])


# -- the biller -------------------------------------------------------------------------------------


def test_a_line_says_what_was_done_when_and_by_whom_in_the_practices_time(tmp_path: Path) -> None:
    found = said(cocm_record().work(20, 3, "10:00").work(16, 31, "23:50", kind="brief-intervention"), tmp_path)
    assert found["work"] == (
        f"Counted work, in the time of America/Chicago. By {BHCM}: follow-up on 2026-03-03 10:00 to 10:20 "
        "(Encounter/maria-work-1); brief intervention on 2026-03-31 23:50 to 2026-04-01 00:06 "
        "(Encounter/maria-work-2)."
    )


def finding(record: Record, folder: Path, code: str, requirement: str) -> str:
    """The finding's sentence, as evaluate has it."""
    file = folder / "record.ndjson"
    file.write_text(record.ndjson(), encoding="utf-8")
    arguments = ["evaluate", "--site", str(SITE), "--month", record.month, "--format", "json", str(file)]
    [result] = json.loads(CliRunner().invoke(cli, arguments).stdout)["results"]
    [found] = [c for c in result["candidates"] if c["code"] == code]
    return str(next(f["because"] for f in found["findings"] if f["requirement"] == requirement))


def test_a_line_quotes_the_finding_on_its_minutes(tmp_path: Path) -> None:
    record = cocm_record().work(20).work(22, 4)
    found = said(record, tmp_path)
    assert found["minutes"] == f"{finding(record, tmp_path, '99492', 'minutes')}."
    assert found["minutes"].startswith("42 minutes are counted, 36 ")
    assert found["not_counted"] == "No time was left out."


def test_a_line_says_which_minutes_do_not_count_and_why(tmp_path: Path) -> None:
    found = said(cocm_record().work(40).work(30, 5, kind="administrative"), tmp_path)
    assert found["not_counted"] == (
        "30 minutes of Encounter/maria-work-2 on 2026-03-05 (administrative and clerical time never counts)."
    )


def test_a_line_says_what_is_on_file(tmp_path: Path) -> None:
    found = said(cocm_record().work(40), tmp_path)
    assert found["consent"] == (
        "Given on 2026-02-20 09:30 for Practitioner/pcp, in a form that tells of specialists, cost sharing "
        "and supplemental insurance (Consent/maria-consent-1)."
    )
    assert found["visit"] == (
        "On 2026-02-20 with Practitioner/pcp, with a code that qualifies (Encounter/maria-visit-1)."
    )
    assert found["scale"] == "PHQ-9 with a score of 11 on 2026-03-10 (QuestionnaireResponse/maria-scale-1)."
    assert found["consultant"] == (
        "The psychiatric consultant's review: on 2026-03-10 by Practitioner/psych (psychiatric consultant) "
        "(Procedure/maria-psychiatric-review-1)."
    )
    assert found["episode"] == "2026-03 is the episode's first calendar month."
    assert found["diagnosis"] == "A behavioral health condition (F33.1) is in force (Condition/maria-condition-1)."
    assert "psychiatric consultant are on the team (CareTeam/maria-team)." in found["team"]


def test_a_consent_to_the_practice_says_so(tmp_path: Path) -> None:
    organization = {"organization": [{"reference": "Organization/practice"}], "provision": {"type": "permit"}}
    record = cocm_record().work(40).change("Consent", **organization)
    record.change("PractitionerRole/pcp-role", organization={"reference": "Organization/practice"})
    record.add({"resourceType": "Organization", "id": "practice", "name": "Synthetic"})
    assert "for Organization/practice, in a form" in said(record, tmp_path)["consent"]


def test_the_visit_of_a_psychologist_is_said_by_its_kind(tmp_path: Path) -> None:
    found = said(g0323_record().work(25), tmp_path)
    assert "with Practitioner/cp, a psychiatric diagnostic evaluation (90791)" in found["visit"]
    assert "consultant" not in found


def test_a_short_month_says_which_month_of_the_episode_it_is(tmp_path: Path) -> None:
    found = line(cocm_record(episode="later").work(20), tmp_path)
    assert found["code"] == "G2214"
    assert found["sentences"]["episode"].startswith("2026-02 is the episode's first calendar month, 2026-03 a later")


def test_a_line_has_a_labelled_line_for_every_requirement_and_names_the_sentences_of_the_booklet(
    tmp_path: Path,
) -> None:
    found = line(cocm_record().work(40), tmp_path)
    required = found["text"].partition("\nRequired by:\n")[2].splitlines()
    assert [row.partition(" — ")[0] for row in required][:3] == [
        "- Eligible condition",
        "- Consent",
        "- Initiating visit",
    ]
    assert len(required) == len(found["required_by"])
    assert f"- Consent — MLN909432, Advanced Patient Consent: {policy().requirements['consent'].rule}" in required
    known = {s.id for s in sentences()}
    asks = {r["requirement"]: r["booklet"] for r in found["required_by"]}
    assert "99492-consultant-review" in asks["psychiatric-review"]
    assert all(ids and set(ids) <= known for ids in asks.values())


def test_a_line_for_review_says_what_a_person_must_decide(tmp_path: Path) -> None:
    found = line(cocm_record().work(40).without("brief-intervention"), tmp_path)
    assert found["status"] == "needs-review"
    assert (
        "\nA person must decide: No brief intervention is documented in the month. To settle it: enter it if it was "
        "done (finished, in the month, by a member of the team), or attest it.\n"
    ) in found["text"]


def test_an_unknown_is_called_unknown(tmp_path: Path) -> None:
    found = line(cocm_record().work(40).change("Consent", policyRule=None), tmp_path)
    assert "Unknown: Consent/maria-consent-1: nothing says that the three facts" in found["sentences"]["decide"]
    assert "consent" not in found["sentences"]


def test_a_month_without_line_says_first_what_blocks_the_nearest_code(tmp_path: Path) -> None:
    found = line(cocm_record().work(40).without("Condition"), tmp_path)
    assert (found["code"], found["status"], found["date_of_service"]) == ("99492", "not-billable", None)
    assert found["sentences"]["against"] == (
        "Not billable: no behavioral health condition (ICD-10-CM F01-F99) is in force."
    )


def test_nobody_is_asked_to_decide_or_attest_what_is_not_billable(tmp_path: Path) -> None:
    record = cocm_record().work(20).without("Condition").without("brief-intervention")
    found = explained(record, tmp_path)
    [told] = found["biller"]
    assert told["sentences"]["open"].startswith("Open besides: ")
    assert "A person must decide" not in told["text"]
    assert "attest" not in json.dumps(found)


def test_minutes_that_block_are_said_once(tmp_path: Path) -> None:
    found = line(cocm_record().work(10), tmp_path)
    assert found["text"].count("10 minutes are counted") == 1


def test_a_charge_that_excludes_the_code_blocks_by_its_reference(tmp_path: Path) -> None:
    found = explained(cocm_record().work(40).charge("99492"), tmp_path, "--code", "99492")
    [told] = found["biller"]
    assert "99492 is already charged this month (ChargeItem/maria-charge-1)" in told["sentences"]["against"]
    assert "is charged already for Patient/maria in 2026-03, by ChargeItem/maria-charge-1" in told["sentences"]["line"]
    assert [text.partition(":")[0] for text in found["care_manager"]["blocks"]] == ["Exclusivity"]


def test_a_choice_is_nothing_to_settle(tmp_path: Path) -> None:
    record = cocm_record().work(40)
    found = explained(record, tmp_path, "--code", "G2214")
    [told], manager = found["biller"], found["care_manager"]
    assert "99492 is the CoCM code of this month" not in told["text"]
    assert not any("xclusivity" in text for text in manager["blocks"])


def test_the_add_on_has_a_paragraph_of_its_own(tmp_path: Path) -> None:
    lines = explained(cocm_record().work(90), tmp_path)["biller"]
    assert [x["code"] for x in lines] == ["99492", "99494"]
    assert "90 minutes reach 1 unit" in lines[1]["text"]


def test_a_service_of_a_day_says_its_days_and_its_performer(tmp_path: Path) -> None:
    record = general_record().condition("R45.851").work(40, 5, kind="safety-planning", by="pcp")
    found = line(record, tmp_path, "G0560")["sentences"]
    assert found["days"] == "By day: 2 units on 2026-03-05."
    assert "By Practitioner/pcp (treating practitioner): safety planning on 2026-03-05 10:00 to 10:40" in found["work"]
    assert "Practitioner/pcp performed it and may bill it" in found["team"]
    assert "not_counted" not in found


def test_a_consultation_is_told_in_the_words_of_its_findings(tmp_path: Path) -> None:
    record = cocm_record().person("cp").work(12, 16, kind="interprofessional-consultation", by="cp")
    found = line(record, tmp_path, "G0547")["sentences"]
    assert found["minutes"] == "12 minutes of one person on one day; the code is for 11 to 20."
    assert found["work"].endswith(
        "By Practitioner/cp (not on the care team): interprofessional consultation on 2026-03-16 10:00 to 10:12 "
        "(Encounter/maria-work-1)."
    )


def test_one_code_can_be_asked_for_though_another_was_chosen(tmp_path: Path) -> None:
    found = explained(cocm_record().work(40), tmp_path, "--code", "99484")
    [told], manager = found["biller"], found["care_manager"]
    assert "CoCM (99492) is the family of this month" in told["sentences"]["against"]
    assert manager["blocks"] == []
    assert manager["notes"] == ["99484: CoCM (99492) is the family of this month (switch A21)."]
    assert manager["minutes"].startswith("40 minutes are counted, 20 ")


def test_the_text_is_short_labelled_paragraphs_of_all_the_sentences(tmp_path: Path) -> None:
    found = line(cocm_record().work(40), tmp_path)
    labels = [row.partition(": ")[0] for row in found["text"].splitlines()[1:] if not row.startswith("- ")]
    assert labels == [
        *("What was done", "Time not counted", "Documented", "Scale", "Consent", "Visit", "Diagnosis", "Team"),
        *("Episode", "Also", "Required by:"),
    ]
    assert all(sentence in found["text"] for sentence in found["sentences"].values())


def test_somebody_who_was_not_on_the_team_is_called_so(tmp_path: Path) -> None:
    record = cocm_record().work(40, by=["bhcm", "nurse"]).person("nurse")
    assert f"{BHCM} and Practitioner/nurse (not on the care team)" in said(record, tmp_path)["work"]


# -- the care manager -------------------------------------------------------------------------------


def test_the_care_manager_sees_every_tier_that_is_still_reachable_and_by_when(tmp_path: Path) -> None:
    found = missing(cocm_record(episode="later").work(15), tmp_path)
    assert found["by"] == "2026-03-31"
    assert found["minutes"] == (
        "15 minutes are counted. With more time of the behavioral health care manager (or the billing practitioner in "
        "person) by 2026-03-31: 1 more minute: G2214 (CoCM, short month); 16 more: 99493 (CoCM, later calendar month)."
    )


@pytest.mark.parametrize(
    ("minutes", "arguments", "tiers"),
    [
        (1, [], [("G2214", 16), ("99492", 36)]),
        (16, [], [("99492", 36)]),
        (16, ["--set", "policy.cocm_threshold=full"], [("99492", 70)]),
        (36, [], [("99494", 86)]),
        (86, [], [("99494", 116)]),
        (86, ["--set", "policy.max_99494=1"], []),
    ],
)
def test_tiers_are_policys_under_the_sites_switches(
    tmp_path: Path, minutes: int, arguments: list[str], tiers: list[tuple[str, int]]
) -> None:
    found = explained(cocm_record().work(minutes), tmp_path, *arguments)["care_manager"]["tiers"]
    assert found == [{"code": code, "at": at, "missing": at - minutes} for code, at in tiers]


def test_a_service_of_a_day_hides_no_tier_of_the_month(tmp_path: Path) -> None:
    record = cocm_record().work(15).condition("R45.851").work(40, 5, kind="safety-planning", by="pcp")
    assert [tier["code"] for tier in missing(record, tmp_path)["tiers"]] == ["G2214", "99492"]


def test_one_minute_is_counted(tmp_path: Path) -> None:
    assert missing(cocm_record().work(1), tmp_path)["minutes"].startswith("1 minute is counted. ")


def test_the_care_manager_sees_which_elements_are_not_documented(tmp_path: Path) -> None:
    found = missing(cocm_record().work(40).without("outreach"), tmp_path)
    assert found["elements"] == [
        "No outreach is documented in the month; do it by 2026-03-31, or enter it if it was done "
        "(finished, in the month, by a member of the team), or attest it."
    ]
    assert (found["blocks"], found["unclear"]) == ([], [])


def test_each_tier_lists_the_elements_of_its_own_code(tmp_path: Path) -> None:
    found = missing(cocm_record().work(15).without("outreach").without("registry-tracking"), tmp_path)
    assert [text.partition(" is ")[0] for text in found["elements"]] == ["99492: no outreach", "No registry tracking"]


def test_what_no_minutes_can_cure_comes_before_the_minutes(tmp_path: Path) -> None:
    file = tmp_path / "record.ndjson"
    file.write_text(cocm_record().work(15).without("Condition").ndjson(), encoding="utf-8")
    text = run("--for", "care-manager", str(file)).stdout
    assert text.index("No behavioral health condition") < text.index("15 minutes are counted")
    assert "Nothing else" not in text


def test_the_care_manager_sees_what_blocks_and_what_is_unclear(tmp_path: Path) -> None:
    record = cocm_record().work(40).without("Condition").change("Consent", policyRule=None)
    found = missing(record, tmp_path)
    assert [text.partition(" (")[0] for text in found["blocks"]] == ["No behavioral health condition"]
    assert [text.partition(":")[0] for text in found["unclear"]] == ["Consent/maria-consent-1"]


def test_another_payer_is_for_a_person_and_blocks_nothing(tmp_path: Path) -> None:
    found = missing(cocm_record().work(40).without("Coverage").coverage("5"), tmp_path)
    assert found["blocks"] == []
    assert [text.partition(" than ")[0] for text in found["unclear"]] == ["Only another payer"]


def test_after_the_month_only_what_was_done_can_be_added(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    record = cocm_record().work(35).without("outreach")
    file = tmp_path / "record.ndjson"
    file.write_text(record.ndjson(), encoding="utf-8")
    said = "The month is over: only work that was done and not yet entered can still be added."
    today_is(monkeypatch, date(2026, 3, 31))
    assert said not in run(str(file)).stdout
    today_is(monkeypatch, date(2026, 4, 1))
    assert said in run(str(file)).stdout
    found = missing(record, tmp_path)
    assert found["month_is_over"]
    assert "by 2026-03-31" not in found["minutes"] + found["elements"][0]


def test_an_entry_that_no_map_knows_is_for_whoever_keeps_the_maps(tmp_path: Path) -> None:
    other = {"type": [{"coding": [{"system": "urn:local", "code": "bh-touch"}]}]}
    record = cocm_record().work(35).work(24, 5, **other)
    found = missing(record, tmp_path)
    assert found["not_counted"] == [
        "24 minutes of Encounter/maria-work-2 on 2026-03-05: its code is in no map; "
        "ask whoever keeps the site's maps (bhi-fhir mappings report)."
    ]
    [unclear] = [text for text in found["unclear"] if "minutes are counted" in text]
    assert unclear.endswith("; ask whoever keeps the site's maps (bhi-fhir mappings report).")
    assert not found["nothing_else"]
    assert "(its code is in no map)" in said(record, tmp_path)["not_counted"]


def test_something_may_still_be_missing_while_time_is_unread(tmp_path: Path) -> None:
    assert missing(cocm_record().work(40), tmp_path)["nothing_else"]
    unread = cocm_record().work(40).work(20, 5, period={"start": "2026-03-05T10:00:00-06:00"})
    assert not missing(unread, tmp_path)["nothing_else"]


def test_the_care_manager_sees_what_would_make_an_entry_count(tmp_path: Path) -> None:
    found = missing(cocm_record().work(40).work(20, 5, status="in-progress"), tmp_path)
    assert found["not_counted"] == [
        "20 minutes of Encounter/maria-work-2 on 2026-03-05 (it is not finished): "
        "counts once the entry is finished, if it was done."
    ]


def test_a_month_at_its_end_says_that_no_code_follows(tmp_path: Path) -> None:
    found = missing(general_record().work(25), tmp_path)
    assert found["minutes"] == "25 minutes are counted; more of them reach no further code."


def test_there_is_advice_for_every_requirement_and_for_every_reason() -> None:
    assert set(HELP) == {*policy().requirements, "policy-verified"}
    assert set(REMEDY) == set(tally.BECAUSE)


def test_a_month_before_the_policy_is_not_to_be_re_read(tmp_path: Path) -> None:
    file = tmp_path / "record.ndjson"
    file.write_text(cocm_record(month="2024-12").work(40).ndjson(), encoding="utf-8")
    text = " ".join(run("--for", "care-manager", str(file), month="2024-12").stdout.split())
    assert "verified 2025-01 to 2026-12, no earlier month is drafted" in text
    assert "verified_through" not in text


# -- the command ------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda f: f.stem)
def test_every_example_is_explained_without_a_name(file: Path) -> None:
    done = run(str(file), month="2026-09")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "Synthetic" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert done.stdout == run(str(file), month="2026-09").stdout


@pytest.mark.parametrize(("reader", "has"), [("biller", {"biller"}), ("care-manager", {"care_manager"})])
def test_each_reader_gets_only_what_is_for_that_reader(tmp_path: Path, reader: str, has: set[str]) -> None:
    assert set(explained(cocm_record().work(40), tmp_path, "--for", reader)) == {"file", "patient"} | has


def test_one_patient_of_several_can_be_asked_for() -> None:
    files = [str(f) for f in EXAMPLES]
    done = run("--patient", "Patient/rosa", *files, month="2026-09")
    assert done.stdout.startswith("Patient/rosa, 2026-09")
    assert done.stdout == run("--patient", "rosa", *files, month="2026-09").stdout
    assert done.stdout.count("For the biller") == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--patient", "Patient/nobody"], "hold no such patient"),
        (["--code", "99999"], "99999 is not modelled"),
        (["--code", "G0560"], "G0560 is not asked of these patients in 2026-09"),
    ],
)
def test_what_is_not_there_is_wrong_usage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    from bhi_fhir.cli import main

    command = ["bhi-fhir", "explain", "--site", str(SITE), "--month", "2026-09", *arguments, str(EXAMPLES[0])]
    monkeypatch.setattr("sys.argv", command)
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


def test_a_file_that_cannot_be_read_is_set_aside_and_the_others_are_explained(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text("no JSON", encoding="utf-8")
    done = run(str(broken), str(EXAMPLES[0]), month="2026-09")
    assert done.exit_code == 1
    assert "set aside:" in done.stderr
    assert "For the biller" in done.stdout
