"""A track: whose time a code counts, and who may bill it. Codes that share both share one count."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from bhi_fhir.domain.record import Chart, Member, Program, Role, Team
from bhi_fhir.domain.time import Moment, Span
from bhi_fhir.domain.value import Value
from bhi_fhir.policy import Code, Switches

BHI_KINDS = frozenset(
    {
        "outreach",
        "assessment",
        "care-planning",
        "follow-up",
        "brief-intervention",
        "care-coordination",
        "treatment-coordination",
        "progress-review",
        "registry-tracking",
        "relapse-prevention",
        "caseload-consultation",
    }
)
"""Kinds of work whose time counts for CoCM and general BHI."""

OWN_SERVICES = frozenset(
    {
        "safety-planning",
        "crisis-follow-up",
        "interprofessional-consultation",
        "interprofessional-consultation-written",
        "interprofessional-referral",
        "dmht-supply",
        "dmht-management",
        "dmht-interactive-contact",
        "dmht-device-use",
    }
)
"""Kinds of work that are services of their own: none of them shares minutes with BHI."""

_ROLES = {
    "care-manager": frozenset({Role.CARE_MANAGER}),
    "clinical-staff": frozenset({Role.CLINICAL_STAFF, Role.CARE_MANAGER, Role.CONSULTANT}),
    "billing-practitioner": frozenset[Role](),
}


class Track(Value, frozen=True, eq=False):
    """`teams` is the program whose teams do the work; it differs from `program` only for a fallback (A21).

    Two codes share a track if they have the same one: `of` gives the same to both.
    """

    program: Program
    teams: Program
    time_of: str
    billers: frozenset[str]
    opened_by: frozenset[str]

    @classmethod
    def of(cls, code: Code, teams: Program | None = None) -> Track:
        program = Program(code.program)
        return _one_track(program, teams or program, code.time_of, code.billers, code.opened_by)

    def kinds(self, switches: Switches) -> frozenset[str]:
        """The kinds of work whose time counts."""
        if self.program is Program.COCM and switches.count_consultant_solo_time:
            return BHI_KINDS | {"psychiatric-review"}
        return BHI_KINDS

    def roles(self, switches: Switches) -> frozenset[Role]:
        """The team roles whose time counts; the billing practitioner's own time counts on every track."""
        if self.program is Program.COCM and switches.count_consultant_solo_time:
            return _ROLES[self.time_of] | {Role.CONSULTANT}
        return _ROLES[self.time_of]


def window(moment: Moment) -> Span:
    """The stretch in which a moment may lie; an instant is taken as its first microsecond."""
    return moment.earliest, max(moment.latest, moment.earliest)


@cache
def _one_track(
    program: Program, teams: Program, time_of: str, billers: frozenset[str], opened_by: frozenset[str]
) -> Track:
    return Track(program, teams, time_of, billers, opened_by)


Place = tuple[datetime, datetime, Team, Member]
"""Somebody's place on a team, and from when to when team and membership both last."""


def places_on(chart: Chart, program: Program) -> list[Place]:
    """Every place on the program's teams."""
    return [
        (*team.membership(member), team, member)
        for team in chart.teams
        if team.program == program
        for member in team.members
    ]


def at_instant(places: list[Place], when: datetime) -> list[Place]:
    """Who is there at an instant; an exact end is still inside."""
    return [
        place
        for place in places
        if place[0] <= when
        and (when < place[1] or (when == place[1] and place[2].period.holds(when) and place[3].period.holds(when)))
    ]


def in_stretch(places: list[Place], span: Span) -> list[Place]:
    """Who is there at any time of a stretch."""
    start, end = span
    return [place for place in places if place[0] < end and start < place[1] and place[0] < place[1]]


def at_moment(places: list[Place], moment: Moment) -> list[Place]:
    """Who is there at a moment, as exactly as it is known."""
    return at_instant(places, moment.earliest) if moment.exact else in_stretch(places, window(moment))


def members_on(chart: Chart, program: Program, moment: Moment) -> list[tuple[Team, Member]]:
    """Who is on the program's teams at a moment, as exactly as it is known."""
    return [(team, member) for _, _, team, member in at_moment(places_on(chart, program), moment)]


def known_kind(kinds: frozenset[str], wanted: frozenset[str]) -> bool | None:
    """Is somebody of one of the wanted kinds? None if nothing says."""
    if kinds & wanted:
        return True
    return None if not kinds or "undetermined" in kinds else False
