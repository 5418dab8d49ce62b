"""Writes examples/patients/: one patient for each situation that a care manager knows.

Run it after a change: `python tests/make_examples.py`. A test checks that the files are what it makes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from record import Record, cocm_record, g0323_record, general_record

MONTH = "2026-09"
FOLDER = Path(__file__).parent.parent / "examples" / "patients"


@dataclass(frozen=True)
class Example:
    """One patient: the file's name, the situation, what to expect and why, and the lines of the answer."""

    stem: str
    situation: str
    expect: str
    make: Callable[[], Record]
    billable: dict[str, int] = field(default_factory=dict)
    review: dict[str, int] = field(default_factory=dict)


def maria() -> Record:
    record = cocm_record(MONTH, patient="maria", mbi="1S00E00AA01")
    return record.work(24, 3, kind="assessment").work(18, 17, "14:30")


def james() -> Record:
    record = cocm_record(MONTH, "later", "james", gender="male", born="1948-11-02", mbi="1S00E00AA02")
    return record.work(45, 2, "09:00").work(40, 15, "13:15", "brief-intervention").work(35, 24, "16:00")


def rosa() -> Record:
    record = cocm_record(MONTH, "later", "rosa", born="1955-03-21", mbi="1S00E00AA03")
    return record.work(9, 8, "11:20").work(6, 22, "15:05")


def walter() -> Record:
    record = general_record(MONTH, "walter", gender="male", born="1946-05-30", mbi="1S00E00AA04")
    return record.work(15, 9, "10:30", "care-planning").work(10, 23, "09:45", "treatment-coordination")


def linda() -> Record:
    record = general_record(MONTH, "linda", born="1953-12-08", mbi="1S00E00AA05")
    return record.work(11, 4, "13:00").work(8, 18, "13:00")


def george() -> Record:
    record = cocm_record(MONTH, patient="george", gender="male", born="1950-01-17", mbi="1S00E00AA06")
    record.without("Consent").consent("2026-09-25T09:00")
    return record.work(25, 3, kind="assessment").work(15, 16, "15:30").work(10, 29, "11:00")


def helen() -> Record:
    record = cocm_record(MONTH, "later", "helen", born="1944-08-25", mbi="1S00E00AA07")
    return record.work(45, 14, "10:00").work(40, 14, "10:30", "care-coordination")


def frank() -> Record:
    record = cocm_record(MONTH, patient="frank", gender="male", born="1957-06-11", mbi="1S00E00AA08")
    return record.work(30, 10, "09:30", "assessment").work(20, 11, "12:00", "administrative")


def dorothy() -> Record:
    record = cocm_record(MONTH, "later", "dorothy", born="1942-02-14", mbi="1S00E00AA09")
    return record.work(20, 15, "14:00").work(15, 30, "23:10", id="dorothy-evening-call")


def samuel() -> Record:
    record = cocm_record(MONTH, patient="samuel", gender="male", born="1949-10-05", mbi="1S00E00AA10")
    record.without("99214", "Consent").visit("99214", "2026-01-20").consent("2026-01-20T09:30")
    return record.work(40, "2026-02-10", id="samuel-last-episode").work(44, 9, kind="assessment")


def ruth() -> Record:
    record = cocm_record(MONTH, "later", "ruth", born="1952-04-19", mbi="1S00E00AA11")
    record.without("ruth-month-before").work(10, "2026-08-27", "16:30", "outreach", id="ruth-first-call")
    return record.work(22, 3, kind="assessment").work(18, 17, "10:00")


def carlos() -> Record:
    record = cocm_record(MONTH, patient="carlos", gender="male", born="1954-09-09", mbi="1S00E00AA12")
    record.without("Condition").condition("E11.9")
    return record.work(45, 10, "10:15", "assessment")


def irene() -> Record:
    record = cocm_record(MONTH, patient="irene", born="1956-07-03", mbi="1S00E00AA13")
    record.without("Coverage", "Organization")
    return record.work(20, 2, kind="assessment").work(20, 21, "11:00")


def arthur() -> Record:
    record = g0323_record(MONTH, "arthur", gender="male", born="1947-03-12", mbi="1S00E00AA14")
    return record.work(18, 8, "09:00", "assessment").work(12, 22, "09:00", "care-planning")


def betty() -> Record:
    record = cocm_record(MONTH, patient="betty", born="1958-01-28", mbi="1S00E00AA15")
    return record.without("brief-intervention").work(28, 1, kind="assessment").work(22, 24, "13:30")


def louis() -> Record:
    record = cocm_record(MONTH, patient="louis", gender="male", born="1951-05-06", mbi="1S00E00AA16")
    record.leaves("psych").without("psych", "psych-role", "psychiatric-review", "caseload-consultation")
    return record.work(35, 3, kind="assessment").work(20, 18, "15:00")


EXAMPLES = (
    Example(
        "cocm-first-month-in-order",
        "Collaborative care, first month, 42 minutes, all documented",
        "36 minutes are enough in a first month",
        maria,
        {"99492": 1},
    ),
    Example(
        "cocm-long-month-with-add-ons",
        "A later month with 120 minutes",
        "31 minutes for the base, the first add-on at 76, the second at 106",
        james,
        {"99493": 1, "99494": 2},
    ),
    Example(
        "cocm-one-minute-short",
        "A later month with 15 minutes",
        "one minute is missing for G2214 (16)",
        rosa,
    ),
    Example(
        "general-bhi-in-order",
        "General BHI, 25 minutes by the practice's nurse",
        "20 minutes are enough",
        walter,
        {"99484": 1},
    ),
    Example(
        "general-bhi-one-minute-short",
        "General BHI, 19 minutes",
        "one minute is missing for 99484 (20)",
        linda,
    ),
    Example(
        "consent-too-late",
        "Consent was asked for on the 25th, after 40 of the 50 minutes",
        "only the 10 minutes after the consent count",
        george,
    ),
    Example(
        "overlapping-calls",
        "Two entries of 45 and 40 minutes, 15 of them at the same time",
        "70 minutes count, not 85: no add-on",
        helen,
        {"99493": 1},
    ),
    Example(
        "scheduling-is-not-care",
        "First month, 30 minutes of care and 20 of scheduling",
        "30 minutes count: not yet 99492 (36)",
        frank,
        {"G2214": 1},
    ),
    Example(
        "evening-call-on-the-last-day",
        "A call at 23:10 on the last evening of September, already October in UTC",
        "its 15 minutes belong to September: 35, without it only G2214",
        dorothy,
        {"99493": 1},
    ),
    Example(
        "back-after-six-months",
        "Last worked in February, back in September",
        "six empty months: a new episode and its first month; consent and visit still hold",
        samuel,
        {"99492": 1},
    ),
    Example(
        "first-month-was-too-short",
        "The episode began in August with 10 minutes, too few to bill",
        "September is a later month all the same",
        ruth,
        {"99493": 1},
    ),
    Example(
        "no-behavioral-condition",
        "45 minutes, but diabetes is the only diagnosis on file",
        "no diagnosis from F01 to F99",
        carlos,
    ),
    Example(
        "no-coverage-on-file",
        "40 minutes in order, no Coverage",
        "the line stands, no Claim can be drafted",
        irene,
        {"99492": 1},
    ),
    Example(
        "psychologist-in-person",
        "General BHI, 30 minutes by a clinical psychologist in person, after a 90791",
        "20 minutes of the psychologist's own time are enough",
        arthur,
        {"G0323": 1},
    ),
    Example(
        "brief-intervention-not-documented",
        "50 minutes, but no brief intervention is documented",
        "a person must look",
        betty,
        review={"99492": 1},
    ),
    Example(
        "team-without-consultant",
        "55 minutes, but the team has no psychiatric consultant",
        "no collaborative care without the consultant",
        louis,
    ),
)

EXPECTED = {example.stem: {"billable": example.billable, "review": example.review} for example in EXAMPLES}

README = """# Example patients

Sixteen invented patients of one invented practice; the service month is September 2026.
`bhi-fhir demo` loads them into a FHIR server; offline:

    bhi-fhir evaluate --site mappings/sites/example --month 2026-09 examples/patients/*.json

`python tests/make_examples.py` writes this folder.

| file | situation | what to expect | lines |
|---|---|---|---|
"""


def row(example: Example) -> str:
    counts = [(*line, "") for line in example.billable.items()]
    counts += [(*line, " (needs review)") for line in example.review.items()]
    lines = ", ".join(f"{code}{f' x {units}' if units > 1 else ''}{note}" for code, units, note in counts)
    return f"| `{example.stem}.json` | {example.situation} | {example.expect} | {lines or 'none'} |\n"


def files() -> dict[str, str]:
    """Each file's name and text."""
    bundles = {f"{e.stem}.json": json.dumps(e.make().bundle(), indent=1) + "\n" for e in EXAMPLES}
    return bundles | {"README.md": README + "".join(row(example) for example in EXAMPLES)}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    made = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
