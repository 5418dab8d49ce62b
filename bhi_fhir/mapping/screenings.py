"""Rating scales: QuestionnaireResponse, and Observation of a scale's total."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from bhi_fhir.domain.record import Screening
from bhi_fhir.domain.time import Moment
from bhi_fhir.mapping.numbers import whole
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.terminology import Terminology
from bhi_fhir.views.common import Beside, CodeableConcept, Coding, Extension
from bhi_fhir.views.observation import Observation
from bhi_fhir.views.questionnaire_response import Answer, Item, QuestionnaireResponse

LOINC = "http://loinc.org"
_LOINC_CODE = re.compile(r"[0-9]{1,7}-[0-9]")
_SCALE = "urn:bhi-fhir:scale"
_NO_ANSWER = "no-answer"
_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_NOT_GIVEN = frozenset({"not-asked", "asked-declined", "asked-unknown", "not-performed", "not-applicable"})
"""Reasons why nothing was answered. Any other is why what was cannot be read: masked, not permitted, an error."""
_ORDINAL = (
    "http://hl7.org/fhir/StructureDefinition/ordinalValue",
    "http://hl7.org/fhir/StructureDefinition/itemWeight",
)
Parts = dict[str, frozenset[str]]
"""scale -> the parts of it that a code names: panel, item, total, risk"""


def screenings(rows: PatientRows, reading: Reading) -> Iterator[Screening]:
    for key, row in rows.of(QuestionnaireResponse):
        if row.status in ("completed", "amended"):
            yield _from_answers(key, row, reading)
    for key, observation in rows.of(Observation):
        if observation.status in ("final", "amended", "corrected"):
            yield from _from_total(key, observation, reading)


def _from_answers(key: str, row: QuestionnaireResponse, reading: Reading) -> Screening:
    when = reading.clock.moment(row.authored)
    answers = _answered(row.item or [], reading.terms)
    scale = scale_of(row, reading.terms)
    if not scale:
        return Screening(key, "", when, complete=False)
    items = _codes_of(scale, "item", reading.terms)
    totals = [answers[c] for c in _codes_of(scale, "total", reading.terms) if c in answers]
    numbers = (_number(total, reading) for total in totals)
    given, remark = _stated(next((n for n in numbers if n is not None), None), scale, reading)
    risk = any((_number(answers[c], reading) or 0) > 0 for c in _codes_of(scale, "risk", reading.terms) if c in answers)
    answered = [c for c in items if c in answers]
    if items and len(answered) == len(items):
        scores = [_number(answers[c], reading) for c in items]
        total, remark = _scored(scores, given, remark, scale, reading)
        return Screening(key, scale, when, True, total, risk, remark)
    if not answered and totals:
        is_coded = any(answer.value_coding for total in totals for answer in total)
        doubt = "" if given is not None or is_coded else remark or "its total cannot be read"
        return Screening(key, scale, when, not doubt, given, risk, remark, doubt)
    remark = f"{len(answered)} of {len(items)} items are answered"
    return Screening(
        key, scale, when, False, None, risk, remark, _doubt(row, answers, len(items) - len(answered), reading)
    )


def _doubt(row: QuestionnaireResponse, answers: dict[str, list[Answer]], lacking: int, reading: Reading) -> str:
    """Why it may be complete though so many items seem not to be answered; "" if it is not."""
    if any(_hides_answer(item) for item in _flat(row.item or [])):
        return "an answer is withheld"
    local = [c for c in answers if not _LOINC_CODE.fullmatch(c) and not _parts(Coding(LOINC, c), reading.terms)]
    return "it has answers under linkIds that no map knows" if lacking and len(local) >= lacking else ""


def _scored(
    scores: list[int | None], given: int | None, remark: str, scale: str, reading: Reading
) -> tuple[int | None, str]:
    """(total, remark) of a scale all of whose items are answered; `given` and `remark`: what it states itself."""
    if not _within(scores, scale, "item", reading):
        return None, "an answer is outside its item's range"
    if None in scores:
        return given, remark or ("" if given is not None else "an answer cannot be scored")
    total = sum(score for score in scores if score is not None)
    if given is not None and total != given:
        remark = f"its stated total {given} disagrees with its answers ({total}); the answers decide"
    return total, remark


def _stated(total: int | None, scale: str, reading: Reading) -> tuple[int | None, str]:
    """(total, remark): a total that the scale cannot have is none that can be read."""
    if _within([total], scale, "total", reading):
        return total, ""
    return None, f"its stated total {total} is outside the scale's range"


def _within(values: list[int | None], scale: str, part: str, reading: Reading) -> bool:
    """Can this part of the scale have these values? Where no map knows its highest, it may have any."""
    highest = reading.terms.once(_highest, (scale, part), reading.terms)
    return highest is None or all(value is None or 0 <= value <= highest for value in values)


def _highest(asked: tuple[str, str], terms: Terminology) -> int | None:
    """What this part of the scale has at most; None where no map knows it."""
    highest, _ = terms.translate("scale-highest", CodeableConcept((Coding(_SCALE, "/".join(asked)),)))
    return max(map(int, highest), default=None)


def _from_total(key: str, row: Observation, reading: Reading) -> Iterator[Screening]:
    """A scale's total alone; or one answer of it, which matters only if it is a risk item.

    One whose code is withheld may be a scale's.
    """
    if row.code is None or not (row.code.text or any(c.code for c in row.code.coding or ())):
        yield Screening(key, "", _observed(row, reading), complete=False, doubt="its code cannot be read")
        return
    for coding in (row.code.coding or ()) if row.code else ():
        for name, parts in _parts(coding, reading.terms).items():
            total = _total(row)
            if "total" in parts:
                value = row.value_codeable_concept
                coded = value is not None and not reading.terms.holds(_NO_ANSWER, value)
                readable, remark = _stated(total, name, reading)
                complete = readable is not None or coded
                doubt = "" if complete else remark or _unreadable_total(row)
                yield Screening(key, name, _observed(row, reading), complete, readable, remark=remark, doubt=doubt)
                return
            if "risk" in parts and (total or _score(row, reading)):
                yield Screening(key, name, _observed(row, reading), complete=False, risk=True)
                return


def _unreadable_total(row: Observation) -> str:
    """Why a total cannot be read that is there, or may be; "" where none was taken."""
    if row.value_integer is not None or row.value_quantity is not None or row.value_string:
        return "its total cannot be read"
    reasons = [c.code for c in (row.data_absent_reason.coding or ())] if row.data_absent_reason else []
    hidden = any(reason not in _NOT_GIVEN for reason in reasons) or _hides(row.beside_integer)
    return "its total is withheld" if hidden else ""


def _hides_answer(item: Item) -> bool:
    """Has the item an answer that is not shown?"""
    hidden = _is_hidden(item.extension)
    for answer in item.answer or ():
        coding = answer.value_coding
        hidden = hidden or _is_hidden(answer.extension) or (coding is not None and _is_hidden(coding.extension))
        hidden = hidden or _hides(answer.beside_integer) or _hides(answer.beside_decimal)
    return hidden


def _hides(beside: Beside | None) -> bool:
    return beside is not None and _is_hidden(beside.extension)


def _is_hidden(extensions: Sequence[Extension] | None) -> bool:
    return any(each.url == _ABSENT and each.value_code not in _NOT_GIVEN for each in extensions or ())


def _observed(row: Observation, reading: Reading) -> Moment | None:
    clock = reading.clock
    return (
        clock.moment(row.effective_date_time)
        or clock.moment(row.effective_instant)
        or clock.period(row.effective_period).start
        or clock.moment(row.issued)
    )


def _score(row: Observation, reading: Reading) -> int:
    codes, _ = reading.terms.translate("score", row.value_codeable_concept)
    return max(map(int, codes), default=0)


def _total(row: Observation) -> int | None:
    value = row.value_integer if row.value_integer is not None else None
    if value is None and row.value_quantity:
        value = row.value_quantity.value
    return whole(value)


def scale_of(row: QuestionnaireResponse, terms: Terminology) -> str:
    """By the questionnaire's canonical, else by the scale with the most answered items."""
    canonical = (row.questionnaire or "").split("|")[0].rstrip("/")
    if canonical:
        for coding in (Coding("urn:ietf:rfc:3986", canonical), Coding(LOINC, canonical.rpartition("/")[2])):
            panels = sorted(name for name, parts in _parts(coding, terms).items() if "panel" in parts)
            if panels:
                return panels[0]
    counts: dict[str, int] = {}
    for code in _answered(row.item or [], terms):
        for name, parts in _parts(Coding(LOINC, code), terms).items():
            counts[name] = counts.get(name, 0) + (2 if "item" in parts else 1)
    return min(counts, key=lambda name: (-counts[name], name)) if counts else ""


def _parts(coding: Coding, terms: Terminology) -> Parts:
    return terms.once(_read_parts, coding, terms)


def _read_parts(coding: Coding, terms: Terminology) -> Parts:
    codes, _ = terms.translate("scale", CodeableConcept((coding,)))
    found: dict[str, set[str]] = {}
    for code in codes:
        name, _, part = code.partition("/")
        found.setdefault(name, set()).add(part)
    return {name: frozenset(parts) for name, parts in found.items()}


def _codes_of(scale: str, part: str, terms: Terminology) -> list[str]:
    return terms.once(_read_codes_of, f"{scale}/{part}", terms)


def _read_codes_of(wanted: str, terms: Terminology) -> list[str]:
    return sorted(code for (_, code), targets in terms.targets("scale").items() if wanted in targets)


def _answered(items: Iterable[Item], terms: Terminology) -> dict[str, list[Answer]]:
    """Answers by the last path segment of the linkId, at any depth; an item without an answer is absent."""
    found: dict[str, list[Answer]] = {}
    for item in items:
        values = [a for a in item.answer or () if _has_value(a, terms)]
        if values and item.link_id:
            found[item.link_id.rstrip("/").rpartition("/")[2]] = values
        if item.item:
            found |= _answered(item.item, terms)
        for answer in item.answer or ():
            if answer.item:
                found |= _answered(answer.item, terms)
    return found


def says_yes(items: Iterable[Item], link_id: str, code: str) -> bool | None:
    """Is the item answered with true, or, where a code is wanted, with that code? None: it is not answered so."""
    answers = [a for item in _flat(items) if item.link_id == link_id for a in item.answer or ()]
    if code:
        given = [a.value_coding.code == code for a in answers if a.value_coding is not None]
    else:
        given = [a.value_boolean for a in answers if a.value_boolean is not None]
    return any(given) if given else None


def _flat(items: Iterable[Item]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from _flat(item.item or ())
        for answer in item.answer or ():
            yield from _flat(answer.item or ())


def _has_value(answer: Answer, terms: Terminology) -> bool:
    """Is it answered? "Asked but declined" is no answer; a coding with a display alone is one that nobody can score."""
    coding = answer.value_coding
    if (
        coding
        and (coding.code or coding.display)
        and not terms.once(_is_no_answer, (coding.system, coding.code), terms)
    ):
        return True
    return any(
        v is not None
        for v in (
            answer.value_integer,
            answer.value_decimal,
            answer.value_quantity,
            answer.value_boolean,
            answer.value_string,
        )
    )


def _is_no_answer(asked: tuple[str | None, str | None], terms: Terminology) -> bool:
    return terms.holds(_NO_ANSWER, CodeableConcept((Coding(*asked),)))


def _scored_by(asked: tuple[str | None, str | None], terms: Terminology) -> int | None:
    codes, _ = terms.translate("score", CodeableConcept((Coding(*asked),)))
    return next((n for code in sorted(codes) if (n := whole(Decimal(code))) is not None), None)


def _number(answers: list[Answer], reading: Reading) -> int | None:
    """The score of an answer: a number, an ordinal, or a mapped code."""
    answer = answers[0]
    return next((n for v in _values(answer, reading) if v is not None and (n := whole(v)) is not None), None)


def _values(answer: Answer, reading: Reading) -> Iterator[Decimal | int | None]:
    """Every value that an answer states, the surest first."""
    coding = answer.value_coding
    yield answer.value_integer
    yield answer.value_decimal
    if answer.value_quantity:
        yield answer.value_quantity.value
    if answer.extension or (coding and coding.extension):
        for extension in (*(answer.extension or ()), *((coding.extension if coding else None) or ())):
            if extension.url in _ORDINAL:
                yield extension.value_decimal
                yield extension.value_integer
    if coding:
        yield reading.terms.once(_scored_by, (coding.system, coding.code), reading.terms)
    if answer.value_boolean is not None:
        yield int(answer.value_boolean)
