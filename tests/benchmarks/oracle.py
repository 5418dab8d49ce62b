"""A second opinion in SQL: what DuckDB decides of the generated export, patient by patient.

It shares no code with bhi_fhir: it reads the NDJSON by itself (explicit columns: left to guess, DuckDB reads ids as
UUIDs and dates as times) and holds the thresholds, code lists and levels again, written from the contract.

Decided here for every kind of patient that generate.py makes: the program, the month's minutes in the practice's zone
(a minute once, by who is on the team, done, BHI work, not after death), the first or a later month, consent, the
initiating visit within a year, diagnosis, the team of three, scale, documented elements, near remission, payer,
APCM, a competing charge; from those 99492/99493/G2214, 99494 with its units, 99484, G0568/G0569/G0570, and the status
of each line.

Not covered, because generate.py makes none of it: minutes by `length`, work across the month's border, before
the consent or in another service's time, changes of team, six-month breaks, merged or repeated resources, who may
bill by specialty (all treating practitioners are physicians), and the sentences and evidence of findings. Nobody made
so far has too few minutes only because one entry has no end, so that rule stands here untried. The generator comes
near neither the month's border nor an overlap: test_bulk.py moves its times there.

Left out and counted, by one rule: a patient with an Encounter whose `period` is no object. Such a line is set aside
and everything that rests on absence becomes unknown: what withheld data do is tested by test_withheld.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import orjson

_CODING = "STRUCT(coding STRUCT(system VARCHAR, code VARCHAR)[])"
_REF = "STRUCT(reference VARCHAR)"
_COLUMNS = {
    "Patient": {"id": "VARCHAR", "deceasedDateTime": "VARCHAR"},
    "Coverage": {"beneficiary": _REF, "type": _CODING},
    "Consent": {
        "patient": _REF, "status": "VARCHAR", "dateTime": "TIMESTAMPTZ",
        "provision": f"STRUCT(actor STRUCT(reference {_REF})[])",
    },
    "CareTeam": {
        "subject": _REF, "category": f"{_CODING}[]",
        "participant": f"STRUCT(role {_CODING}[], member {_REF})[]",
    },
    "Condition": {"subject": _REF, "verificationStatus": _CODING, "code": _CODING},
    "Encounter": {
        "subject": _REF, "status": "VARCHAR", "type": f"{_CODING}[]",
        "participant": f"STRUCT(individual {_REF})[]", "period": "JSON",
    },
    "Procedure": {
        "subject": _REF, "status": "VARCHAR", "code": _CODING, "performer": f"STRUCT(actor {_REF})[]",
        "performedPeriod": 'STRUCT("start" TIMESTAMPTZ, "end" TIMESTAMPTZ)', "performedDateTime": "TIMESTAMPTZ",
    },
    "QuestionnaireResponse": {
        "subject": _REF, "status": "VARCHAR", "authored": "TIMESTAMPTZ",
        "item": "STRUCT(answer STRUCT(valueCoding STRUCT(code VARCHAR))[])[]",
    },
    "ChargeItem": {"subject": _REF, "status": "VARCHAR", "code": _CODING, "occurrenceDateTime": "DATE"},
}  # fmt: skip

_SQL = """
CREATE TABLE span AS SELECT timezone('America/Chicago', TIMESTAMP '2026-03-01') AS opens,
    timezone('America/Chicago', TIMESTAMP '2026-04-01') AS closes;

CREATE TABLE person AS SELECT 'Patient/' || id AS patient, CAST(deceasedDateTime AS DATE) AS died FROM Patient;

CREATE TABLE left_out AS SELECT DISTINCT subject.reference AS patient FROM Encounter
    WHERE json_type(period) <> 'OBJECT';

CREATE TABLE member AS SELECT subject.reference AS patient, p.member.reference AS who, p.role[1].coding[1].code AS role
    FROM (SELECT subject, unnest(participant) AS p FROM CareTeam);

CREATE TABLE team AS SELECT subject.reference AS patient, category[1].coding[1].code AS program FROM CareTeam;

CREATE TABLE entry AS
    SELECT subject.reference AS patient, status = 'finished' AS done, type[1].coding[1] AS kind,
        participant[1].individual.reference AS who, TRUE AS timed,
        CAST(period->>'start' AS TIMESTAMPTZ) AS opens, CAST(period->>'end' AS TIMESTAMPTZ) AS closes
    FROM Encounter WHERE json_type(period) = 'OBJECT'
    UNION ALL
    SELECT subject.reference, status = 'completed', code.coding[1], performer[1].actor.reference,
        performedPeriod IS NOT NULL, coalesce(performedPeriod.start, performedDateTime), performedPeriod."end"
    FROM Procedure;

-- Work whose time counts: whose it is depends on the program, the treating practitioner's own always does.
CREATE TABLE work AS
    SELECT e.patient, e.opens, e.closes FROM entry e JOIN team t USING (patient)
        JOIN member m ON m.patient = e.patient AND m.who = e.who JOIN person p ON p.patient = e.patient
    WHERE e.done AND e.timed AND e.kind.system = 'urn:bhi-fhir:activity'
        AND e.kind.code IN ('outreach', 'assessment', 'care-planning', 'follow-up', 'brief-intervention',
            'care-coordination', 'treatment-coordination', 'progress-review', 'registry-tracking',
            'relapse-prevention', 'caseload-consultation')
        AND (m.role IN ('treating-practitioner', 'behavioral-health-care-manager')
            OR (t.program = 'general-bhi' AND m.role IN ('clinical-staff', 'psychiatric-consultant')))
        AND (p.died IS NULL OR e.opens < timezone('America/Chicago', CAST(p.died + 1 AS TIMESTAMP)));

-- A minute once: each entry adds what lies after everything that began before it.
CREATE TABLE counted AS
    WITH told AS (SELECT patient, opens, closes, max(closes) OVER (PARTITION BY patient ORDER BY opens, closes
            ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before
        FROM work, (SELECT opens AS first, closes AS last FROM span)
        WHERE closes IS NOT NULL AND opens >= first AND opens < last)
    SELECT patient, CAST(floor(sum(greatest(0, epoch(closes) - greatest(epoch(opens),
        coalesce(epoch(before), 0)))) / 60) AS INTEGER) AS minutes FROM told GROUP BY patient;

CREATE TABLE facts AS
    SELECT p.patient, t.program, coalesce(c.minutes, 0) AS minutes,
        p.died IS NOT NULL AND p.died < DATE '2026-03-01' AS dead,
        EXISTS (FROM work w, span WHERE w.patient = p.patient AND w.closes IS NULL
            AND w.opens >= span.opens AND w.opens < span.closes) AS unread,
        coalesce((SELECT min(w.opens) FROM work w WHERE w.patient = p.patient AND w.closes IS NOT NULL)
            >= (SELECT opens FROM span), TRUE) AS first_month,
        coalesce((SELECT CASE WHEN n.status = 'active' THEN 'met' ELSE 'unknown' END FROM Consent n, member m
            WHERE n.patient.reference = p.patient AND m.patient = p.patient AND m.role = 'treating-practitioner'
            AND n.provision.actor[1].reference.reference = m.who), 'not-met') AS consent,
        EXISTS (FROM entry e JOIN member m USING (patient, who)
            WHERE e.patient = p.patient AND m.role = 'treating-practitioner' AND e.done AND e.kind.code = '99214'
            AND CAST(timezone('America/Chicago', e.opens) AS DATE) + INTERVAL 1 YEAR >= coalesce((SELECT
                CAST(timezone('America/Chicago', min(w.opens)) AS DATE) FROM work w WHERE w.patient = p.patient
                AND w.closes IS NOT NULL), DATE '2026-03-01')) AS visit,
        (SELECT bool_or(d.verificationStatus.coding[1].code = 'confirmed') FROM Condition d
            WHERE d.subject.reference = p.patient AND d.code.coding[1].code LIKE 'F%') AS diagnosis,
        EXISTS (FROM member m WHERE m.patient = p.patient AND m.role = 'psychiatric-consultant') AS consultant,
        (SELECT list_sum([list_position(['LA6568-5', 'LA6569-3', 'LA6570-1', 'LA6571-9'],
            i.answer[1].valueCoding.code) - 1 FOR i IN q.item])
            FROM QuestionnaireResponse q, span WHERE q.subject.reference = p.patient AND q.status = 'completed'
            AND len(q.item) = 9 AND q.authored >= span.opens AND q.authored < span.closes) AS score,
        coalesce((SELECT list(DISTINCT e.kind.code) FROM entry e JOIN member m USING (patient, who), span
            WHERE e.patient = p.patient AND e.done AND e.opens >= span.opens AND e.opens < span.closes), []) AS done,
        coalesce((SELECT bool_or(v.type.coding[1].code LIKE '1%') FROM Coverage v
            WHERE v.beneficiary.reference = p.patient), TRUE) AS medicare,
        coalesce((SELECT list(g.code.coding[1].code) FROM ChargeItem g WHERE g.subject.reference = p.patient
            AND g.status IN ('billable', 'billed') AND g.occurrenceDateTime BETWEEN DATE '2026-03-01' AND
            DATE '2026-03-31'), []) AS charges
    FROM person p LEFT JOIN team t USING (patient) LEFT JOIN counted c USING (patient);

CREATE TABLE chosen AS
    SELECT *, list_has_any(charges, ['G0556', 'G0557', 'G0558']) AS apcm,
        CASE WHEN program = 'general-bhi' THEN CASE WHEN apcm THEN 'G0570' ELSE '99484' END
            WHEN apcm THEN CASE WHEN first_month THEN 'G0568' ELSE 'G0569' END
            WHEN minutes >= base_at THEN base
            WHEN minutes >= 16 THEN 'G2214'
            ELSE base END AS code,
        CASE WHEN apcm THEN 1 WHEN program = 'general-bhi' THEN 20 WHEN code = 'G2214' THEN 16
            ELSE base_at END AS needed,
        score IS NOT NULL AS scale,
        CASE WHEN code IN ('99492', 'G0568') THEN ['outreach', 'assessment', 'care-planning', 'psychiatric-review',
                'registry-tracking', 'caseload-consultation', 'brief-intervention']
            WHEN program = 'general-bhi' THEN ['care-planning', 'treatment-coordination']
            ELSE ['registry-tracking', 'caseload-consultation', 'care-coordination', 'progress-review',
                'brief-intervention'] || CASE WHEN score < 5 THEN ['relapse-prevention'] ELSE [] END END AS elements
    FROM (SELECT *, CASE WHEN first_month THEN '99492' ELSE '99493' END AS base,
        CASE WHEN first_month THEN 36 ELSE 31 END AS base_at,
        CASE WHEN first_month THEN 70 ELSE 60 END AS base_full FROM facts);

CREATE TABLE decided AS
    SELECT *, CASE
            WHEN program IS NULL OR dead OR diagnosis IS NULL OR consent = 'not-met' OR NOT visit
                OR (program = 'cocm' AND NOT consultant)
                OR (minutes < needed AND NOT unread)
                OR (NOT scale AND code IN ('99492', '99484', 'G0568', 'G0570'))
                OR list_has_any(charges, ['99484']) THEN 'not-billable'
            WHEN consent = 'unknown' OR NOT diagnosis OR minutes < needed OR NOT scale OR NOT medicare
                OR NOT list_has_all(done, elements) THEN 'needs-review'
            ELSE 'billable' END AS status,
        CASE WHEN code IN ('99492', '99493') AND minutes >= base_full + 16
            THEN (minutes - base_full - 16) // 30 + 1 ELSE 0 END AS units
    FROM chosen;
"""


@dataclass(frozen=True)
class Month:
    """Of one patient: the minutes counted, and (code, units, status) of each line."""

    minutes: int
    lines: tuple[tuple[str, int, str], ...]


def second_opinion(folder: Path) -> tuple[dict[str, Month], set[str]]:
    """What SQL decides of each patient, and who is left out of it."""
    with duckdb.connect() as db:
        for kind, columns in _COLUMNS.items():
            source = str(folder / f"{kind}.ndjson")
            db.execute(f"CREATE TABLE {kind} AS FROM read_ndjson(?, columns = ?)", [source, columns])
        db.execute(_SQL)
        left_out = {patient for (patient,) in db.execute("FROM left_out").fetchall()}
        rows = db.execute("SELECT patient, minutes, code, status, units FROM decided").fetchall()
    return {p: Month(minutes, _lines(*said)) for p, minutes, *said in rows if p not in left_out}, left_out


def _lines(code: str, status: str, units: int) -> tuple[tuple[str, int, str], ...]:
    if status == "not-billable":
        return ()
    return ((code, 1, status), ("99494", units, status)) if units else ((code, 1, status),)


def decided_by_bulk(out: Path) -> Iterator[tuple[str, Month]]:
    """The same of what `bulk` wrote."""
    for path in sorted(out.glob("decisions-*.ndjson")):
        for line in path.read_bytes().splitlines():
            said = orjson.loads(line)
            lines = tuple((each["code"], each["units"], each["status"]) for each in said["lines"])
            yield said["patient"], Month(said["minutes"]["counted"], lines)
