"""A track: whose time a code counts, and who may bill it. Codes that share both share one count."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from bhi_fhir.domain.record import Chart, Member, Program, Role, Team
from bhi_fhir.domain.time import Moment, Span
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

_ROLES = {
    "care-manager": frozenset({Role.CARE_MANAGER}),
    "clinical-staff": frozenset({Role.CLINICAL_STAFF, Role.CARE_MANAGER, Role.CONSULTANT}),
    "billing-practitioner": frozenset[Role](),
}


@dataclass(frozen=True, slots=True)
class Track:
    """`teams` is the program whose teams do the work; it differs from `program` only for a fallback (A21)."""

    program: Program
    teams: Program
    time_of: str
    billers: frozenset[str]

    @classmethod
    def of(cls, code: Code, teams: Program | None = None) -> Track:
        program = Program(code.program)
        return cls(program, teams or program, code.time_of, code.billers)

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


def members_at(chart: Chart, program: Program, when: datetime) -> list[tuple[Team, Member]]:
    """Who is on the program's teams at an instant."""
    return [
        (team, member)
        for team in chart.teams
        if team.program == program and team.period.holds(when)
        for member in team.members
        if member.period.holds(when)
    ]


def members_in(chart: Chart, program: Program, span: Span) -> list[tuple[Team, Member]]:
    """Who is on the program's teams at any time of a stretch."""
    found = []
    for team in chart.teams:
        if team.program != program:
            continue
        for member in team.members:
            start, end = team.membership(member)
            if start < end and start < span[1] and end > span[0]:
                found.append((team, member))
    return found


def members_on(chart: Chart, program: Program, moment: Moment) -> list[tuple[Team, Member]]:
    """Who is on the program's teams at a moment, as exactly as it is known."""
    if moment.exact:
        return members_at(chart, program, moment.earliest)
    return members_in(chart, program, window(moment))


def known_kind(kinds: frozenset[str], wanted: frozenset[str]) -> bool | None:
    """Is somebody of one of the wanted kinds? None if nothing says."""
    if kinds & wanted:
        return True
    return None if not kinds or "undetermined" in kinds else False
