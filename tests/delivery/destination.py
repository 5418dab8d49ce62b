"""A destination in memory that behaves like the worst of them, a process that dies at any moment, drafts."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from cryptography.fernet import Fernet

from bhi_fhir.audit import Item, Person
from bhi_fhir.delivery.hand import Delivery, Wanted
from bhi_fhir.delivery.ledger import Ledger, open_ledger
from bhi_fhir.delivery.line import Content, Draft, Line, Nothing, Receipt, Seen, Several, Standing, Unseen
from bhi_fhir.delivery.seal import Seal
from bhi_fhir.delivery.settle import settle
from bhi_fhir.delivery.sink import Sink

MONTH = "2026-09"
ANN = Person("Ann Biller", "ann")
OVER = frozenset({"aborted", "cancelled", "entered-in-error", "not-billable"})
EXCLUSIVE = ("99492", "99484")
UNKNOWN = Receipt("unknown", reason="no answer")


class Crash(BaseException):
    """The process is gone."""


@dataclass
class Fuse:
    """Burns down by one at every moment at which a process can die. None: it does not burn."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left == 0:
                self.left = None
                raise Crash


def charge(identifier: str, code: str, units: int = 1, status: str = "planned", **more: Any) -> Content:
    return {
        "resourceType": "ChargeItem",
        "meta": {"tag": [{"system": "urn:bhi-fhir:ruleset", "code": "2026.1"}]},
        "identifier": [{"system": "urn:bhi-fhir:draft", "value": identifier}],
        "status": status,
        "code": {"coding": [{"system": "http://www.ama-assn.org/go/cpt", "code": code}]},
        "subject": {"reference": "Patient/somebody"},
        "quantity": {"value": units},
        **more,
    }


def draft(code: str, units: int = 1, of: str = "p") -> Draft:
    identifier = f"{of}-{code}"
    return Draft(identifier, "ChargeItem", code, charge(identifier, code, units), (("2026-09-30", units),))


def claim(practitioner: str = "Practitioner/kim", of: str = "p") -> Draft:
    identifier = f"{of}-{practitioner}"
    content = {
        "resourceType": "Claim",
        "identifier": [{"system": "urn:bhi-fhir:draft", "value": identifier}],
        "status": "draft",
        "use": "claim",
        "type": {"coding": [{"code": "professional"}]},
        "patient": {"reference": "Patient/somebody"},
        "created": "2026-10-01",
        "provider": {"reference": practitioner},
        "priority": {"coding": [{"code": "normal"}]},
        "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/1"}}],
    }
    return Draft(identifier, "Claim", practitioner, content)


@dataclass
class Destination:
    """`visible`: it can be looked into and keeps versions; else it books charges and credits, like DFT.

    `faults`: what becomes of the next hand-overs: a Receipt is answered and nothing done; "lost" on the way there,
    "unheard" on the way back, "late" arrives when `arrive` is called. `wrongs`: whatever no destination may see.
    """

    name: str = "fhir"
    visible: bool = True
    keyed: bool = True
    drafts: bool = True
    kinds: tuple[str, ...] = ("ChargeItem", "Claim")
    fuse: Fuse = field(default_factory=Fuse)
    faults: deque[Receipt | str] = field(default_factory=deque)
    before_change: Callable[[], None] = lambda: None
    stands: dict[str, list[Standing]] = field(default_factory=dict)
    theirs: dict[str, Content | None] = field(default_factory=dict)
    created: Counter[str] = field(default_factory=Counter)
    log: list[tuple[str, str]] = field(default_factory=list)
    wrongs: list[str] = field(default_factory=list)
    _heard: set[tuple[str, int]] = field(default_factory=set)
    _late: list[Callable[[], Receipt]] = field(default_factory=list)
    _number: int = 0

    # -- as a sink ----------------------------------------------------------------------------------

    def takes(self, draft: Draft) -> bool:
        return draft.resource_type in self.kinds

    async def look(self, line: Line) -> Seen:
        if not self.visible:
            return Unseen()
        found = self.stands.get(line.identifier, [])
        if line.reference:
            found = [each for each in found if each.reference == line.reference]
            return found[0] if found else Nothing(deleted=True)
        if len(found) > 1:
            return Several(len(found))
        return found[0] if found else Nothing()

    async def create(self, lines: Sequence[Line]) -> list[Receipt]:
        self.fuse.burn()
        receipts = []
        for line in lines:
            self.log.append(("create", line.draft.code))
            receipts.append(self._sent(lambda line=line: self._create(line)))
            self.fuse.burn()
        return receipts

    async def change(self, line: Line, draft: Draft) -> Receipt:
        self.fuse.burn()
        self.log.append(("withdraw" if draft.content["status"] in OVER else "update", draft.code))
        self.before_change()
        receipt = self._sent(lambda: self._change(line, draft))
        self.fuse.burn()
        return receipt

    def _sent(self, act: Callable[[], Receipt]) -> Receipt:
        fault = self.faults.popleft() if self.faults else ""
        if isinstance(fault, Receipt):
            return fault
        if fault == "late":
            self._late.append(act)
        if fault in ("late", "lost"):
            return UNKNOWN
        receipt = act()
        return UNKNOWN if fault == "unheard" else receipt

    def arrive(self) -> None:
        """What was late is here."""
        for act in self._late:
            act()
        self._late.clear()

    # -- what it does -------------------------------------------------------------------------------

    def _create(self, line: Line) -> Receipt:
        here = self.stands.setdefault(line.identifier, [])
        if self.visible and self.keyed and here:
            return Receipt("confirmed", here[0].reference, here[0].version, existed=True)
        if self._again(line):
            return Receipt("confirmed", f"message-{line.revision}")
        self._alone(line.draft)
        self.created[line.identifier] += 1
        self._number += 1
        reference = f"{line.draft.resource_type}/{self._number}" if self.visible else f"message-{line.revision}"
        here.append(Standing(reference, "1" if self.visible else "", line.content))
        if len(here) > 1:
            self.wrongs.append(f"{line.draft.code} stands {len(here)} times")
        return Receipt("confirmed", here[-1].reference, here[-1].version)

    def _change(self, line: Line, draft: Draft) -> Receipt:
        if self._again(line):
            return Receipt("confirmed", f"message-{line.revision}")
        here = self.stands.get(line.identifier, [])
        if self.visible:
            at = next((n for n, each in enumerate(here) if each.reference == line.reference), None)
            if at is None or here[at].version != line.version:
                return Receipt("conflict", reason="it changed since it was read")
        elif [each.content for each in here] != [line.content]:
            self.wrongs.append(f"{line.draft.code}: a credit of what does not stand")
            return Receipt("refused", reason="nothing to credit")
        else:
            at = 0
        if not _counts(here[at].content) and _counts(draft.content):
            self._alone(draft)
        version = str(int(here[at].version) + 1) if self.visible else ""
        here[at] = Standing(here[at].reference, version, draft.content)
        if not self.visible and not _counts(draft.content):
            del here[at]
        return Receipt("confirmed", line.reference, version)

    def _again(self, line: Line) -> bool:
        """A receiver of messages that knows one again."""
        key = (line.identifier, line.revision)
        if self.visible or not self.keyed:
            return False
        known = key in self._heard
        self._heard.add(key)
        return known

    def _alone(self, draft: Draft) -> None:
        others = [code for code in EXCLUSIVE if code != draft.code] if draft.code in EXCLUSIVE else []
        self.wrongs += [f"{draft.code} is charged beside {code}" for code in others if self.units(code)]

    # -- people -------------------------------------------------------------------------------------

    def edited(self, identifier: str, **values: Any) -> None:
        """Somebody changes it: from now on it is theirs."""
        (now,) = self.stands[identifier]
        changed = {**now.content, **values}
        self.stands[identifier] = [Standing(now.reference, str(int(now.version) + 1), changed)]
        self.theirs[identifier] = changed

    def deleted(self, identifier: str) -> None:
        self.stands[identifier] = []
        self.theirs[identifier] = None

    # -- what stands there --------------------------------------------------------------------------

    def units(self, code: str) -> int:
        """What is charged of a code, or may be."""
        found = [s.content for here in self.stands.values() for s in here if _counts(s.content)]
        return sum(c["quantity"]["value"] for c in found if "code" in c and c["code"]["coding"][0]["code"] == code)

    def status(self, identifier: str) -> str:
        return " ".join(str(each.content["status"]) for each in self.stands.get(identifier, []))

    def holds_what_is_theirs(self) -> bool:
        now = {key: [each.content for each in self.stands.get(key, [])] for key in self.theirs}
        return now == {key: [content] if content else [] for key, content in self.theirs.items()}


def _counts(content: Content) -> bool:
    return content["status"] not in OVER


@dataclass
class Audit:
    """What settle needs of a PatientAudit."""

    fuse: Fuse = field(default_factory=Fuse)
    said: list[str] = field(default_factory=list)

    def announce(self, kind: str, items: Sequence[Item]) -> None:
        self._say(kind)

    def written(self, kind: str, item: Item, status: int | None) -> None:
        self._say(f"{kind} {status}")

    def approved(self, by: Person, items: Sequence[Item]) -> None:
        self._say(f"approved by {by.name}")

    def _say(self, what: str) -> None:
        self.fuse.burn()
        self.said.append(what)
        self.fuse.burn()


class Clock:
    def __init__(self) -> None:
        self.at = datetime(2026, 10, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def later(self, hours: float) -> None:
        self.at += timedelta(hours=hours)


class Site:
    """A ledger on the disk, destinations, a clock, and one process that may die."""

    def __init__(self, folder: Path, *sinks: Destination) -> None:
        self.clock, self.fuse = Clock(), Fuse()
        self.ledger = open_ledger("sqlite:///l.db", folder, uuid4(), Seal(Fernet.generate_key().decode()))
        self.ledger.now = self.clock
        self._burns(self.ledger)
        self.comes("Patient/p", *sinks)

    def comes(self, patient: str, *sinks: Destination) -> None:
        """The next patient; destinations of its own."""
        self.patient, self.sinks = patient, list(sinks)
        for sink in sinks:
            sink.fuse = self.fuse
        self.audit: Any = Audit(self.fuse)

    def _burns(self, ledger: Ledger) -> None:
        put = ledger.put

        def burning(patient: str, lines: Sequence[Line]) -> None:
            self.fuse.burn()
            put(patient, lines)
            self.fuse.burn()

        ledger.put = burning  # type: ignore[method-assign]

    @property
    def delivery(self) -> Delivery:
        sinks: list[Sink] = list(self.sinks)
        return Delivery(self.ledger, sinks, UTC)

    def wanted(self, *drafts: Draft, **more: Any) -> Wanted:
        return Wanted(self.patient, MONTH, drafts, **more)

    async def sync(self, *drafts: Draft, **more: Any) -> dict[str, str]:
        """Code to outcome."""
        done = await settle(self.delivery, self.wanted(*drafts, **more), self.audit)
        return {each.code: each.outcome for each in done}

    async def why(self, code: str, *drafts: Draft, **more: Any) -> str:
        done = await settle(self.delivery, self.wanted(*drafts, **more), self.audit)
        return next(each.reason for each in done if each.code == code)

    def line(self, code: str) -> Line:
        return next(line for line in self.ledger.lines(self.patient, MONTH) if line.draft.code == code)

    async def until(self, moment: int, job: Awaitable[object]) -> bool:
        """The process dies at the moment of this number; whether it did."""
        self.fuse.left = moment
        try:
            await job
        except Crash:
            return True
        finally:
            self.fuse.left = None
        return False
