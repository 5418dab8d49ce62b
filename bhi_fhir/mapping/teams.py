"""CareTeam and EpisodeOfCare: who works on the case, in which role, for which program, when."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import CareEpisode, Member, Program, Role, Team
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.terminology import Codings, codings
from bhi_fhir.views.care_team import CareTeam, Participant
from bhi_fhir.views.common import CodeableConcept
from bhi_fhir.views.episode_of_care import EpisodeOfCare

_NO_PRACTITIONER = ("Patient", "RelatedPerson")


def teams(rows: PatientRows, reading: Reading) -> Iterator[Team]:
    """The patient's BHI teams; where none is known, every team none of whose roles a map knows: it may be one."""
    possible = []
    known = False
    for key, row in rows.of(CareTeam):
        if row.status in ("entered-in-error", "proposed"):
            continue
        members = tuple(m for p in row.participant or () if (m := _member(p, key, reading)))
        period = reading.clock.period(row.period)
        ended = row.status in ("inactive", "suspended")
        certain = reading.clock.can_read_period(row.period) and (not ended or period.end is not None)
        programs = _programs(row, members, reading)
        for program in programs:
            known = True
            yield Team(key, program, members, period, certain)
        if not programs and members:
            possible += [Team(key, program, members, period, certain, possible=True) for program in Program]
    if not known:
        yield from possible


def _member(participant: Participant, team: str, reading: Reading) -> Member | None:
    record, reference = reading.record, participant.member
    person = record.person(reference, team)
    if person is None and record.type_of(record.resolve(reference, team) or "") in _NO_PRACTITIONER:
        return None
    roles = reading.terms.once(_roles, codings(participant.role or ()), reading) or roles_elsewhere(person, reading)
    return Member(person, roles, reading.clock.period(participant.period))


def _roles(coded: Codings, reading: Reading) -> frozenset[Role]:
    codes, _ = reading.terms.translate("team-role", *map(CodeableConcept, coded))
    return frozenset(Role(c) for c in codes)


def roles_elsewhere(person: str | None, reading: Reading) -> frozenset[Role]:
    """Where the CareTeam's own role says nothing: the site's list of NPIs, then the person's PractitionerRoles."""
    if person is None:
        return frozenset()
    team = reading.site.team
    listed = {team.npi[npi] for npi in reading.record.npis(person) if npi in team.npi}
    if listed or not team.roles_from_practitioner_role:
        return frozenset(listed)
    roles = [role for role in reading.record.roles_of(person) if reading.in_force(role.period)]
    concepts = [c for role in roles for c in (*(role.code or ()), *(role.specialty or ()))]
    codes, _ = reading.terms.translate("team-role", *concepts)
    return frozenset(Role(c) for c in codes)


def _programs(row: CareTeam, members: tuple[Member, ...], reading: Reading) -> list[Program]:
    codes, _ = reading.terms.translate("program", *(row.category or ()))
    if codes:
        return sorted(Program(c) for c in codes)
    roles = {role for member in members for role in member.roles}
    if roles & {Role.CARE_MANAGER, Role.CONSULTANT}:
        return [Program.COCM]
    # A team none of whose roles is known may be the cardiology clinic's: no BHI team where one is known.
    return [Program.GENERAL] if roles else []


def care_episodes(rows: PatientRows, reading: Reading) -> Iterator[CareEpisode]:
    for key, row in rows.of(EpisodeOfCare):
        if row.status in ("entered-in-error", "planned", "waitlist", "cancelled"):
            continue
        codes, _ = reading.terms.translate("program", *(row.type or ()))
        period = reading.clock.period(row.period)
        doubt = "it is finished and nothing says since when" if row.status == "finished" and not period.end else ""
        if not reading.clock.can_read_period(row.period):
            doubt = "its period has a date that cannot be read"
        for code in sorted(codes):
            yield CareEpisode(key, Program(code), period, doubt)
