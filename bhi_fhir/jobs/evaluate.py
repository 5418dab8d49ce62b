"""Files in, decisions out: one month, every patient of every file. Each file is a whole record by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec
from msgspec import structs

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.domain.value import Value, replace
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.files import read_file
from bhi_fhir.policy.model import RULESET


class Result(Value, frozen=True):
    file: str
    decision: Decision
    chart: Chart


class Evaluation(Value, frozen=True):
    """All results, sorted by file and patient, and everything that was set aside."""

    desk: Desk
    results: tuple[Result, ...]
    set_aside: tuple[SetAside, ...]

    @property
    def in_several(self) -> list[str]:
        """Patients who stand in more than one file: each file was decided as if it were their whole record."""
        found = Counter(who for _, who in {(r.file, r.decision.patient) for r in self.results})
        return sorted(who for who, files in found.items() if files > 1)

    def json(self) -> bytes:
        """The object of the contract, one line."""
        results = [{"file": r.file, **structs.asdict(r.decision)} for r in self.results]
        return msgspec.json.encode(
            {
                "month": str(self.desk.month),
                "time_zone": self.desk.site.time_zone,
                "ruleset": RULESET,
                "results": results,
                "set_aside": self.set_aside,
            }
        )


def evaluate(desk: Desk, files: Iterable[str]) -> Evaluation:
    """Decide every file. UsageError for a file that does not exist; a bad record is set aside."""
    results: list[Result] = []
    set_aside: list[SetAside] = []
    for name in sorted(set(files)):
        decided = desk.decide(read_file(name))
        set_aside += [replace(s, file=s.file or name) for s in decided.set_aside]
        results += [Result(name, decision, chart) for decision, chart in decided.decisions]
        if not decided.decisions and not decided.set_aside:
            set_aside.append(SetAside(name, "", "", "it holds no patient"))
    results.sort(key=lambda r: (r.file, r.decision.patient))
    return Evaluation(desk, tuple(results), tuple(set_aside))
