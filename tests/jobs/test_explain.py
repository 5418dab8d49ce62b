"""Explanations: what a biller pastes into an appeal, and what a care manager still has to document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from record import Record, cocm_record, g0323_record, general_record

from bhi_fhir.cli import cli
from bhi_fhir.jobs.advice import HELP, REMEDY
from bhi_fhir.policy import policy
from bhi_fhir.policy.trace import sentences
from bhi_fhir.rules import counting

SITE = Path(__file__).parents[2] / "mappings" / "sites" / "example"
EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "patients").glob("*.json"))
BHCM = "Practitioner/bhcm (behavioral health care manager)"


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


def test_a_line_says_how_many_minutes_count_from_how_many_entries(tmp_path: Path) -> None:
    found = said(cocm_record().work(20).work(22, 4), tmp_path)
    assert found["minutes"] == "42 minutes are counted, from 2 entries; the code asks for 36."
    assert found["not_counted"] == "No time was left out."


def test_a_line_says_when_a_switch_made_its_threshold(tmp_path: Path) -> None:
    found = line(cocm_record().work(80), tmp_path, "", "--set", "policy.cocm_threshold=full")
    assert found["sentences"]["minutes"] == (
        "80 minutes are counted, from 1 entry; the code asks for 70 (site policy cocm_threshold = full)."
    )


def test_a_line_says_which_minutes_do_not_count_and_why(tmp_path: Path) -> None:
    found = said(cocm_record().work(40).work(30, 5, kind="administrative"), tmp_path)
    assert found["not_counted"] == (
        "Not counted: 30 minutes of Encounter/maria-work-2 on 2026-03-05 "
        "(administrative and clerical time never counts)."
    )


def test_a_line_says_what_is_on_file(tmp_path: Path) -> None:
    found = said(cocm_record().work(40), tmp_path)
    assert found["consent"] == (
        "Consent: given on 2026-02-20 09:30 for Practitioner/pcp, in a form that tells of specialists, cost sharing "
        "and supplemental insurance (Consent/maria-consent-1)."
    )
    assert found["visit"] == (
        "Initiating visit: on 2026-02-20 with Practitioner/pcp, with a code that qualifies (Encounter/maria-visit-1)."
    )
    assert found["scale"] == (
        "Rating scale: PHQ-9 with a score of 11 on 2026-03-10 (QuestionnaireResponse/maria-scale-1)."
    )
    assert found["consultant"] == (
        "The psychiatric consultant's review: on 2026-03-10 by Practitioner/psych (psychiatric consultant) "
        "(Procedure/maria-psychiatric-review-1)."
    )
    assert found["episode"] == "2026-03 is the episode's first calendar month."
    assert "behavioral health condition (F33.1) is in force (Condition/maria-condition-1)." in found["also"]


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
    assert found["sentences"]["episode"] == "2026-02 is the episode's first calendar month, 2026-03 a later one."


def test_a_line_cites_cms_for_every_requirement_and_names_the_sentences_of_the_booklet(tmp_path: Path) -> None:
    found = line(cocm_record().work(40), tmp_path)
    assert "Advanced Patient Consent (consent)" in found["sentences"]["cms"]
    known = {s.id for s in sentences()}
    asks = {r["requirement"]: r["booklet"] for r in found["required_by"]}
    assert "99492-consultant-review" in asks["psychiatric-review"]
    assert all(ids and set(ids) <= known for ids in asks.values())


def test_a_line_for_review_says_what_a_person_must_decide(tmp_path: Path) -> None:
    found = line(cocm_record().work(40).without("brief-intervention"), tmp_path)
    assert found["status"] == "needs-review"
    assert found["sentences"]["decide"] == (
        "A person must decide. Brief-intervention: no brief intervention is documented in the month. "
        "To settle it: enter it if it was done (finished, in the month, by a member of the team), or attest it."
    )


def test_an_unknown_is_called_unknown(tmp_path: Path) -> None:
    found = line(cocm_record().work(40).change("Consent", policyRule=None), tmp_path)
    assert (
        "Consent (unknown): Consent/maria-consent-1: nothing says that the three facts" in found["sentences"]["decide"]
    )
    assert "consent" not in found["sentences"]


def test_a_month_without_line_says_what_stands_against_the_nearest_code(tmp_path: Path) -> None:
    found = line(cocm_record().work(40).without("Condition"), tmp_path)
    assert (found["code"], found["status"], found["date_of_service"]) == ("99492", "not-billable", None)
    assert found["sentences"]["against"].startswith("It is not billable: eligible-condition: no behavioral health")


def test_the_add_on_has_a_paragraph_of_its_own(tmp_path: Path) -> None:
    lines = explained(cocm_record().work(90), tmp_path)["biller"]
    assert [x["code"] for x in lines] == ["99492", "99494"]
    assert "90 minutes reach 1 unit" in lines[1]["paragraph"]


def test_a_service_of_a_day_says_its_days_and_its_performer(tmp_path: Path) -> None:
    record = general_record().condition("R45.851").work(40, 5, kind="safety-planning", by="pcp")
    found = line(record, tmp_path, "G0560")["sentences"]
    assert found["days"] == "By day: 2 units on 2026-03-05."
    assert "By Practitioner/pcp (treating practitioner): safety planning on 2026-03-05 10:00 to 10:40" in found["work"]
    assert "Practitioner/pcp performed it and may bill it" in found["also"]
    assert "not_counted" not in found


def test_a_consultation_is_told_in_the_words_of_its_findings(tmp_path: Path) -> None:
    record = cocm_record().person("cp").work(12, 16, kind="interprofessional-consultation", by="cp")
    found = line(record, tmp_path, "G0547")["sentences"]
    assert found["minutes"] == "12 minutes of one person on one day; the code is for 11 to 20."
    assert found["work"].endswith(
        "By Practitioner/cp (not on the care team): interprofessional consultation on 2026-03-16 10:00 to 10:12 "
        "(Encounter/maria-work-1)."
    )


def test_one_code_can_be_asked_for_though_it_is_not_billable(tmp_path: Path) -> None:
    found = line(cocm_record().work(40), tmp_path, "99484", "--code", "99484")
    assert "CoCM (99492) is the family of this month" in found["sentences"]["against"]


def test_the_paragraph_is_its_sentences(tmp_path: Path) -> None:
    found = line(cocm_record().work(40), tmp_path)
    assert found["paragraph"] == " ".join(found["sentences"].values())


def test_somebody_who_was_not_on_the_team_is_called_so(tmp_path: Path) -> None:
    record = cocm_record().work(40, by=["bhcm", "nurse"]).person("nurse")
    assert f"{BHCM} and Practitioner/nurse (not on the care team)" in said(record, tmp_path)["work"]


# -- the care manager -------------------------------------------------------------------------------


def test_the_care_manager_sees_the_minutes_to_the_next_code_and_until_when(tmp_path: Path) -> None:
    found = missing(cocm_record().work(35), tmp_path)
    assert found["until"] == "2026-03-31"
    assert found["minutes"] == (
        "35 minutes counted. Until 2026-03-31, 1 more minute of the behavioral health care manager (or the billing "
        "practitioner in person) reaches 99492 (CoCM, first calendar month) at 36."
    )


def test_the_care_manager_sees_which_elements_are_not_documented(tmp_path: Path) -> None:
    found = missing(cocm_record().work(40).without("outreach"), tmp_path)
    assert found["elements"] == [
        "outreach: no outreach is documented in the month; do it until 2026-03-31, or enter it if it was done "
        "(finished, in the month, by a member of the team), or attest it."
    ]
    assert (found["blocks"], found["unclear"]) == ([], [])


def test_the_care_manager_sees_what_blocks_and_what_is_unclear(tmp_path: Path) -> None:
    record = cocm_record().work(40).without("Condition").change("Consent", policyRule=None)
    found = missing(record, tmp_path)
    assert [text.partition(":")[0] for text in found["blocks"]] == ["eligible-condition"]
    assert [text.partition(":")[0] for text in found["unclear"]] == ["consent"]


def test_the_care_manager_sees_what_would_make_an_entry_count(tmp_path: Path) -> None:
    found = missing(cocm_record().work(40).work(20, 5, status="in-progress"), tmp_path)
    assert found["not_counted"] == [
        "20 minutes of Encounter/maria-work-2 on 2026-03-05 (it is not finished): "
        "counts once the entry is finished, if it was done."
    ]


def test_a_month_at_its_end_says_that_no_code_follows(tmp_path: Path) -> None:
    found = missing(general_record().work(25), tmp_path)
    assert found["minutes"] == "25 minutes counted; more of them reach no further code."


def test_there_is_advice_for_every_requirement_and_for_every_reason() -> None:
    assert set(HELP) == {*policy().requirements, "policy-verified"}
    assert set(REMEDY) == set(counting._BECAUSE)


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
