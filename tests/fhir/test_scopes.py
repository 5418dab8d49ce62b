"""SMART scopes: one grammar for what the site is granted, what a caller may and what a launch may."""

import pytest

from bhi_fhir.fhir.scopes import Scopes, covers


@pytest.mark.parametrize(
    ("granted", "asked", "is_held"),
    [
        ("system/*.rs", "system/Encounter.read", True),
        ("system/Encounter.read", "system/Encounter.rs", True),
        ("system/Encounter.*", "system/Encounter.cruds", True),
        ("system/Encounter.r", "system/Encounter.rs", False),
        ("user/Encounter.rs", "system/Encounter.rs", False),
        ("system/Encounter.rs", "system/*.rs", False),
        ("system/Observation.rs?category=survey", "system/Observation.rs", False),
        ("system/Observation.rs?category=survey", "system/Observation.rs?category=survey", True),
        ("openid", "openid", True),
        ("openid", "fhirUser", False),
        ("system/Encounter.sr", "system/Encounter.r", False),  # letters have one order
    ],
)
def test_a_granted_scope_holds_what_it_says_and_no_more(granted: str, asked: str, is_held: bool) -> None:
    assert covers(granted, asked) is is_held


def test_scopes_are_read_of_the_contexts_that_count() -> None:
    text = "patient/Patient.r user/Claim.cu system/Consent.rs launch"
    assert Scopes.read(text).letters == {"Consent": frozenset("rs")}
    assert Scopes.read(text, "patient", "user").letters == {"Patient": frozenset("r"), "Claim": frozenset("cu")}
