"""Everything that ends a run, as a tree.

    BhiError                 one sentence that says what to do
    ├── UsageError           wrong usage or configuration                     exit status 2
    │   ├── SiteError        a site's folder: names file and key
    │   ├── MappingError     a code map: names the file
    │   └── PolicyError      a policy file, or a month nobody has verified: names the file
    └── ServerError          the FHIR server refused or could not be reached  exit status 3
        ├── Unreachable      no answer at all, or the question was never sent
        ├── Refused          an answer that says no
        ├── Conflict         the resource changed under us, or matches more than one
        └── Incomplete       an answer that is not the whole answer

A bad record is no error: it is set aside (domain.record.SetAside) and the run goes on.
Only `cli` (and the service) turn an error into an exit status.
"""

import re


class BhiError(Exception):
    """One sentence for a person, without patient data."""


class UsageError(BhiError):
    """The command line or the configuration is wrong."""


class SiteError(UsageError):
    """A site's folder is wrong: the message names file and key."""


class MappingError(UsageError):
    """A code map is wrong: the message names the file."""


class PolicyError(UsageError):
    """A policy file is wrong, or nobody has verified it for the month: the message names the file."""


class ServerError(BhiError):
    """The FHIR server refused or could not be reached."""


class Unreachable(ServerError):
    """No answer came: the connection failed or timed out, or the server was not asked.

    `sent`: False if certainly nothing reached the FHIR server (no connection, no token, a server that is left
    alone); True if it is unknown what it did. `passing`: whether the same request may soon succeed.
    """

    def __init__(self, message: str, *, sent: bool = True, passing: bool = True) -> None:
        super().__init__(message)
        self.sent = sent
        self.passing = passing


class Refused(ServerError):
    """The server answered and said no."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Conflict(ServerError):
    """The resource changed since it was read, or a condition matched more than one."""


class Incomplete(ServerError):
    """What came is not the whole answer, and says so."""


_KEY = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"Object contains unknown field `([^`]*)`")
_MISSING = re.compile(r"Object missing required field `([^`]*)`")


def by_key(problem: str) -> str:
    """msgspec's first problem as one sentence that begins with the key; it never quotes the value."""
    found = _KEY.search(problem)
    place = found[1] if found else ""
    plain = _KEY.sub("", problem)
    for pattern, said in ((_UNKNOWN, "is not a known key"), (_MISSING, "is missing")):
        if named := pattern.match(plain):
            return f"{'.'.join(filter(None, (place, named[1])))} {said}"
    return f"{place}: {plain[0].lower()}{plain[1:]}" if place else plain
