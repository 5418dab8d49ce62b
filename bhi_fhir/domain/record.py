"""One patient's record as billing sees it: frozen values, no FHIR left in them.

References are strings: "Type/id", else the fullUrl under which the resource stood.
`None` always means "the record does not say" and never "no".
"""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum

from msgspec import field
from msgspec.structs import force_setattr

from bhi_fhir.domain.time import ALWAYS, Moment, Period, Span
from bhi_fhir.domain.value import Value

ANYBODY = "*"
"""In a consent's `names`: whoever bills."""


class Program(StrEnum):
    COCM = "cocm"
    GENERAL = "general-bhi"


class Role(StrEnum):
    """What somebody does on a care team."""

    TREATING = "treating-practitioner"
    CARE_MANAGER = "behavioral-health-care-manager"
    CONSULTANT = "psychiatric-consultant"
    CLINICAL_STAFF = "clinical-staff"
    ADMINISTRATIVE = "administrative-staff"


class SetAside(Value, frozen=True):
    """A record that could not be read: where it stood and why. Never patient data."""

    file: str
    at: str
    resource: str
    reason: str


class Withheld(Value, frozen=True):
    """A part of the record that could not be read whole.

    `part` is a resource type, or "*" for the whole record.
    """

    part: str
    reason: str
    began: str = ""
    """The day from which the missing resource speaks ("2026-03-04"), where that much of it can be read."""


class Person(Value, frozen=True):
    """What a practitioner is, by NUCC code: e.g. {"physician", "psychiatric-prescriber"}. Empty: nothing says."""

    ref: str
    kinds: frozenset[str]
    organizations: frozenset[str] = frozenset()


class Member(Value, frozen=True):
    """A place on a team. `person` None: nobody is named; `roles` empty: no map knows the role."""

    person: str | None
    roles: frozenset[Role]
    period: Period = ALWAYS


class Team(Value, frozen=True):
    """A care team. `certain` is False for one that is ended without an end date.

    `possible`: no map knows its category or any role on it, and the patient has no team that one knows.
    """

    ref: str
    program: Program
    members: tuple[Member, ...]
    period: Period = ALWAYS
    certain: bool = True
    possible: bool = False

    def membership(self, member: Member) -> Span:
        return max(self.period.opens, member.period.opens), min(self.period.closes, member.period.closes)


class Activity(Value, frozen=True):
    """A piece of work, or something that no map can place (`kinds` empty).

    `when` is its beginning. `duration` None with `trouble` empty: it documents no time.
    `trouble` says why time, person or state cannot be read.
    """

    ref: str
    kinds: frozenset[str]
    state: str
    """done | not-done | unknown"""
    people: frozenset[str]
    when: Moment | None
    duration: timedelta | None = None
    trouble: str = ""
    billing_codes: frozenset[str] = frozenset()
    """Codes of other, separately billed services that the entry carries."""
    inside: str | None = None
    """The Encounter that a Procedure belongs to."""
    device_cleared: bool | None = None
    risk: bool = False
    """The entry's own reason is a mapped suicide or overdose risk."""
    span: Span | None = None
    """From when to when, if both are known to the instant: follows from `when` and `duration`."""

    def __post_init__(self) -> None:
        span = None
        if self.when is not None and self.when.exact and self.duration is not None:
            span = self.when.earliest, self.when.earliest + self.duration
        force_setattr(self, "span", span)


class Visit(Value, frozen=True):
    """A visit that opens BHI, or may: finished, with a code of such visits, or one that no map can place.

    `groups`: see mappings/base/initiating-visit*; "unplaced" where it may be of any. `codes`: all that it carries.
    """

    ref: str
    groups: frozenset[str]
    codes: frozenset[str]
    people: frozenset[str]
    when: Moment | None


class OtherService(Value, frozen=True):
    """Time of a separately billed service, which is not BHI time for the same person."""

    ref: str
    people: frozenset[str]
    span: Span


class Stay(Value, frozen=True):
    """An inpatient stay or an emergency visit."""

    ref: str
    kind: str
    """inpatient | emergency"""
    period: Period
    finished: bool | None
    """None: the record does not say whether it took place."""


class Consent(Value, frozen=True):
    """A permission, a refusal, or a consent that no map can place.

    `names` None: no actor; then any practitioner of `organizations`.
    `doubt` says why it cannot be relied on although it may be valid.
    """

    ref: str
    kind: str
    """bhi | interprofessional | unplaced"""
    permits: bool
    given: Moment | None
    names: frozenset[str] | None = None
    organizations: frozenset[str] = frozenset()
    period: Period = ALWAYS
    terms: bool = False
    doubt: str = ""


class Screening(Value, frozen=True):
    """A rating scale. `scale` "" where no map knows the questionnaire; `total` None where it cannot be scored."""

    ref: str
    scale: str
    when: Moment | None
    complete: bool
    total: int | None = None
    risk: bool = False
    """The scale's risk item is positive."""
    remark: str = ""
    doubt: str = ""
    """Why nothing says whether it is complete: it has a total or an answer that cannot be read."""


class Diagnosis(Value, frozen=True):
    """A condition. `behavioral` None: coded only in a way that no map knows."""

    ref: str
    behavioral: bool | None
    period: Period
    doubt: str = ""
    icd10: str = ""
    risk: bool = False


class Charge(Value, frozen=True):
    """A service that is already charged. `code` "": none can be read. `when` None: nothing says for which month."""

    ref: str
    code: str
    units: int
    when: Period | None
    practitioners: frozenset[str] = frozenset()
    doubt: str = ""


class Cover(Value, frozen=True):
    """An insurance. `medicare` None: no map knows the payer's type."""

    ref: str
    medicare: bool | None
    period: Period
    order: int | None = None
    doubt: str = ""


class CareEpisode(Value, frozen=True):
    """An EpisodeOfCare of a BHI program."""

    ref: str
    program: Program
    period: Period
    doubt: str = ""


class Attestation(Value, frozen=True):
    """What a named person vouches for: that a review requirement of one patient's month is met.

    `reference` is where it is documented: "Type/id", or words such as "paper chart, 12 March".
    """

    requirement: str
    by: str
    on: date
    because: str
    reference: str


class Chart(Value, frozen=True):
    """Everything about one patient that a month's decision may rest on."""

    patient: str
    people: dict[str, Person] = field(default_factory=dict)
    teams: tuple[Team, ...] = ()
    activities: tuple[Activity, ...] = ()
    visits: tuple[Visit, ...] = ()
    other_services: tuple[OtherService, ...] = ()
    stays: tuple[Stay, ...] = ()
    consents: tuple[Consent, ...] = ()
    screenings: tuple[Screening, ...] = ()
    diagnoses: tuple[Diagnosis, ...] = ()
    charges: tuple[Charge, ...] = ()
    covers: tuple[Cover, ...] = ()
    care_episodes: tuple[CareEpisode, ...] = ()
    died: Moment | None = None
    withheld: tuple[Withheld, ...] = ()
    security: tuple[tuple[str, str, str], ...] = ()
    """Security labels of the record: (reference, system, code)."""
    warnings: tuple[str, ...] = ()
    attested: tuple[Attestation, ...] = ()

    def kinds_of(self, person: str) -> frozenset[str]:
        known = self.people.get(person)
        return known.kinds if known else frozenset()

    def lacks(self, *parts: str, before: date | None = None) -> str:
        """Why absence proves nothing in one of these parts of the record; "" if they were read whole.

        `before`: only what may speak of an earlier time matters.
        """
        for held in self.withheld:
            if held.part == "*" or held.part in parts:
                if before and held.began > str(before):
                    continue
                return held.reason
        return ""
