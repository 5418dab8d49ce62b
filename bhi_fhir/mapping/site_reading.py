"""Where a hospital keeps what billing needs: `reading.toml` in the site's folder, data and never code.

What it does not say is read as the contract says. Codes are mapped by ConceptMap and ValueSet JSON beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import tomli

from bhi_fhir.domain.record import Role
from bhi_fhir.errors import MappingError, by_key

Kind = Literal["length", "period", "time-log"]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class LocalCode(_Table, frozen=True):
    """A code as it stands in the record."""

    system: str
    code: str


class TimeLog(LocalCode, frozen=True):
    """An Observation (a flowsheet row) whose value is time spent.

    It lends its time to the Encounter that it belongs to; where that is not itself work, `kind` says what it was.
    `unit`: min, h or s, for values that carry none.
    """

    kind: str = ""
    unit: Literal["", "min", "h", "s"] = ""


class Period(_Table, frozen=True):
    """Encounter.period as time: only for these contact types (none: all), and no longer than this."""

    only_types: tuple[LocalCode, ...] = ()
    longest_minutes: int = 0
    """0: no limit. A longer period is unreadable, not cut."""


class Minutes(_Table, frozen=True):
    order: tuple[Kind, ...] = ("time-log", "length", "period")
    """What is trusted first; what is left out is not read."""
    time_log: tuple[TimeLog, ...] = ()
    period: Period = Period()


class ConsentDocument(LocalCode, frozen=True):
    """A DocumentReference.type that is a signed BHI consent.

    `covers_terms`: the form tells the three facts (specialists, cost sharing, supplemental insurance).
    `speaks_for`: whom the form names: its author, its custodian organization, or whoever bills.
    `dated_by`: what says when it was given: DocumentReference.date, or the start of its context.period.
    """

    covers_terms: bool
    dated_by: Literal["date", "period"] = "date"
    speaks_for: Literal["author", "organization", "whoever-bills"] = "author"


class ConsentAnswer(_Table, frozen=True):
    """An item of a QuestionnaireResponse that is consent when it is answered with yes (true) or with `code`."""

    link_id: str
    covers_terms: bool
    questionnaire: str = ""
    code: str = ""
    speaks_for: Literal["author", "whoever-bills"] = "author"


class Consents(_Table, frozen=True):
    document: tuple[ConsentDocument, ...] = ()
    answer: tuple[ConsentAnswer, ...] = ()


class Teams(_Table, frozen=True):
    """For members whose CareTeam role no map knows: by NPI, then by the codes of their PractitionerRole."""

    npi: dict[str, Role] = {}
    roles_from_practitioner_role: bool = False


class People(_Table, frozen=True):
    """What people are, where the record does not say: NUCC codes by NPI, beside those of the record."""

    nucc: dict[str, tuple[str, ...]] = {}


class SiteReading(_Table, frozen=True):
    minutes: Minutes = Minutes()
    consent: Consents = Consents()
    team: Teams = Teams()
    people: People = People()


AS_USUAL = SiteReading()
"""A site without reading.toml."""


def site_reading(folder: Path) -> SiteReading:
    """Read `reading.toml`; everything at its default where there is none. MappingError names file and key."""
    file = folder / "reading.toml"
    if not file.is_file():
        return AS_USUAL
    try:
        return msgspec.convert(tomli.loads(file.read_text(encoding="utf-8")), SiteReading)
    except (tomli.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MappingError(f"{file} is not readable TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise MappingError(f"{file}: {by_key(str(error))}") from error
