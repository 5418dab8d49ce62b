"""Numbers for Prometheus: routes by their templates, never an address as it was called.

With several workers each writes to files of a folder that `serve` makes (PROMETHEUS_MULTIPROC_DIR), and any of them
answers for all.
"""

from __future__ import annotations

import os
from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER = "PROMETHEUS_MULTIPROC_DIR"

_SECONDS = Histogram(
    "bhi_fhir_request_seconds",
    "How long requests took.",
    ("method", "route"),
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 60),
)
_REQUESTS = Counter("bhi_fhir_requests", "Requests by status.", ("method", "route", "status"))
_DECISIONS = Counter("bhi_fhir_decisions", "Months decided.")
_SET_ASIDE = Counter("bhi_fhir_set_aside", "Resources set aside.")


@cache  # methods, templates of routes and statuses are few
def _of(method: str, route: str, status: int) -> tuple[Histogram, Counter]:
    return _SECONDS.labels(method, route), _REQUESTS.labels(method, route, str(status))


def seen(method: str, route: str, status: int, seconds: float) -> None:
    duration, count = _of(method, route, status)
    duration.observe(seconds)
    count.inc()


def decided(decisions: int, set_aside: int) -> None:
    _DECISIONS.inc(decisions)
    _SET_ASIDE.inc(set_aside)


def page() -> tuple[bytes, str]:
    """The numbers of all workers, and their content type."""
    registry = REGISTRY
    if os.environ.get(FOLDER):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
