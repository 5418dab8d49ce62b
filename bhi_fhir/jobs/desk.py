"""A site at work: its switches, maps and zone, and the one way from a record to its decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from bhi_fhir.domain.decision import Decision
from bhi_fhir.domain.record import Chart, SetAside, Withheld
from bhi_fhir.domain.time import ServiceMonth
from bhi_fhir.domain.value import Value
from bhi_fhir.domain.value import replace as changed
from bhi_fhir.errors import MappingError, UsageError
from bhi_fhir.mapping.chart import charts
from bhi_fhir.mapping.checking import check
from bhi_fhir.mapping.moments import Clock
from bhi_fhir.mapping.reading import Reading
from bhi_fhir.mapping.record import Record
from bhi_fhir.mapping.site_reading import SiteReading, site_reading
from bhi_fhir.mapping.source import Source
from bhi_fhir.mapping.terminology import Terminology
from bhi_fhir.policy import Rules, rules_of
from bhi_fhir.rules.decide import decider
from bhi_fhir.settings import Site
from bhi_fhir.shipped import shipped
from bhi_fhir.site_file import load_site


class Decided(Value, frozen=True):
    """One input decided: each patient's decision with the chart it rests on, and what was set aside."""

    decisions: tuple[tuple[Decision, Chart], ...]
    set_aside: tuple[SetAside, ...]


@dataclass(frozen=True)
class Desk:
    """`folder` is the site's, `overrides` what was said on top of it."""

    folder: Path
    overrides: tuple[str, ...]
    site: Site
    terms: Terminology
    reading: SiteReading
    month: ServiceMonth
    rules: Rules

    @classmethod
    def open(cls, folder: Path, month: str, overrides: Iterable[str] = ()) -> Desk:
        """Read a site's folder for one month. UsageError for anything wrong with either."""
        overrides = tuple(overrides)
        site = load_site(folder, overrides)
        try:
            service_month = ServiceMonth.parse(month, site.zone)
        except ValueError as error:
            raise UsageError(f"--month: {error}") from error
        base = shipped("mappings") / "base"
        terms = Terminology([base, folder])
        if problems := check(base, folder).problems:
            raise MappingError(f"{folder}: {problems[0]} (bhi-fhir mappings check shows all)")
        return cls(folder, overrides, site, terms, site_reading(folder), service_month, rules_of(service_month.index))

    def for_month(self, month: str) -> Desk:
        """The same site for another month."""
        other = ServiceMonth.parse(month, self.site.zone)
        return replace(self, month=other, rules=rules_of(other.index))

    def decide(self, sources: Iterable[Source], withheld: Iterable[Withheld] = ()) -> Decided:
        """Everything in `sources` is one record, of one patient or many; whole but for what is `withheld`."""
        record = Record.read(sources)
        record.withheld += [(None, part) for part in withheld]
        clock = Clock(self.site.zone)
        found = charts(record, Reading(record, self.terms, clock, self.reading, self.month.span))
        noted = [self.noted(chart, clock) for chart in found.charts]
        return Decided(tuple((self.decide_chart(chart), chart) for chart in noted), found.set_aside)

    def noted(self, chart: Chart, clock: Clock) -> Chart:
        """The chart with a warning, where dateTimes had to be read in the site's own zone."""
        if not clock.assumed:
            return chart
        note = f"{clock.assumed} dateTimes have no zone and were read in {self.site.time_zone}"
        return changed(chart, warnings=(*chart.warnings, note))

    def decide_chart(self, chart: Chart) -> Decision:
        return self._decider(chart)

    @cached_property
    def _decider(self) -> Callable[[Chart], Decision]:
        """What does not depend on the patient is worked out once."""
        return decider(self.month, self.rules, self.site.switches)
