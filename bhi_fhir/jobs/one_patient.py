"""One patient's month, read from the site's server when somebody asks. Nothing is delivered and nothing kept."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, SetAside
from bhi_fhir.jobs.attesting import still_attested, with_attestations
from bhi_fhir.jobs.desk import Decided
from bhi_fhir.jobs.evaluate import Evaluation, Result
from bhi_fhir.jobs.office import Office

SERVER = "server"

Beside = Callable[..., Awaitable[Any]]
"""Runs a call where it does not hold up the event loop."""


async def at_once(call: Callable[..., Any], *args: Any) -> Any:
    """For a loop on which nobody else waits."""
    return call(*args)


async def decide_patient(office: Office, patient: str, beside: Beside) -> Evaluation:
    """The month of the office's desk as a sync would decide it, with what people vouch for.

    Raises ServerError if the patient cannot be read. No result: the record is merged or not readable.
    """
    desk = office.desk
    record = await office.reader.read(patient)
    decided: Decided = await beside(desk.decide, record.sources, record.withheld)
    results = [await _vouched(office, *each, beside) for each in decided.decisions if each[0].patient == patient]
    return Evaluation(desk, tuple(results), tuple(_placed(decided.set_aside)))


async def _vouched(office: Office, decision: Decision, chart: Chart, beside: Beside) -> Result:
    attested = await office.to_thread(office.ledger.attested, decision.patient, str(office.desk.month))
    if attested:
        holding, lapsed = await still_attested(office.client, office.ledger, decision, attested)
        decision, chart = await beside(with_attestations, office.desk, chart, holding, lapsed)
    return Result(SERVER, decision, chart)


def _placed(set_aside: Iterable[SetAside]) -> list[SetAside]:
    return sorted(set_aside, key=lambda each: (each.file, each.at, each.resource))
