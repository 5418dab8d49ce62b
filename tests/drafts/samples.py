"""Decisions and charts by hand: Maria's first CoCM month, her second, and Paul's month of general BHI."""

from __future__ import annotations

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from bhi_fhir.domain.decision import Candidate, Decision, Episode, Finding, Line, Minutes
from bhi_fhir.domain.record import CareEpisode, Chart, Cover, Diagnosis, Program
from bhi_fhir.domain.time import Moment, Period, ServiceMonth
from bhi_fhir.domain.value import replace
from bhi_fhir.drafts.site import DraftRun, DraftSite

ZONE = ZoneInfo("America/Chicago")
MARCH = ServiceMonth.parse("2026-03", ZONE)
CPT = "http://www.ama-assn.org/go/cpt"
HCPCS = "http://www.cms.gov/Medicare/Coding/HCPCSReleaseCodeSets"
CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
ACT_CODE = "http://terminology.hl7.org/CodeSystem/v3-ActCode"

SITE = DraftSite(
    name="Example Family Medicine",
    ruleset="2026.1",
    canonical_base="https://bhi.example.org/fhir/",
    version="0.1.0",
)
RUN = DraftRun(
    site=SITE,
    month=MARCH,
    titles={
        "99492": "CoCM, first month",
        "99493": "CoCM, later month",
        "99494": "CoCM, each 30 minutes more",
        "99484": "General BHI, a month",
        "G0560": "Safety planning",
    },
    adds_to={"99492": (), "99494": ("99492", "99493")},
    created=date(2026, 4, 1),
)


def since(year: int, month: int, day: int) -> Period:
    instant = datetime(year, month, day, 12, tzinfo=UTC)
    return Period(start=Moment(instant, instant))


def until(year: int, month: int, day: int) -> Period:
    instant = datetime(year, month, day, 12, tzinfo=UTC)
    return Period(end=Moment(instant, instant))


def met(requirement: str, *evidence: str) -> Finding:
    return Finding(requirement, "met", f"{requirement} is documented.", "MLN909432", evidence)


def not_met(requirement: str, because: str, *evidence: str) -> Finding:
    return Finding(requirement, "not-met", because, "MLN909432", evidence)


def monthly(code: str, units: int = 1, system: str = CPT) -> Line:
    return Line(code, system, units, "billable", "Practitioner/pcp", date(2026, 3, 31))


MEDICARE = Cover("Coverage/medicare-b", True, since(2020, 1, 1), order=2)
MEDIGAP = Cover("Coverage/medigap", False, since(2020, 1, 1), order=1)
DEPRESSION = Diagnosis("Condition/depression", True, since(2025, 11, 3), icd10="F32.1")
ANXIETY = Diagnosis("Condition/anxiety", True, since(2026, 1, 9), icd10="F41.1")
DIABETES = Diagnosis("Condition/diabetes", False, since(2015, 2, 1), icd10="E11.9")

MARIA = Chart(
    patient="Patient/maria",
    diagnoses=(DEPRESSION, DIABETES, ANXIETY),
    covers=(MEDIGAP, MEDICARE),
    care_episodes=(CareEpisode("EpisodeOfCare/cocm", Program.COCM, since(2026, 3, 2)),),
    security=(
        ("Encounter/call-1", CONFIDENTIALITY, "R"),
        ("Encounter/call-1", ACT_CODE, "42CFRPart2"),
        ("Observation/elsewhere", ACT_CODE, "HIV"),
    ),
)

COCM_FIRST = Decision(
    patient="Patient/maria",
    program="cocm",
    episode=Episode("2026-03", "initial"),
    minutes=Minutes(counted=40, sources=("Encounter/call-1", "Encounter/call-2")),
    lines=(monthly("99492"),),
    candidates=(
        Candidate(
            "99492",
            "billable",
            1,
            (
                met("eligible-condition", "Condition/depression"),
                met("consent", "Consent/verbal"),
                met("minutes", "Encounter/call-2", "Encounter/call-1"),
                met(
                    "rating-scale",
                    "QuestionnaireResponse/phq9",
                    "urn:uuid:0a1b2c3d-0000-4000-8000-000000000001",
                ),
                met("assessment", "Encounter/call-1"),
            ),
        ),
        Candidate(
            "99484",
            "not-billable",
            0,
            (not_met("exclusivity", "CoCM is billed this month; general BHI is not billed beside it."),),
        ),
    ),
)

COCM_LATER = replace(
    COCM_FIRST,
    episode=Episode("2026-01", "later"),
    minutes=Minutes(counted=110),
    lines=(monthly("99494", units=2), monthly("99493")),
    candidates=(
        Candidate("99493", "billable", 1, (met("minutes", "Encounter/call-1"), met("consent", "Consent/verbal"))),
        Candidate("99494", "billable", 2, (met("minutes", "Encounter/call-1"),)),
    ),
)

PAUL = Chart(
    patient="Patient/paul",
    diagnoses=(replace(ANXIETY, ref="Condition/paul-anxiety"),),
    covers=(Cover("Coverage/paul-medicare", True, since(2021, 1, 1)),),
)

GENERAL = Decision(
    patient="Patient/paul",
    program="general-bhi",
    episode=None,
    minutes=Minutes(counted=24),
    lines=(monthly("99484"),),
    candidates=(
        Candidate("99484", "billable", 1, (met("minutes", "Encounter/paul-call"), met("consent", "Consent/paul"))),
        Candidate(
            "G0323",
            "not-billable",
            0,
            (
                not_met("minutes", "The billing professional personally worked 0 of 20 minutes."),
                Finding("initiating-visit", "unknown", "A visit on 2026-02-02 has no code.", "MLN909432"),
            ),
        ),
    ),
)
