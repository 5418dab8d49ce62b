"""What must hold of every month, over thousands of generated ones, and a seeded bug that each property finds.

A property that cannot fail proves nothing: `test_each_property_finds_its_seeded_bug` breaks the program in the
one place that the property guards and asks that it is found.
"""

from __future__ import annotations

import copy
import json
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from record import CHICAGO, Record, cocm_record, g0323_record, general_record

from bhi_fhir.domain.decision import Decision, Status
from bhi_fhir.domain.time import subtract
from bhi_fhir.drafts.models import draft
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.mapping import charges, chart
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.source import Source
from bhi_fhir.rules import choice, gates, thresholds
from bhi_fhir.rules.course import charged_months, follow, walked
from bhi_fhir.rules.decide import programs_of
from bhi_fhir.rules.patient_month import PatientMonth
from bhi_fhir.rules.setting import Setting
from bhi_fhir.rules.tally import Tally

EXAMPLES = int(os.environ.get("BHI_EXAMPLES", "300"))
"""Months per property; the long form asks for thousands."""
EXAMPLE = Path(__file__).parents[1] / "mappings" / "sites" / "example"
DESK = Desk.open(EXAMPLE, "2026-03")
RANK: dict[Status | None, int] = {None: 0, "not-billable": 0, "needs-review": 1, "billable": 2}
BASES = {
    "cocm": cocm_record("2026-03", episode="initial"),
    "cocm-later": cocm_record("2026-03", episode="later"),
    "general": general_record("2026-03"),
    "g0323": g0323_record("2026-03"),
}
WORKERS = {
    "cocm": ["bhcm", "pcp", "psych"],
    "cocm-later": ["bhcm", "pcp", "psych"],
    "general": ["nurse", "pcp"],
    "g0323": ["cp"],
}
KINDS = ["follow-up", "assessment", "care-coordination", "psychiatric-review", "administrative", "brief-intervention"]
CODES = ["99492", "99493", "99494", "G2214", "99484", "G0323", "G0557", "99490"]


@dataclass(frozen=True)
class Work:
    day: int
    second: int
    seconds: int
    who: tuple[str, ...]
    kind: str

    @property
    def start(self) -> datetime:
        return datetime(2026, 3, self.day, 14, tzinfo=UTC) + timedelta(seconds=self.second)


@dataclass(frozen=True)
class Month:
    """One generated month."""

    base: str
    work: tuple[Work, ...]
    charged: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def record(self) -> Record:
        made = copy.deepcopy(BASES[self.base])
        for kind in self.without:
            if any(r["resourceType"] == kind for r in made.resources):
                made = made.without(kind)
        for index, work in enumerate(self.work):
            made.add(entry(f"w{index}", work.start, work.seconds, work.who, work.kind))
        for code in self.charged:
            made = made.charge(code)
        return made


def entry(name: str, start: datetime, seconds: int, who: tuple[str, ...], kind: str) -> dict[str, Any]:
    return {
        "resourceType": "Encounter",
        "id": name,
        "status": "finished",
        "class": {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "VR"},
        "type": [{"coding": [{"system": "urn:bhi-fhir:activity", "code": kind}]}],
        "subject": {"reference": "Patient/maria"},
        "participant": [{"individual": {"reference": f"Practitioner/{one}"}} for one in who],
        "period": {"start": local(start), "end": local(start + timedelta(seconds=seconds))},
    }


def local(instant: datetime) -> str:
    return instant.astimezone(CHICAGO).isoformat()


@st.composite
def months(draw: st.DrawFn) -> Month:
    base = draw(st.sampled_from(sorted(BASES)))
    people = WORKERS[base]
    work = draw(
        st.lists(
            st.builds(
                Work,
                day=st.sampled_from([2, 3, 4, 31]),  # few days, so that entries overlap; the last, to cross the border
                second=st.integers(0, 15 * 3600),
                seconds=st.one_of(st.integers(0, 7200), st.sampled_from([960, 1200, 1860, 2160])),
                who=st.lists(st.sampled_from(people), min_size=1, max_size=2, unique=True).map(tuple),
                kind=st.sampled_from(KINDS),
            ),
            max_size=7,
        )
    )
    charged = draw(st.lists(st.sampled_from(CODES), max_size=2, unique=True))
    without = draw(st.lists(st.sampled_from(["Consent", "QuestionnaireResponse", "Coverage", "Condition"]), max_size=1))
    return Month(base, tuple(work), tuple(charged), tuple(without))


def decide(resources: list[dict[str, Any]], desk: Desk = DESK) -> Decision:
    sources = [Source("record", str(i), json.dumps(r).encode()) for i, r in enumerate(resources)]
    [(decision, _)] = desk.decide(sources).decisions
    return decision


def told(decision: Decision) -> tuple[Any, ...]:
    """What a decision says, without the references of the work."""
    lines = tuple((line.code, line.units, line.status) for line in decision.lines)
    outcomes = tuple(
        (c.code, c.status, tuple((f.requirement, f.outcome) for f in c.findings)) for c in decision.candidates
    )
    return lines, outcomes, decision.minutes.counted, decision.minutes.next, decision.episode


# -- the properties ---------------------------------------------------------------------------------


def the_order_of_entries_decides_nothing(month: Month) -> None:
    resources = month.record().resources
    shuffled = list(resources)
    random.Random(len(month.work)).shuffle(shuffled)
    assert decide(shuffled) == decide(resources) == decide(list(reversed(resources)))


def a_call_split_in_two_counts_the_same(month: Month) -> None:
    whole = month.record().resources
    halves = replace(month, work=()).record().resources
    for index, work in enumerate(month.work):
        cut = work.seconds // 2
        halves.append(entry(f"w{index}", work.start, cut, work.who, work.kind))
        second = work.start + timedelta(seconds=cut)
        halves.append(entry(f"w{index}-second", second, work.seconds - cut, work.who, work.kind))
    assert told(decide(halves)) == told(decide(whole))


def more_minutes_never_lose_a_code(month: Month) -> None:
    """On a later day, so that nothing overlaps: the best line is never worse and the units never fewer.

    But for one month: a first one without a rating scale, where the scale blocks 99492 and is for review in G2214.
    """
    assume("QuestionnaireResponse" not in month.without)
    less, more = month.record().resources, month.record().resources
    who = (WORKERS[month.base][0],)
    more.append(entry("more", datetime(2026, 3, 20, 15, tzinfo=UTC), 1500, who, "follow-up"))
    before, after = decide(less), decide(more)
    assert after.minutes.counted >= before.minutes.counted
    best = {True: _best(before), False: _best(after)}
    assert best[False] >= best[True]


def _best(decision: Decision) -> tuple[int, int, int]:
    """(status, tier, add-on units) of the month's monthly lines."""
    tiers = {"G2214": 1, "99484": 1, "G0323": 1, "99492": 2, "99493": 2}
    found = [(RANK[line.status], tiers.get(line.code, 0)) for line in decision.lines if line.code in tiers]
    units = sum(line.units for line in decision.lines if line.code == "99494")
    return *max(found, default=(0, 0)), units


def no_minute_counts_twice(month: Month) -> None:
    """What is counted is never more than the union of everything that was done."""
    decision = decide(month.record().resources)
    covered: list[tuple[datetime, datetime]] = []
    for work in month.work:
        covered += subtract([(work.start, work.start + timedelta(seconds=work.seconds))], covered)
    done = sum((end - start for start, end in covered), timedelta())
    assert decision.minutes.counted <= done // timedelta(minutes=1)


def exclusive_codes_never_meet(month: Month) -> None:
    decision = decide(month.record().resources)
    mine = {line.code for line in decision.lines}
    charged = set(month.charged)
    monthly = {"99492", "99493", "G2214", "99484", "G0323", "G0568", "G0569", "G0570"}
    assert len(mine & monthly) <= 1
    assert not mine & charged
    if mine & monthly:
        assert not charged & monthly
    if "99494" in mine:
        assert (mine | charged) & {"99492", "99493"}
        assert not (mine | charged) & (monthly - {"99492", "99493"})


def our_own_drafts_change_nothing(month: Month) -> None:
    """Deciding again with the drafts of the first time in the record gives the same decision."""
    resources = month.record().resources
    sources = [Source("record", str(i), json.dumps(r).encode()) for i, r in enumerate(resources)]
    [(first, facts)] = DESK.decide(sources).decisions
    made = draft(first, facts, draft_run(DESK, DESK.month.last_day)).resources
    written = [{**json.loads(d.model_dump_json()), "id": f"draft-{i}"} for i, d in enumerate(made)]
    assert told(decide(resources + written)) == told(first)


def the_same_instants_in_another_zone_are_the_same_month(month: Month) -> None:
    """Every dateTime re-spelled with another offset."""
    resources = month.record().resources
    assert told(decide([respelled(r) for r in resources])) == told(decide(resources))


def codes_that_share_a_walk_come_to_what_each_would_alone(month: Month) -> None:
    """Also where the consent of a day decides, by each program's own thresholds."""
    resources = month.record().resources
    if len(month.work) % 2:
        resources = [r | {"dateTime": "2026-03-03"} if r["resourceType"] == "Consent" else r for r in resources]
    sources = [Source("record", str(i), json.dumps(r).encode()) for i, r in enumerate(resources)]
    [(_, facts)] = DESK.decide(sources).decisions
    setting = Setting(DESK.month, DESK.rules, DESK.site.switches)
    together = PatientMonth(facts, setting)
    for asked in setting.asked(programs_of(facts, DESK.month)):
        alone = PatientMonth(facts, setting)
        assert follow(together, asked.track) == walked(alone, asked.track, *charged_months(alone, asked.track))


def respelled(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: respelled(value) for key, value in node.items()}
    if isinstance(node, list):
        return [respelled(value) for value in node]
    if isinstance(node, str) and len(node) > 18 and node[4:5] == "-" and node[10:11] == "T":
        return datetime.fromisoformat(node).astimezone(UTC).isoformat().replace("+00:00", "Z")
    return node


Property = Callable[[Month], None]
PROPERTIES: list[Property] = [
    the_order_of_entries_decides_nothing,
    a_call_split_in_two_counts_the_same,
    more_minutes_never_lose_a_code,
    no_minute_counts_twice,
    exclusive_codes_never_meet,
    our_own_drafts_change_nothing,
    the_same_instants_in_another_zone_are_the_same_month,
    codes_that_share_a_walk_come_to_what_each_would_alone,
]


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda p: p.__name__.replace("_", " "))
def test_of_every_month(holds: Property) -> None:
    checked = given(months())(holds)
    settings(max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))(checked)()


# -- and the bugs that they find --------------------------------------------------------------------


def _bug_order(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(chart, "_sorted", tuple)
    patch.setattr(gates, "_ORDER", lambda piece: 0)


def _bug_rounding(patch: pytest.MonkeyPatch) -> None:
    each = timedelta(minutes=1)
    patch.setattr(Tally, "counted", property(lambda tally: sum([p.counted // each for p in tally.pieces]) * each))


def _bug_threshold(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(thresholds, "units", lambda base, add_on, minutes, switches: minutes % 2)


def _bug_overlap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(gates, "gate_overlap", lambda tally: None)


def _bug_exclusivity(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(choice, "charge_against", lambda case, code: None)


def _bug_own_drafts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(charges, "_NO_CHARGE", set())


def _bug_zone(patch: pytest.MonkeyPatch) -> None:
    read = Clock._read
    patch.setattr(Clock, "_read", lambda clock, text: read(clock, text[:19]))


def _bug_shared(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PatientMonth, "workers", frozenset())


BUGS = dict(
    zip(
        PROPERTIES,
        [
            _bug_order,
            _bug_rounding,
            _bug_threshold,
            _bug_overlap,
            _bug_exclusivity,
            _bug_own_drafts,
            _bug_zone,
            _bug_shared,
        ],
        strict=True,
    )
)


@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda p: p.__name__.replace("_", " "))
def test_each_property_finds_its_seeded_bug(holds: Property, monkeypatch: pytest.MonkeyPatch) -> None:
    BUGS[holds](monkeypatch)
    checked = given(months())(holds)
    quick = settings(
        max_examples=3000,  # it ends at the first; what is tried depends on what else is imported
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    with pytest.raises(AssertionError):
        quick(checked)()
