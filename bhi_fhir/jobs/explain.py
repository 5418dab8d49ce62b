"""Explanations as a product: each line in paragraphs for an appeal, each month as a list of what is missing."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import msgspec

from bhi_fhir.domain.decision import Candidate
from bhi_fhir.errors import UsageError
from bhi_fhir.jobs.bulk.trace import is_trace, read_traces
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.evaluate import Evaluation, Result, evaluate
from bhi_fhir.jobs.explain_line import LineTold, tell_line
from bhi_fhir.jobs.explain_missing import Missing, tell_missing
from bhi_fhir.jobs.telling import Told
from bhi_fhir.policy import policy
from bhi_fhir.policy.model import RULESET

BILLER, CARE_MANAGER, BOTH = "biller", "care-manager", "both"
_SAID = {
    "elements": "Not yet documented",
    "unclear": "Cannot be read or decided",
    "not_counted": "Time that does not count",
    "notes": "Notes",
}
_OVER = "The month is over: only work that was done and not yet entered can still be added."


@dataclass(frozen=True, slots=True)
class Explanation:
    """One patient's month. `biller` and `care_manager` are None for a reader who did not ask."""

    file: str
    patient: str
    biller: tuple[LineTold, ...] | None
    care_manager: Missing | None


def decided(desk: Desk, files: Iterable[str], patient: str = "") -> Evaluation:
    """Evaluate records; what bulk has decided is read as it was decided (`patient`: only this one's)."""
    named = sorted(set(files))
    traces = [name for name in named if is_trace(name)]
    done = evaluate(desk, (name for name in named if name not in traces))
    wanted = patient if not patient or set("/:") & set(patient) else f"Patient/{patient}"
    read = [Result(name, *found) for name in traces for found in read_traces(name, desk.month, wanted)]
    results = sorted((*done.results, *read), key=lambda r: (r.file, r.decision.patient))
    return Evaluation(desk, tuple(results), done.set_aside)


def explain(
    done: Evaluation, today: date, reader: str = BOTH, patient: str = "", code: str = ""
) -> tuple[Explanation, ...]:
    """Explain every result, or one patient's, or one code's. UsageError for a patient or a code that is not there.

    `today` is the practice's day: it tells whether the month is over.
    """
    results = [r for r in done.results if not patient or r.decision.patient in (patient, f"Patient/{patient}")]
    if patient and not results:
        raise UsageError("--patient: these files hold no such patient; name the reference that evaluate shows")
    if code and code not in {known.code for known, _ in policy().codes}:
        raise UsageError(f"--code: {code} is not modelled; bhi-fhir codes lists the codes that are")
    found = [_explain(Told.of(done.desk, r.decision, r.chart, today), r, reader, code) for r in results]
    if not code:
        return tuple(found)
    asked = tuple(e for e in found if e.biller or e.care_manager)
    if not asked:
        raise UsageError(f"--code: {code} is not asked of these patients in {done.desk.month}; leave --code out")
    return asked


def _explain(told: Told, result: Result, reader: str, code: str) -> Explanation:
    mine = _candidates(told, code)
    lines = tuple(tell_line(told, c) for c in mine) if reader != CARE_MANAGER else None
    missing = tell_missing(told, mine, code) if reader != BILLER and (mine or not code) else None
    return Explanation(result.file, result.decision.patient, lines, missing)


def _candidates(told: Told, code: str) -> list[Candidate]:
    """The code that is asked for, else those of the lines, else the one nearest to being billable."""
    if code:
        return [c for c in told.decision.candidates if c.code == code]
    drafted = [c for line in told.decision.lines if (c := told.candidate(line.code))]
    return drafted or ([told.nearest] if told.nearest else [])


# -- out --------------------------------------------------------------------------------------------


def json(done: Evaluation, found: tuple[Explanation, ...]) -> bytes:
    """The same sentences as fields, one object."""
    return msgspec.json.encode(
        {
            "month": str(done.desk.month),
            "time_zone": done.desk.site.time_zone,
            "ruleset": RULESET,
            "results": [_fields(e) for e in found],
            "set_aside": done.set_aside,
        }
    )


def _fields(explanation: Explanation) -> dict[str, Any]:
    fields: dict[str, Any] = {"file": explanation.file, "patient": explanation.patient}
    if explanation.biller is not None:
        fields["biller"] = [{**asdict(line), "text": line.text} for line in explanation.biller]
    if explanation.care_manager is not None:
        fields["care_manager"] = asdict(explanation.care_manager)
    return fields


def text(found: tuple[Explanation, ...], month: str, width: int) -> str:
    """Plain text: a heading for each patient, paragraphs for each line, then the care manager's list."""
    return "\n".join(line for e in found for line in _text(e, month, width)).rstrip()


def _text(explanation: Explanation, month: str, width: int) -> Iterator[str]:
    heading = f"{explanation.patient}, {month}"
    yield from (heading, "=" * len(heading), "")
    if explanation.biller is not None:
        yield from ("For the biller", "")
        for line in explanation.biller:
            yield from _biller(line, width)
        if not explanation.biller:
            yield from ("No code is asked of this patient: there is no care team and no work.", "")
    if explanation.care_manager is not None:
        yield from _care_manager(explanation.care_manager, width)


def _biller(line: LineTold, width: int) -> Iterator[str]:
    for paragraph in line.paragraphs:
        yield _fill(paragraph, width)
    yield "Required by:"
    for required in line.required_by:
        yield _bullet(str(required), width)
    yield ""


def _care_manager(missing: Missing, width: int) -> Iterator[str]:
    yield from ("For the care manager" if missing.month_is_over else f"For the care manager (by {missing.by})", "")
    if missing.month_is_over:
        yield _bullet(_OVER, width)
    yield from _list("What blocks", missing.blocks, width)
    yield _bullet(missing.minutes, width)
    for name, said in _SAID.items():
        yield from _list(said, getattr(missing, name), width)
    if missing.nothing_else:
        yield "- Nothing else is missing."
    yield ""


def _list(said: str, sentences: tuple[str, ...], width: int) -> Iterator[str]:
    if sentences:
        yield from (f"- {said}:", *(_bullet(s, width, "  ") for s in sentences))


def _fill(words: str, width: int, first: str = "", later: str = "") -> str:
    return textwrap.fill(
        words,
        width,
        initial_indent=first,
        subsequent_indent=later,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _bullet(words: str, width: int, indent: str = "") -> str:
    return _fill(words, width, f"{indent}- ", f"{indent}  ")
