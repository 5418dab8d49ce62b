"""A clinician at work: the EHR's server read, and drafts written, with the token of whoever is signed in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import httpx

from bhi_fhir.audit import PatientAudit, Person
from bhi_fhir.delivery.doors import doors
from bhi_fhir.delivery.hand import Delivery
from bhi_fhir.delivery.writer import writing
from bhi_fhir.domain.record import Withheld
from bhi_fhir.errors import Refused, ServerError, Unreachable
from bhi_fhir.fhir.client import BhiClient
from bhi_fhir.fhir.reading import read
from bhi_fhir.jobs.connecting import connection
from bhi_fhir.jobs.desk import Desk
from bhi_fhir.jobs.draft_run import draft_run
from bhi_fhir.jobs.office import Office
from bhi_fhir.jobs.patient_record import RecordReader, ServerRecord
from bhi_fhir.jobs.people import Names
from bhi_fhir.views.common import UNREADABLE
from bhi_fhir.web.granted import Granted
from bhi_fhir.web.launch import Launches, tokens_of
from bhi_fhir.web.oauth_client import SignInRefused
from bhi_fhir.web.pages.shown import told
from bhi_fhir.web.service import Service
from bhi_fhir.web.session import Session

_MARGIN = timedelta(seconds=30)


class SignedOut(Unreachable):
    """The EHR does not take the person's token any more."""

    def __init__(self) -> None:
        super().__init__("The sign-in at the EHR has ended.", sent=False, passing=False)


class UserToken(httpx.Auth):
    """The launch's access token, renewed before it ends and once after a 401.

    A refresh token is used once: whoever renews holds the lock of the launch, across workers, and the new one is
    written down before anything is asked with it.
    """

    def __init__(self, launches: Launches, session: Session) -> None:
        self._launches, self._session = launches, session
        self._one = asyncio.Lock()
        self.ended = False

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self._valid("")
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {await self._valid(token)}"
            again = yield request
            if again.status_code == 401:
                self.ended = True

    async def _valid(self, refused: str) -> str:
        async with self._one:
            if self.ended:
                raise SignedOut
            if not (token := self._standing(refused)):
                async with writing(self._launches.sessions.engine, f"launch\n{self._session.name}", 30.0):
                    await self._renewed_meanwhile()
                    token = self._standing(refused) or await self._renew()
            return token

    def _standing(self, refused: str) -> str:
        data = self._session.data
        lives = datetime.now(UTC) < datetime.fromisoformat(data["until"]) - (
            _MARGIN if data["refresh"] else timedelta()
        )
        return str(data["access"]) if lives and data["access"] != refused else ""

    async def _renewed_meanwhile(self) -> None:
        found = await self._launches.sessions.again(self._session)
        if found is None:
            self.ended = True
            raise SignedOut
        self._session.data.update(found)

    async def _renew(self) -> str:
        data, client = self._session.data, self._launches.client
        if not data["refresh"]:
            self.ended = True
            raise SignedOut
        try:
            grant = await client.refresh(await client.server(data["iss"]), data["refresh"])
        except SignInRefused:
            self.ended = True
            raise SignedOut from None
        if grant.patient is not None and f"Patient/{grant.patient}" != data["patient"]:
            self.ended = True
            raise SignedOut
        data.update(tokens_of(grant, before=data["refresh"]))
        if grant.scope is not None:
            data["scope"] = grant.scope
        await self._launches.sessions.keep(self._session, data)
        return grant.access_token


@dataclass
class Reader(RecordReader):
    """Keeps the names of who is in the record, and says what the launch may not see."""

    granted: Granted = field(default_factory=Granted)
    names: Names = field(default_factory=Names)

    async def read(self, patient: str) -> ServerRecord:
        record = await super().read(patient)
        self.names = await asyncio.to_thread(Names.of, record.sources)
        # Whether the server refuses such a type or gives an empty answer: this is why.
        unread = self.granted.unread(self.types())
        record.withheld = [each for each in record.withheld if each.part not in unread]
        record.withheld += [Withheld(kind, _NOT_GRANTED.format(kind)) for kind in unread]
        return record

    async def know(self, patient: str) -> None:
        """Only who it is."""
        self.names = Names(Names.patient_of(await read(self.client, patient)))

    def types(self) -> list[str]:
        return self._types()


_NOT_GRANTED = "the EHR did not grant this launch to read {}"


@dataclass
class PersonsOffice(Office):
    """The site's office with the person's own client: all that is read and written is audited as this person's."""

    reader: Reader
    person: Person = field(default_factory=lambda: Person(""))
    is_named: bool = False

    @contextmanager
    def heard_for(self, patient: str, user: Person | None = None) -> Iterator[PatientAudit]:
        with super().heard_for(patient, user or self.person) as audit:
            yield audit


@asynccontextmanager
async def office_of(shared: Service, launches: Launches, session: Session, desk: Desk) -> AsyncIterator[PersonsOffice]:
    """Told with 401 if the sign-in has ended, also in the middle: half a record is not shown."""
    base = await shared.office_for(desk)
    data, site = session.data, desk.site
    auth = UserToken(launches, session)
    link = replace(connection(site), base_url=data["iss"], aliases=(site.fhir.base_url, *site.fhir.aliases), auth=auth)
    async with BhiClient(link, heard=lambda *what: base.audit.get().heard(*what)) as client:
        granted = Granted.read(data["scope"])
        reader = Reader(client, base.served, desk.reading, granted=granted)
        drafting = draft_run(desk, base.now.date()).site
        sinks = doors(site.delivery, desk.folder, client, base.served, drafting, lambda: base.now.astimezone(site.zone))
        office = PersonsOffice(
            desk=desk,
            client=client,
            served=base.served,
            reader=reader,
            ledger=base.ledger,
            delivery=Delivery(base.ledger, sinks, site.zone),
            log=base.log,
            audit=base.audit,
            now=base.now,
        )
        try:
            with base.heard_for(data["patient"]) as audit:
                office.person, office.is_named = await _person(client, session)
                await base.to_thread(audit.commit)
            yield office
            if auth.ended:
                raise SignedOut
        except (SignedOut, Refused) as error:
            if auth.ended or (isinstance(error, Refused) and error.status == 401):
                await launches.sessions.close(session)
                raise told(
                    401,
                    "Your sign-in has ended",
                    "The EHR does not accept it any more. Open the page again from the EHR.",
                ) from None
            raise


async def _person(client: BhiClient, session: Session) -> tuple[Person, bool]:
    """By the name that the EHR has for them, and whether it said at all who signed in."""
    said = session.data["person"]
    if not said:
        return Person("somebody whom the EHR did not name"), False
    name = said["name"]
    if not name and said["reference"].startswith("Practitioner/"):
        try:
            name = Names.one(await read(client, said["reference"]))
        except (ServerError, *UNREADABLE):
            name = ""
        said["name"] = name
    known_as = said["reference"] or said["sub"]
    return Person(name or known_as, known_as, said["issuer"], said["token"]), True
