"""Every pair of monthly codes (bhi-rules 1.3): one is charged, the month otherwise supports the other.

What is charged and what is drafted never holds two codes that exclude each other; codes that may meet do.
"""

from __future__ import annotations

import json
from itertools import permutations, product
from pathlib import Path

import pytest
from record import Record, cocm_record, g0323_record, general_record

from bhi_fhir.domain.decision import Decision
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.mapping.source import Source

SITE = Path(__file__).parents[1] / "mappings" / "sites" / "example"
MONTHLY = ("99492", "99493", "99494", "G2214", "99484", "G0323", "G0568", "G0569", "G0570")
MAY_MEET = {frozenset({"99492", "99494"}), frozenset({"99493", "99494"})}
BASES = ("99492", "99493", "99494", "99484", "G0323")
BESIDE = ("G0544", "G0547", "G0551", "G0552", "G0553", "G0554", "G0560", "99490", "99495", "90834", "G0557")


def supports(code: str, charged: str = "") -> Record:
    """A month that supports a code if nothing else is charged."""
    later = code in ("99493", "G0569") or (code == "99494" and charged == "99493")
    minutes = {"99492": 36, "99493": 31, "99494": 86, "G2214": 16, "99484": 20, "G0323": 20}.get(code, 12)
    if code == "G0323":
        record = g0323_record().person("pcp")
    elif code in ("99484", "G0570"):
        record = general_record()
    else:
        record = cocm_record(episode="later" if later else "initial")
    if code in ("G0568", "G0569", "G0570"):
        record.charge("G0557", id="apcm")
    return record.work(minutes)


def decided(record: Record, **switches: object) -> Decision:
    sources = [
        Source("pair", f"entry[{n}]", json.dumps(entry["resource"]).encode(), entry["fullUrl"])
        for n, entry in enumerate(record.bundle()["entry"])
    ]
    overrides = [f"policy.{key}={json.dumps(value)}" for key, value in switches.items()]
    [(decision, _)] = Desk.open(SITE, record.month, overrides).decide(sources).decisions
    return decision


def drafted(record: Record, **switches: object) -> set[str]:
    return {line.code for line in decided(record, **switches).lines if line.status == "billable"}


def exclude_each_other(pair: tuple[str, str], switches: dict[str, object]) -> bool:
    both_general = bool(switches.get("allow_99484_with_g0323")) and set(pair) == {"99484", "G0323"}
    return frozenset(pair) not in MAY_MEET and not both_general


@pytest.mark.parametrize("code", MONTHLY)
def test_a_month_supports_each_code_by_itself(code: str) -> None:
    assert code in drafted(supports(code))


@pytest.mark.parametrize("code", MONTHLY)
def test_a_code_already_charged_is_not_drafted_again(code: str) -> None:
    assert code not in drafted(supports(code).charge(code))


@pytest.mark.parametrize("allowed", [False, True])
@pytest.mark.parametrize("pair", list(permutations(MONTHLY, 2)), ids="-beside-".join)
def test_codes_that_exclude_each_other_never_meet(pair: tuple[str, str], allowed: bool) -> None:
    charged, code = pair
    switches: dict[str, object] = {"allow_99484_with_g0323": allowed, "fallback_to_99484": "select"}
    record = supports(code, charged).charge(charged)
    found = drafted(record, **switches)
    assert (code in found) == (not exclude_each_other(pair, switches))
    for both in permutations(found | {charged}, 2):
        assert not exclude_each_other(both, switches)


@pytest.mark.parametrize("as_claim", [False, True])
@pytest.mark.parametrize(("beside", "code"), list(product(BESIDE, BASES)))
def test_other_services_stand_beside_bhi(beside: str, code: str, as_claim: bool) -> None:
    record = supports(code)
    record = record.claim(beside, by="other") if as_claim else record.charge(beside, by="other")
    assert code in drafted(record.person("other", "207R00000X"))


@pytest.mark.parametrize("program", ["cocm", "general"])
@pytest.mark.parametrize("path", ["addon", "cpt", "hold"])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("apcm", [False, True])
@pytest.mark.parametrize("minutes", [0, 1, 16, 20, 36, 86])
def test_one_family_and_one_way_of_billing_a_month(
    program: str, path: str, gate: bool, apcm: bool, minutes: int
) -> None:
    record = cocm_record() if program == "cocm" else general_record()
    if minutes:
        record.work(minutes)
    if apcm:
        record.charge("G0557")
    lines = {line.code for line in decided(record, apcm_path=path, addon_minute_gate=gate).lines}
    assert len(lines - {"99494"}) <= 1
    assert "99494" not in lines or lines & {"99492", "99493"}
