"""Mutation testing of bhi_fhir/policy: numbers one up and down, requirements, exclusions and billers dropped.

    PYTHONPATH=tests:tests/mutation python tests/mutation/mutate_policy.py

Every scenario and golden record tries to kill each mutant. Prints the score and every survivor; the exit status
is 1 if there is one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from trials import Trial, trials

from bhi_fhir.domain.value import replace
from bhi_fhir.policy import Code, Policy, Rules, Threshold, policy
from bhi_fhir.policy.loader import in_force
from bhi_fhir.policy.model import FOREVER

Mutant = tuple[str, Policy]


class _Months(dict[int, Rules]):
    """The rules of a mutated policy, month by month as they are asked for."""

    def __init__(self, whole: Policy) -> None:
        super().__init__()
        self.whole = whole

    def __missing__(self, month: int) -> Rules:
        self[month] = in_force(month, self.whole)
        return self[month]


def main() -> int:
    rows = list(trials())
    whole = policy()
    survivors, count = [], 0
    for name, mutant in mutants(whole):
        count += 1
        if not killed(rows, mutant):
            survivors.append(name)
    score = 100 * (count - len(survivors)) / count
    said = [f"  {name}" for name in survivors]
    print("\n".join([*said, f"{count} mutants, {len(survivors)} survived: {score:.1f} % killed"]))  # noqa: T201
    return int(bool(survivors))


def killed(rows: list[Trial], mutant: Policy) -> bool:
    months = _Months(mutant)
    for index, trial in enumerate(rows):
        try:
            passed = trial(months)
        except Exception:  # noqa: BLE001  # a mutant may break in any way: that is a kill
            passed = False
        if not passed:
            rows.insert(0, rows.pop(index))
            return True
    return False


def mutants(whole: Policy) -> Iterator[Mutant]:
    for position, (code, thresholds) in enumerate(whole.codes):
        for name, changed in code_mutants(code):
            yield f"{code.code}: {name}", with_code(whole, position, changed, thresholds)
        for place, (start, threshold) in enumerate(thresholds):
            if threshold.rule == "switch":
                continue  # the switch decides; the loader refuses a `full` that is none of its readings
            for name, number in threshold_mutants(threshold):
                others = (*thresholds[:place], (start, number), *thresholds[place + 1 :])
                yield f"{code.code}: {name}", with_code(whole, position, code, others)
    for position, parameter in enumerate(whole.parameters):
        for place, dated in enumerate(parameter.values):
            for step in (-1, 1):
                values = list(parameter.values)
                values[place] = replace(dated, value=dated.value + step)
                changed_parameter = replace(parameter, values=tuple(values))
                parameters = (*whole.parameters[:position], changed_parameter, *whole.parameters[position + 1 :])
                yield f"{parameter.name}: {dated.value} {step:+d}", replace(whole, parameters=parameters)


def code_mutants(code: Code) -> Iterator[tuple[str, Code]]:
    for requirement in code.block:
        yield f"block without {requirement}", replace(code, block=tuple(r for r in code.block if r != requirement))
    for requirement in code.review:
        yield f"review without {requirement}", replace(code, review=tuple(r for r in code.review if r != requirement))
        rest = tuple(r for r in code.review if r != requirement)
        yield f"{requirement} blocks", replace(code, review=rest, block=(*code.block, requirement))
    for other in sorted(code.excludes):
        yield f"excludes without {other}", replace(code, excludes=code.excludes - {other})
    for kind in () if code.adds_to else sorted(code.billers):  # the loader holds an add-on to its base's billers
        yield f"billers without {kind}", replace(code, billers=code.billers - {kind})
    if code.fallback_for:
        yield "no fallback", replace(code, fallback_for="")
    if code.opened_by:
        yield "opened by any initiating visit", replace(code, opened_by=frozenset())
    start, end = code.valid
    if start > 2025 * 12:
        yield "valid a month later", replace(code, valid=(start + 1, end))
    if start > 2025 * 12:
        yield "valid a month earlier", replace(code, valid=(start - 1, end))
    if end != FOREVER and code.drafted:
        yield "valid a month longer", replace(code, valid=(start, end + 1))
    first, last = code.verified
    yield "verified a month less", replace(code, verified=(first, last - 1))


def threshold_mutants(threshold: Threshold) -> Iterator[tuple[str, Threshold]]:
    for step in (-1, 1):
        yield f"full {threshold.full} {step:+d}", replace(threshold, full=threshold.full + step)
        if threshold.through is not None:
            yield f"through {threshold.through} {step:+d}", replace(threshold, through=threshold.through + step)


def with_code(whole: Policy, position: int, code: Code, thresholds: tuple[tuple[int, Threshold], ...]) -> Policy:
    return replace(whole, codes=(*whole.codes[:position], (code, thresholds), *whole.codes[position + 1 :]))


if __name__ == "__main__":
    sys.exit(main())
