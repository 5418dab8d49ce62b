"""Rounds in which `sync --write` is killed or its network is faulty, until it is done; then what the server holds.

Each round: example patients under new ids and a new site; one writer, or two that race on the same folder and
ledger; each is killed (SIGKILL to its process group) and started again until a run ends with 0 or 1. Then the
server itself is asked: every line exactly once. A further run must create nothing.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from faults.proxy import Plan, Proxy, Rule, Stage, proxy
from faults.rounds import STEMS, Found, Round, created, examine, given_to_a_person, prepare, told
from faults.runs import Run, Starter

ROUND_S = 180.0
"""What does not end by then has hung."""
DONE, FAILED = {0, 1}, 3
STAGES: tuple[Stage, ...] = ("arrived", "carried-out", "answered")


@dataclass(frozen=True)
class Campaign:
    """`writers`: "1", "2" or "half" (every second round has two). `ledger`: a URL, "" is the site's own file.

    At least `rounds` rounds, and more until there were `kills` kills. `blind`: a server without conditions; there
    nobody can know whether an unanswered write came later, so a line may be missing if the report says unknown.
    """

    server: str
    kills: int = 0
    rounds: int = 1
    writers: str = "1"
    ledger: str = ""
    seed: int = 0
    module: str = "bhi_fhir.cli"
    forked: bool = True
    stems: tuple[str, ...] = STEMS
    rules: tuple[Rule, ...] = ()
    blind: bool = False
    moments: tuple[str, ...] = ("time", "write", "stage", "stage")


@dataclass
class Summary:
    rounds: int = 0
    runs: int = 0
    kills: int = 0
    seconds: float = 0.0
    landed: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    found: Found = field(default_factory=Found)
    injected: Counter[str] = field(default_factory=Counter)

    @property
    def text(self) -> str:
        where = ", ".join(f"{self.landed[k]} {k}" for k in ("before", "in", "after"))
        lines = [
            f"{self.rounds} rounds, {self.runs} runs, {self.kills} kills in {self.seconds:.0f} s "
            f"({60 * self.kills / max(self.seconds, 1):.0f} a minute)",
            f"kills landed {where} the writing; {self.landed['in flight']} with a write under way",
            f"exit statuses: {dict(sorted(self.statuses.items()))}",
            f"duplicates {self.found.duplicates}, missing {self.found.missing}, extra {self.found.extra}, "
            f"violations {len(self.found.violations)}, given to a person {self.found.asked}",
            f"drafts without a Provenance {self.found.unattested}, with several {self.found.attested_twice}",
            *([f"injected: {dict(self.injected)}"] if self.injected else []),
            *(f"  VIOLATION {sentence}" for sentence in self.found.violations[:40]),
        ]
        return "\n".join(lines)


async def carry_out(campaign: Campaign, say: Callable[[str], None] = lambda text: None) -> Summary:
    summary = Summary()
    with tempfile.TemporaryDirectory(prefix="bhi-fhir-kills-") as folder:
        async with proxy(campaign.server, blind=campaign.blind) as front:
            work = _Work(campaign, front, Path(folder), summary, random.Random(campaign.seed))
            if campaign.kills:
                await work.measure()
                say(f"undisturbed: {work.whole_s:.2f} s, of which writing {work.writing_s:.2f} s")
            front.plan = Plan(campaign.rules, campaign.seed)
            began = time.monotonic()
            while summary.kills < campaign.kills or summary.rounds < campaign.rounds:
                await work.round()
                summary.seconds = time.monotonic() - began
                say(f"round {summary.rounds}: {summary.kills} kills, {len(summary.found.violations)} violations")
            summary.injected = front.injected
    return summary


@dataclass
class _Work:
    campaign: Campaign
    front: Proxy
    folder: Path
    summary: Summary
    random: random.Random
    whole_s: float = 1.0
    writing_s: float = 0.2
    watching: list[Callable[[Stage], None]] = field(default_factory=list)
    # A round of the same seed on the same server must write anew.
    tag: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def __post_init__(self) -> None:
        self.front.watch = self._tell

    def _tell(self, stage: Stage) -> None:
        for watcher in tuple(self.watching):
            watcher(stage)

    async def _new(self) -> tuple[Round, Starter]:
        name = f"killing {self.tag} {self.summary.rounds}"
        where = self.folder / str(self.summary.rounds)
        round_ = await prepare(self.campaign.server, where, name, self.campaign.stems, self.campaign.ledger)
        round_.point_at(self.front.base_url, self.random.choice([1, 2, 8]))
        self.summary.rounds += 1
        return round_, Starter(where, self.campaign.module, self.campaign.forked)

    async def measure(self) -> None:
        """A round that nobody kills, for the time that it takes; it counts like any other."""
        round_, starter = await self._new()
        if self.campaign.forked:  # the first one starts the parent
            await (await starter.start(["--version"])).ended
        began, before = time.monotonic(), len(self.front.writes)
        await self._until_done(round_, starter, kills=0)
        self.whole_s = time.monotonic() - began
        mine = self.front.writes[before:]
        if mine:
            self.writing_s = max(w.answered for w in mine) - mine[0].arrived
        await self._judge(round_, starter)

    async def round(self) -> None:
        two = self.campaign.writers == "2" or (self.campaign.writers == "half" and self.summary.rounds % 2 == 0)
        round_, starter = await self._new()
        before, killed = len(self.front.writes), list[float]()
        left = self.campaign.kills - self.summary.kills
        budgets = [min(left, self.random.randint(1, 5 if two else 8)) for _ in range(2 if two else 1)]
        try:
            async with asyncio.timeout(ROUND_S):
                for times in await asyncio.gather(*(self._until_done(round_, starter, kills=b) for b in budgets)):
                    killed += times
        except TimeoutError:
            self._violated(f"{round_.name}: not at its end after {ROUND_S:.0f} s")
        await self.front.settle()
        self._say_where(killed, before)
        await self._judge(round_, starter)

    async def _until_done(self, round_: Round, starter: Starter, *, kills: int) -> list[float]:
        """Start, kill, start again; the moments of the kills."""
        killed: list[float] = []
        while True:
            run = await starter.start(round_.arguments)
            self.summary.runs += 1
            killing = asyncio.create_task(self._kill(run)) if len(killed) < kills else None
            try:
                status = await run.ended
            finally:
                if not run.ended.done():
                    run.kill()
                if killing:
                    killing.cancel()
            if status == -9:
                killed.append(run.killed)
                self.summary.kills += 1
                continue
            self.summary.statuses[status] += 1
            if status in DONE or self._waits_for_a_person(run, status):
                return killed
            if status != FAILED:
                self._violated(f"{round_.name}: exit status {status}: {run.said}")
                return killed
            await asyncio.sleep(0.2)

    def _waits_for_a_person(self, run: Run, status: int) -> bool:
        """All that is left is what only a person can find out: no further run changes that."""
        left = [text for text in told(run.out) if "unknown" in text or "refused" in text]
        return self.campaign.blind and status == FAILED and all("never answered" in text for text in left)

    async def _kill(self, run: Run) -> None:
        """At a moment drawn at random: of the whole time, of the writing, or at a stage of a write itself."""
        kind = self.random.choice(self.campaign.moments)
        if kind == "time":
            await asyncio.sleep(self.random.uniform(0, self.whole_s * 1.1))
            run.kill()
            return
        stage = "arrived" if kind == "write" else self.random.choice(STAGES)
        number = 1 if kind == "write" else 1 + min(int(self.random.expovariate(0.4)), 8)
        came = asyncio.Event()

        def watcher(seen: Stage) -> None:
            nonlocal number
            number -= seen == stage
            if number == 0:
                if kind == "stage":
                    run.kill()
                came.set()

        self.watching.append(watcher)
        try:
            await came.wait()
            if kind == "write":
                await asyncio.sleep(self.random.uniform(0, self.writing_s))
                run.kill()
        finally:
            self.watching.remove(watcher)

    def _say_where(self, killed: list[float], before: int) -> None:
        writes = self.front.writes[before:]
        for moment in killed:
            if not any(w.arrived <= moment for w in writes):
                self.summary.landed["before"] += 1
            elif any(max(w.arrived, w.answered) >= moment for w in writes):
                self.summary.landed["in"] += 1
            else:
                self.summary.landed["after"] += 1
            self.summary.landed["in flight"] += any(w.arrived <= moment <= w.answered + 0.001 for w in writes)

    async def _judge(self, round_: Round, starter: Starter) -> None:
        """A further run on a good network must create nothing; then the server is asked what it holds."""
        before = len(self.summary.found.violations)
        plan, self.front.plan = self.front.plan, Plan()
        run = await starter.start(round_.arguments)
        self.summary.runs += 1
        status = await run.ended
        self.summary.statuses[status] += 1
        made = created(run.out)
        if made != 0 or not (status in DONE or self._waits_for_a_person(run, status)):
            self._violated(f"{round_.name}: a further run created {made} (status {status}): {run.said}")
        await self.front.settle()
        self.front.plan = plan
        found = await examine(self.campaign.server, round_)
        if self.campaign.blind:
            found = given_to_a_person(found, told(run.out))
        self.summary.found.add(found)
        if len(self.summary.found.violations) > before:
            outputs = sorted(starter.folder.glob("*.out"), key=lambda path: int(path.stem))
            for text in [f"{path.name}: {text}" for path in outputs for text in told(path)][:20]:
                self.summary.found.violations.append(f"    {round_.name}, {text}")

    def _violated(self, sentence: str) -> None:
        self.summary.found.violations.append(sentence)
