"""What the requests of one worker share: the site's desks, its server and ledger, the pool."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import cast

from starlette.requests import HTTPConnection

from bhi_fhir.errors import PolicyError, SiteError
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.office import Office, opened
from bhi_fhir.jobs.patient_record import RecordReader
from bhi_fhir.settings import Site
from bhi_fhir.web.pool import Pool
from bhi_fhir.web.problems import bad

_DESKS = 24
"""Months that are kept at hand."""


@dataclass
class Service:
    """`stack` ends with the app: what a router opens for good is entered there."""

    desk: Desk
    pool: Pool
    began: datetime = field(default_factory=lambda: datetime.now(UTC))
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    _desks: OrderedDict[str, Desk] = field(default_factory=OrderedDict)
    _office: Office | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def site(self) -> Site:
        return self.desk.site

    def now(self) -> datetime:
        return datetime.now(UTC)

    def today(self) -> date:
        return self.now().astimezone(self.site.zone).date()

    def desk_for(self, month: str) -> Desk:
        """The site's desk for a month, "2026-03". Problem 400 for one of which policy knows nothing."""
        desk = self._desks.get(month)
        if desk is None:
            try:
                desk = self._desks[month] = self.desk.for_month(month)
            except PolicyError:
                raise bad("not-supported", f"Policy has no values for {month}.") from None
            if len(self._desks) > _DESKS:
                self._desks.popitem(last=False)
        return desk

    async def office_for(self, desk: Desk) -> Office:
        """The site's server, ledger and audit, opened once, with a reader of its own for what is asked now.

        Raises SiteError, AuditError or ServerError; then the next one who asks opens anew.
        """
        if not desk.site.fhir.base_url:
            raise SiteError("site.toml: fhir.base_url is missing, the address of the site's FHIR server")
        async with self._opening:
            if self._office is None:
                self._office = await self.stack.enter_async_context(opened(self.desk, self.now(), self.now))
        office = self._office
        # People and roles are remembered for one record only: a service runs for months.
        reader = RecordReader(office.client, office.served, desk.reading)
        return replace(office, desk=desk, reader=reader, now=self.now())

    async def close(self) -> None:
        self.pool.close()
        await self.stack.aclose()


def of(connection: HTTPConnection) -> Service:
    """The service that a request is made to."""
    return cast(Service, connection.app.state.service)
