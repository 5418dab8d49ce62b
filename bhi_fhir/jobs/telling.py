"""How facts are told: the practice's days and times, people by reference and role, entries; never a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from bhi_fhir.domain.decision import Candidate, Decision
from bhi_fhir.domain.record import Activity, Chart
from bhi_fhir.domain.time import Moment, ServiceMonth, local_day
from bhi_fhir.policy import Code, Rules
from bhi_fhir.rules.track import members_on

MANY = 3
"""More references than these are counted, not listed, where they only support a sentence."""

TIME_OF = {
    "care-manager": "the behavioral health care manager (or the billing practitioner in person)",
    "clinical-staff": "clinical staff, care manager or consultant (or the billing practitioner in person)",
    "billing-practitioner": "the billing practitioner in person",
    "performer": "the person who performs and bills it",
    "": "",
}
"""Whose time a code counts."""


@dataclass(frozen=True, slots=True)
class Told:
    """One patient's month, and all that an explanation may look at."""

    decision: Decision
    chart: Chart
    month: ServiceMonth
    rules: Rules

    @property
    def zone(self) -> ZoneInfo:
        return self.month.zone

    def code(self, candidate: Candidate) -> Code:
        return self.rules.codes[candidate.code]

    def candidate(self, code: str) -> Candidate | None:
        return next((c for c in self.decision.candidates if c.code == code), None)

    @property
    def nearest(self) -> Candidate | None:
        """The candidate of the first line, else the program's code with the fewest requirements that block."""
        if self.decision.lines:
            return self.candidate(self.decision.lines[0].code)
        alone = [c for c in self.decision.candidates if not self.code(c).adds_to]
        mine = [c for c in alone if self.code(c).program == self.decision.program] or alone
        return min(mine, key=lambda c: c.blocked, default=None)

    def activities(self, refs: Iterable[str]) -> list[Activity]:
        """Entries by reference, in the order of time; what has no date comes last."""
        wanted = set(refs)
        return sorted((a for a in self.chart.activities if a.ref in wanted), key=_order)


def _order(activity: Activity) -> tuple[bool, str, str]:
    when = activity.when
    return when is None, when.earliest.isoformat() if when else "", activity.ref


def sentence(text: str) -> str:
    """A capital first letter and a full stop."""
    return stopped(text[:1].upper() + text[1:])


def stopped(text: str) -> str:
    return text if not text or text.endswith(".") else f"{text}."


def count(number: int, one: str, many: str = "") -> str:
    """ "1 entry", "2 entries"."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def moment(when: Moment | None, zone: ZoneInfo) -> str:
    """ "2026-09-04 10:00", "2026-09-04" or "2026-09", as exactly as the record says."""
    if when is None:
        return "a day that cannot be read"
    if when.exact:
        return f"{when.earliest.astimezone(zone):%Y-%m-%d %H:%M}"
    return day(when, zone)


def day(when: Moment | None, zone: ZoneInfo) -> str:
    if when is None:
        return "a day that cannot be read"
    first = str(local_day(when.earliest, zone))
    return first if when.exact or when.within_a_day else f"a day from {first} on"


def stretch(activity: Activity, zone: ZoneInfo) -> str:
    """ "2026-09-04 10:00 to 10:20"; minutes of a day without times: "2026-09-04, 20 minutes"."""
    start, span = moment(activity.when, zone), activity.span
    if span is None:
        long = activity.duration
        return f"{start}, {count(int(long.total_seconds()) // 60, 'minute')}" if long else start
    if activity.duration is not None and not activity.duration:
        return start
    end = moment(Moment(span[1], span[1]), zone)
    same_day = end[:10] == start[:10]
    return f"{start} to {end[11:] if same_day else end}"


def kinds(activity: Activity) -> str:
    return " and ".join(map(plain, sorted(activity.kinds))) or "an entry of unknown kind"


def plain(kind: str) -> str:
    """A kind of work in words."""
    words = kind.replace("-", " ").replace("dmht", "digital mental health treatment")
    return words.replace("follow up", "follow-up")


def people(told: Told, activity: Activity) -> str:
    """Who did it, with the role on the team at that time."""
    if not activity.people:
        return "nobody named"
    return " and ".join(f"{who} ({_role(told, activity, who)})" for who in sorted(activity.people))


def _role(told: Told, activity: Activity, who: str) -> str:
    if activity.when is None:
        return "role unknown without a date"
    programs = sorted({team.program for team in told.chart.teams})
    mine = [m for p in programs for _, m in members_on(told.chart, p, activity.when) if m.person == who]
    roles = sorted({role.value.replace("-", " ") for m in mine for role in m.roles})
    if roles:
        return ", ".join(roles)
    return "a role that no map knows" if mine else "not on the care team"


def entries(told: Told, refs: Iterable[str]) -> str:
    """A sentence for each who did them: "By Practitioner/bhcm (…): follow-up on … (Encounter/1); …."."""
    by: dict[str, list[str]] = {}
    for activity in told.activities(refs):
        said = f"{kinds(activity)} on {stretch(activity, told.zone)} ({activity.ref})"
        by.setdefault(people(told, activity), []).append(said)
    return " ".join(f"By {who}: {'; '.join(said)}." for who, said in by.items())


def cited(refs: tuple[str, ...]) -> str:
    """ " (Condition/1, Condition/2 and 3 more)"; nothing for nothing."""
    if not refs:
        return ""
    more = f" and {len(refs) - MANY} more" if len(refs) > MANY else ""
    return f" ({', '.join(refs[:MANY])}{more})"
