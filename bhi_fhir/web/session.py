"""Who is signed in, on the server: in the ledger's database, sealed with the site's key, so that workers share it.

The browser has a secret in a cookie (cookies.py). What it opens is a row each: a sign-in on its way, a launch (one
patient of one EHR), the caseload. A row is found by a name of its own *and* the browser's secret, so that two patients
in two tabs never mix, and an address alone opens nothing. What stands in the database opens nothing either: it has
digests.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from bhi_fhir.delivery import tables
from bhi_fhir.delivery.ledger import Ledger
from bhi_fhir.delivery.seal import Seal

LONGEST = timedelta(hours=9)
"""A shift: so long does a session live, however much it is used."""

_sessions, _seen = tables.sessions, tables.seen


@dataclass(frozen=True)
class Session:
    """One open row. `name` is what a page's address carries; `browser` the digest of the cookie's secret.

    `ends`: at the latest, so long after it was opened as every other.
    """

    name: str
    kind: str
    browser: str
    data: dict[str, Any]
    key: str
    ends: datetime


class Sessions:
    """One site's. Methods are short transactions in a thread. `idle`: how long an unused one of a kind stays.

    `browsers`: the secrets of a browser.
    """

    def __init__(self, ledger: Ledger, seal: Seal, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.engine, self._ledger = ledger.engine, ledger
        self._site, self._seal, self._now = ledger.site, seal, now

    async def open(self, kind: str, browser: str, data: dict[str, Any], idle: timedelta, name: str = "") -> str:
        """A new row for the browser with this secret; its name."""
        name = name or secrets.token_urlsafe(16)
        row = {
            "key": self._key(kind, name),
            "site": self._site,
            "kind": kind,
            "browser": digest(browser),
            "until": self._now() + idle,
            "ends": self._now() + LONGEST,
            "sealed": self._seal.close(data),
        }

        def insert() -> None:
            with self._ledger.transaction() as db:
                db.execute(sa.insert(_sessions).values(row))

        await asyncio.to_thread(insert)
        return name

    async def find(self, kind: str, name: str, browsers: tuple[str, ...], idle: timedelta) -> Session | None:
        """None for what is not there, is over, or is another browser's. Used, it lives on.

        `name` "": the one of a kind of which a browser has no two; the newest where it has.
        """

        def look() -> Session | None:
            with self._ledger.transaction() as db:
                mine = sa.select(_sessions).where(self._mine(kind, name, browsers))
                row = db.execute(mine.order_by(_sessions.c.ends.desc())).first()
                if row is None:
                    return None
                until = min(self._now() + idle, row.ends)
                db.execute(sa.update(_sessions).where(_sessions.c.key == row.key).values(until=until))
            return self._session(row, name)

        return await asyncio.to_thread(look)

    async def take(self, kind: str, name: str, browser: str) -> Session | None:
        """The same, and it is gone: of two who ask at once one gets it. Another browser's attempt uses it up too."""

        def take() -> Session | None:
            known = sa.and_(_sessions.c.key == self._key(kind, name), _sessions.c.until > self._now())
            with self._ledger.transaction() as db:
                row = db.execute(sa.delete(_sessions).where(known).returning(_sessions)).first()
            if row is None or not secrets.compare_digest(row.browser, digest(browser)):
                return None
            return self._session(row, name)

        return await asyncio.to_thread(take)

    async def again(self, session: Session) -> dict[str, Any] | None:
        """What the row holds now, should another worker have changed it."""

        def read() -> dict[str, Any] | None:
            known = _sessions.c.key == session.key
            with self._ledger.transaction(read=True) as db:
                row = db.execute(sa.select(_sessions.c.sealed).where(known)).first()
            return self._seal.open(row.sealed) if row else None

        return await asyncio.to_thread(read)

    async def keep(self, session: Session, data: dict[str, Any]) -> None:
        """What the row holds from now on; nothing where it is gone."""

        def update() -> None:
            with self._ledger.transaction() as db:
                known = _sessions.c.key == session.key
                db.execute(sa.update(_sessions).where(known).values(sealed=self._seal.close(data)))

        await asyncio.to_thread(update)

    async def close(self, session: Session) -> None:
        def delete() -> None:
            with self._ledger.transaction() as db:
                db.execute(sa.delete(_sessions).where(_sessions.c.key == session.key))

        await asyncio.to_thread(delete)

    async def move(self, browsers: tuple[str, ...], after: str, than: Session) -> None:
        """What a browser had open before that session is opened by another secret from now on."""

        def update() -> None:
            with self._ledger.transaction() as db:
                older = sa.and_(self._of(browsers), _sessions.c.ends < than.ends)
                db.execute(sa.update(_sessions).where(older).values(browser=digest(after)))

        await asyncio.to_thread(update)

    async def of_browser(self, browsers: tuple[str, ...]) -> list[Session]:
        """Everything that this browser has open, without its names, which only its pages know."""

        def read() -> list[Session]:
            with self._ledger.transaction(read=True) as db:
                mine = sa.select(_sessions).where(self._of(browsers), _sessions.c.until > self._now())
                return [self._session(row) for row in db.execute(mine).all()]

        return await asyncio.to_thread(read) if browsers else []

    async def close_all(self, browsers: tuple[str, ...]) -> None:
        def delete() -> None:
            with self._ledger.transaction() as db:
                db.execute(sa.delete(_sessions).where(self._of(browsers)))

        await asyncio.to_thread(delete)

    async def sweep(self) -> list[Session]:
        """What nobody used for too long, or all day, is gone; of two workers who ask at once one gets it."""

        def delete() -> list[sa.Row[Any]]:
            over = sa.and_(_sessions.c.until < self._now(), _sessions.c.site == self._site)
            with self._ledger.transaction() as db:
                rows = list(db.execute(sa.delete(_sessions).where(over).returning(_sessions)))
                # Of another site too, whose own service seems to run no more.
                db.execute(sa.delete(_sessions).where(_sessions.c.ends < self._now()))
            return rows

        return [self._session(row) for row in await asyncio.to_thread(delete)]

    async def once(self, what: str, until: datetime) -> bool:
        """Whether it comes for the first time. `until`: when it would not count any more anyway."""

        def insert() -> bool:
            with self._ledger.transaction() as db:
                db.execute(sa.delete(_seen).where(_seen.c.until < self._now()))
                if db.execute(sa.select(_seen.c.key).where(_seen.c.key == digest(what))).first():
                    return False
                try:
                    db.execute(sa.insert(_seen).values(key=digest(what), until=until))
                except sa.exc.IntegrityError:  # another worker's came at the same moment
                    db.rollback()
                    return False
            return True

        return await asyncio.to_thread(insert)

    def _mine(self, kind: str, name: str, browsers: tuple[str, ...]) -> sa.ColumnElement[bool]:
        c = _sessions.c
        named = c.key == self._key(kind, name) if name else c.kind == kind
        return sa.and_(named, self._of(browsers), c.until > self._now(), c.ends > self._now())

    def _of(self, browsers: tuple[str, ...]) -> sa.ColumnElement[bool]:
        return sa.and_(_sessions.c.browser.in_([digest(each) for each in browsers]), _sessions.c.site == self._site)

    def _session(self, row: sa.Row[Any], name: str = "") -> Session:
        return Session(name, row.kind, row.browser, self._seal.open(row.sealed), row.key, row.ends)

    def _key(self, kind: str, name: str) -> str:
        return digest(f"{self._site}\n{kind}\n{name}")


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
