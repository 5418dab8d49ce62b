"""Who was on a program's teams when an entry was made."""

from __future__ import annotations

from bhi_fhir.domain.record import Activity, Role
from bhi_fhir.domain.time import BEGINNING, END
from bhi_fhir.rules.track import Place, at_moment, in_stretch

_TREATING = frozenset({Role.TREATING})
_CLINICAL = frozenset(Role) - {Role.ADMINISTRATIVE}
_CONSULTANT = frozenset({Role.CONSULTANT})


class Crew:
    """Everybody on a program's teams."""

    def __init__(self, places: list[Place], activities: tuple[Activity, ...]) -> None:
        self.places = places
        self._seats: dict[str, list[Place]] = {}
        moments = [a.when for a in activities if a.when]
        first = min((m.earliest for m in moments), default=END)
        last = max((*(m.latest for m in moments), *(a.span[1] for a in activities if a.span)), default=BEGINNING)
        self.steady = all(place[0] < first and last < place[1] for place in places)
        """Everybody was there from before the first entry until after the last."""
        self.is_plain = self.steady and all(member.person and member.roles for *_, member in places)
        """Steady, and everybody is known by name and role."""
        self._with: dict[frozenset[Role], frozenset[str]] = {}
        self._staff: dict[tuple[frozenset[Role], tuple[str, ...]], frozenset[str]] = {}

    def having(self, roles: frozenset[Role]) -> frozenset[str]:
        """Everybody who ever had one of these roles; on a steady crew, at every entry."""
        known = self._with.get(roles)
        if known is None:
            mine = [m.person for *_, m in self.places if m.person and not roles.isdisjoint(m.roles)]
            known = self._with[roles] = frozenset(mine)
        return known

    def did(self, activity: Activity, kind: str) -> bool:
        """Was it surely done by a clinical member of the team (the consultant, for a psychiatric review)?"""
        if not activity.people or activity.when is None:
            return False
        wanted = _CONSULTANT if kind == "psychiatric-review" else _CLINICAL
        if self.steady:
            return not activity.people.isdisjoint(self.having(wanted))
        return any(m.person in activity.people and m.roles & wanted for *_, m in self.present(activity))

    def staff(self, roles: frozenset[Role], billers: tuple[str, ...]) -> frozenset[str]:
        """Whose time counts: everybody with one of these roles, and those of the billers who treat."""
        key = (roles, billers)
        if key not in self._staff:
            self._staff[key] = self.having(roles) | self.having(_TREATING).intersection(billers)
        return self._staff[key]

    def seats(self, activity: Activity) -> list[Place]:
        """Who was there at any time of an entry."""
        if self.steady:
            return self.places
        if activity.ref not in self._seats:
            self._seats[activity.ref] = self._seats_of(activity)
        return self._seats[activity.ref]

    def _seats_of(self, activity: Activity) -> list[Place]:
        if activity.when is None:
            return in_stretch(self.places, (BEGINNING, END))
        span = activity.span
        if span and span[0] < span[1]:
            return in_stretch(self.places, span)
        return at_moment(self.places, activity.when)

    def present(self, activity: Activity) -> list[Place]:
        """Who was there when an entry began."""
        if self.steady or activity.when is None:
            return self.places
        return at_moment(self.places, activity.when)
