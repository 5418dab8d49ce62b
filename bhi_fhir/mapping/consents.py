"""Consent: a permission, a refusal, or something that no map can place."""

from __future__ import annotations

from collections.abc import Iterator

from bhi_fhir.domain.record import ANYBODY
from bhi_fhir.domain.record import Consent as Permission
from bhi_fhir.domain.time import Moment
from bhi_fhir.mapping.reading import PatientRows, Reading
from bhi_fhir.mapping.screenings import says_yes
from bhi_fhir.mapping.site_reading import ConsentDocument
from bhi_fhir.mapping.times import has_code
from bhi_fhir.views.consent import Consent, Provision
from bhi_fhir.views.document_reference import DocumentReference
from bhi_fhir.views.questionnaire_response import QuestionnaireResponse

_NOT_GIVEN = ("draft", "proposed", "entered-in-error")
_WHOEVER_BILLS = (ANYBODY,)
_PRIVACY_SCOPES = {"patient-privacy", "research", "adr"}


def consents(rows: PatientRows, reading: Reading) -> Iterator[Permission]:
    for key, row in rows.of(Consent):
        if row.status not in _NOT_GIVEN:
            for kind in kinds_of(row, reading):
                yield _permission(key, row, kind, reading)
                yield from _refusals(key, row, kind, reading)
    yield from _documents(rows, reading)
    yield from _answers(rows, reading)


def _documents(rows: PatientRows, reading: Reading) -> Iterator[Permission]:
    """Signed forms, of the document types that the site names."""
    for key, row in rows.of(DocumentReference):
        form = next((f for f in reading.site.consent.document if has_code([row.type], (f,), reading)), None)
        if form is None or row.status != "current" or row.doc_status == "entered-in-error":
            continue
        given = _dated(row, form, reading)
        names: frozenset[str] | None = frozenset(_WHOEVER_BILLS)
        organizations: frozenset[str] = frozenset()
        if form.speaks_for == "author":
            names = frozenset(p for r in row.author or () if (p := reading.record.person(r, key)))
        elif form.speaks_for == "organization":
            names, organizations = None, frozenset(filter(None, [reading.record.resolve(row.custodian, key)]))
        unfinished = "the document is not signed yet" if row.doc_status == "preliminary" else ""
        yield _elsewhere(key, given, names, organizations, form.covers_terms, unfinished)


def _dated(row: DocumentReference, form: ConsentDocument, reading: Reading) -> Moment | None:
    if form.dated_by == "date":
        return reading.clock.moment(row.date)
    return reading.clock.period(row.context.period).start if row.context else None


def _answers(rows: PatientRows, reading: Reading) -> Iterator[Permission]:
    """Answers that are consent, of the questionnaires that the site names; any other answer takes it back."""
    wanted = reading.site.consent.answer
    for key, row in rows.of(QuestionnaireResponse) if wanted else ():
        if row.status not in ("completed", "amended"):
            continue
        for item in wanted:
            canonical = (row.questionnaire or "").split("|")[0]
            if item.questionnaire not in ("", canonical):
                continue
            yes = says_yes(row.item or (), item.link_id, item.code)
            if yes is None:
                continue
            given = reading.clock.moment(row.authored)
            author = reading.record.person(row.author, key)
            names = frozenset(_WHOEVER_BILLS if item.speaks_for == "whoever-bills" else filter(None, [author]))
            if yes:
                yield _elsewhere(key, given, names, frozenset(), item.covers_terms)
            else:
                doubt = f"it is answered with another code than {item.code}" if item.code else ""
                yield Permission(key, "bhi", False, given, frozenset(_WHOEVER_BILLS), doubt=doubt)


def _elsewhere(
    key: str,
    given: Moment | None,
    names: frozenset[str] | None,
    organizations: frozenset[str],
    terms: bool,
    doubt: str = "",
) -> Permission:
    if given is None:
        doubt = "it has no readable date"
    elif not terms:
        doubt = "the site's form does not cover the three facts that must be told"
    elif names is None and not organizations:
        doubt = "it names neither a practitioner nor an organization"
    return Permission(key, "bhi", True, given, names, organizations, terms=terms, doubt=doubt)


def kinds_of(row: Consent, reading: Reading) -> list[str]:
    """bhi, interprofessional, unplaced; none for a privacy or record-sharing consent."""
    codes, _ = reading.terms.translate("consent", *(row.category or ()))
    found = sorted(codes & {"bhi", "interprofessional"})
    if found:
        return found
    scope = {code for _, code in reading.terms.codes(row.scope)}
    if scope & _PRIVACY_SCOPES or reading.terms.holds("consent-of-another-kind", *(row.category or ())):
        return []
    return ["unplaced"]


def _permission(key: str, row: Consent, kind: str, reading: Reading) -> Permission:
    provision = row.provision or Provision()
    period = reading.clock.period(provision.period)
    given = reading.clock.moment(row.date_time)
    names, organizations = _parties(key, row, provision, reading)
    refuses = provision.type == "deny" or row.status == "rejected"
    forms, _ = reading.terms.translate("consent", row.policy_rule)
    terms = "bhi-standard-terms" in forms
    doubt = ""
    if row.status == "inactive" and period.end is None:
        doubt = "it is inactive now and nothing says since when"
    elif row.status not in ("active", "inactive", "rejected"):
        doubt = "its status says nothing"
    elif given is None:
        doubt = "it has no readable date"
    elif not reading.clock.can_read_period(provision.period):
        doubt = "its period has a date that cannot be read"
    elif not refuses and kind == "bhi" and not terms:
        doubt = "nothing says that the three facts were told (specialists, cost sharing, supplemental insurance)"
    elif not refuses and names is None and not organizations:
        doubt = "it names neither a practitioner nor an organization"
    return Permission(key, kind, not refuses, given, names, organizations, period, terms, doubt)


def _parties(
    key: str, row: Consent, provision: Provision, reading: Reading
) -> tuple[frozenset[str] | None, frozenset[str]]:
    """Whom it names: (practitioners, or None without actor; organizations)."""
    organizations = {o for r in row.organization or () if (o := reading.record.resolve(r, key))}
    if not provision.actor:
        return None, frozenset(organizations)
    people: set[str] = set()
    named_organizations: set[str] = set()
    for actor in provision.actor:
        target = reading.record.resolve(actor.reference, key) or ""
        person = reading.record.person(actor.reference, key)
        if reading.record.type_of(target) == "Organization":
            named_organizations.add(target)
        elif person:
            people.add(person)
    if named_organizations and not people:
        return None, frozenset(named_organizations)
    return frozenset(people), frozenset(named_organizations)


def _inside(provision: Provision | None) -> Iterator[Provision]:
    """Every provision within this one, at any depth: a refusal inside an exception refuses too."""
    waiting = list(provision.provision or ()) if provision else []
    while waiting:
        inner = waiting.pop(0)
        yield inner
        waiting += inner.provision or ()


def _refusals(key: str, row: Consent, kind: str, reading: Reading) -> Iterator[Permission]:
    """Deny provisions inside a permission: they end it from their own start, else from the consent's date."""
    for inner in _inside(row.provision):
        if inner.type != "deny":
            continue
        period = reading.clock.period(inner.period)
        given = period.start or reading.clock.moment(row.date_time)
        names, organizations = _parties(key, row, inner, reading) if inner.actor else (None, frozenset())
        yield Permission(key, kind, False, given, names, organizations, period)
