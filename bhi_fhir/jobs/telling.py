"""How facts are told: the practice's days and times, people by reference and role, entries; never a name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from zoneinfo import ZoneInfo

from bhi_fhir.domain.decision import Candidate, Decision, Finding, NotCounted
from bhi_fhir.domain.record import Activity, Chart
from bhi_fhir.domain.time import Moment, ServiceMonth, intersect, length, local_day, whole_minutes
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.policy import Code, Rules, Switches
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
    switches: Switches
    today: date

    @classmethod
    def of(cls, desk: Desk, decision: Decision, chart: Chart, today: date) -> Told:
        return cls(decision, chart, desk.month, desk.rules, desk.site.switches, today)

    @property
    def is_over(self) -> bool:
        return self.today > self.month.last_day

    @property
    def zone(self) -> ZoneInfo:
        return self.month.zone

    def code(self, candidate: Candidate) -> Code:
        return self.rules.codes[candidate.code]

    def candidate(self, code: str) -> Candidate | None:
        return next((c for c in self.decision.candidates if c.code == code), None)

    @property
    def nearest(self) -> Candidate | None:
        """The first monthly line's candidate, else the program's code with the fewest requirements that block."""
        monthly = [c for c in self.decision.candidates if self.code(c).program and not self.code(c).adds_to]
        drafted = {line.code for line in self.decision.lines}
        if found := next((c for c in monthly if c.code in drafted), None):
            return found
        mine = [c for c in monthly if self.code(c).program == self.decision.program] or monthly
        return min(mine, key=lambda c: (c.blocked, c.still_open), default=None)

    def shares_count(self, candidate: Candidate) -> bool:
        """Are the decision's minutes this code's? They are the nearest code's, and those of its program and people."""
        nearest, mine = self.nearest, self.code(candidate)
        if nearest is None or not mine.program:
            return False
        led = self.code(nearest)
        return (mine.program, mine.time_of) == (led.program, led.time_of)

    def is_unmapped(self, ref: str) -> bool:
        """Does no map know what kind of work the entry is?"""
        return any(not a.kinds for a in self.activities([ref]))

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


def counted(minutes: int) -> str:
    """ "1 minute is counted", "42 minutes are counted"."""
    return f"{count(minutes, 'minute')} {'is' if minutes == 1 else 'are'} counted"


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
    words = kind.replace("-", " ").replace("dmht", "digital mental health treatment").replace("apcm", "APCM")
    return words.replace("follow up", "follow-up")


def label(requirement: str) -> str:
    """ "Rating scale"."""
    words = plain(requirement)
    return words[:1].upper() + words[1:]


def in_words(finding: Finding) -> str:
    """The finding's sentence; what it is about comes first where the sentence does not name it itself."""
    words = plain(finding.requirement)
    names_it = words.split()[-1].lower() in finding.because.lower()
    return finding.because if names_it else f"{words}: {finding.because}"


def only_chosen_against(finding: Finding) -> bool:
    """Another line was chosen, or the site goes another way: no charge stands against it, nothing is to settle."""
    return finding.requirement == "exclusivity" and finding.outcome == "not-met" and not finding.evidence


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


def time_of_piece(told: Told, piece: NotCounted) -> str:
    """ "20 minutes of Encounter/x on 2026-09-15"; an entry that no map knows may still have its time."""
    found = told.activities([piece.source])
    minutes = piece.minutes if piece.minutes is not None or not found else _readable(found[0], told.month)
    on = f" on {day(found[0].when, told.zone)}" if found and found[0].when else ""
    return f"{'time that cannot be read' if minutes is None else count(minutes, 'minute')} of {piece.source}{on}"


def _readable(activity: Activity, month: ServiceMonth) -> int | None:
    """The month's whole minutes of an entry whose kind no map knows; None for any other that cannot be read."""
    if activity.kinds or activity.trouble or activity.duration is None:
        return None
    span = activity.span
    return whole_minutes(length(intersect([span], month.span)) if span else activity.duration)


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
