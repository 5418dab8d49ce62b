"""What a server says of itself."""

from typing import Any

import pytest
import respx

from bhi_fhir.errors import Incomplete, UsageError
from bhi_fhir.fhir.capabilities import capabilities
from bhi_fhir.fhir.client import BhiClient

CLAIM = {
    "type": "Claim",
    "interaction": [{"code": "read"}, {"code": "search-type"}],
    "searchParam": [{"name": "_id", "type": "token"}],
    "conditionalCreate": True,
}
STATEMENT: dict[str, Any] = {
    "resourceType": "CapabilityStatement",
    "fhirVersion": "4.0.1",
    "rest": [
        {"mode": "client", "resource": [{"type": "Patient"}], "interaction": [{"code": "transaction"}]},
        {"mode": "server", "resource": [CLAIM], "interaction": [{"code": "batch"}]},
    ],
}


async def test_types_and_interactions_of_the_server_side_are_read(
    client: BhiClient, base: str, respx_mock: respx.MockRouter
) -> None:
    respx_mock.get(f"{base}/metadata").respond(200, json=STATEMENT)
    known = await capabilities(client)
    assert (known.interactions, known.transaction) == ({"batch"}, False)
    assert known.can("Claim", "read")
    assert not known.can("Claim", "create")
    assert not known.can("Patient", "read")
    claim = known.types["Claim"]
    assert claim.search_params == {"_id"}
    assert (claim.conditional_create, claim.update_create) == (True, False)


async def test_r4b_is_taken_as_r4(client: BhiClient, base: str, respx_mock: respx.MockRouter) -> None:
    respx_mock.get(f"{base}/metadata").respond(200, json={**STATEMENT, "fhirVersion": "4.3.0"})
    assert (await capabilities(client)).can("Claim", "read")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({**STATEMENT, "fhirVersion": "5.0.0"}, r"FHIR 5\.0\.0"),
        ({**STATEMENT, "fhirVersion": "3.0.2"}, r"FHIR 3\.0\.2"),
        ({**STATEMENT, "fhirVersion": "4.6.0"}, r"FHIR 4\.6\.0"),
        ({**STATEMENT, "fhirVersion": ""}, "an unnamed version"),
        ({"resourceType": "Conformance", "fhirVersion": "1.0.2"}, "DSTU2"),
    ],
)
async def test_a_server_of_another_fhir_version_is_refused_by_name(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, statement: dict[str, Any], said: str
) -> None:
    respx_mock.get(f"{base}/metadata").respond(200, json=statement)
    with pytest.raises(UsageError, match=said):
        await capabilities(client)


@pytest.mark.parametrize("body", ["<html>Sign in</html>", "{}", "[]", '{"resourceType":"Patient"}', ""])
async def test_what_is_no_capability_statement_is_said_so(
    client: BhiClient, base: str, respx_mock: respx.MockRouter, body: str
) -> None:
    respx_mock.get(f"{base}/metadata").respond(200, text=body)
    with pytest.raises(Incomplete, match="GET metadata"):
        await capabilities(client)
