"""/metadata: what this server says that it can do. Sandboxes differ from sites, so each site is asked."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import msgspec

from bhi_fhir.errors import Incomplete, UsageError
from bhi_fhir.fhir.client import BhiClient, not_whole
from bhi_fhir.views.common import UNREADABLE


@dataclass(frozen=True)
class TypeCapability:
    """One resource type. `update_create`: PUT with our own id makes the resource."""

    interactions: frozenset[str]
    search_params: frozenset[str]
    conditional_create: bool
    update_create: bool
    operations: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Capabilities:
    """A server's CapabilityStatement."""

    types: Mapping[str, TypeCapability]
    interactions: frozenset[str]

    @property
    def transaction(self) -> bool:
        return "transaction" in self.interactions

    def can(self, resource_type: str, interaction: str) -> bool:
        """Whether the type is served with `read`, `search-type`, `create`, `update` and so on."""
        served = self.types.get(resource_type)
        return served is not None and interaction in served.interactions

    def operations(self, resource_type: str) -> frozenset[str]:
        """The names of the type's operations, such as `create` for $create."""
        served = self.types.get(resource_type)
        return served.operations if served else frozenset()


async def capabilities(client: BhiClient) -> Capabilities:
    """Reads /metadata.

    Raises UsageError if the server is not FHIR R4 or R4B, Incomplete if what came is no CapabilityStatement.
    """
    answer = await client.ask("GET", "metadata")
    try:
        statement = _decode(answer.body)
    except UNREADABLE:
        raise not_whole("GET metadata", answer) from None
    if statement.resourceType == "Conformance":
        raise UsageError("[fhir] base_url: this server speaks FHIR DSTU2; give its R4 address.")
    if statement.resourceType != "CapabilityStatement":
        raise Incomplete("GET metadata: the server answered with something else than a CapabilityStatement.")
    return _capabilities(statement)


class _Coded(msgspec.Struct):
    code: str = ""


class _Param(msgspec.Struct):
    name: str = ""


class _Operation(msgspec.Struct):
    name: str = ""


class _Type(msgspec.Struct):
    type: str
    interaction: list[_Coded] = []
    searchParam: list[_Param] = []  # noqa: N815
    conditionalCreate: bool = False  # noqa: N815
    updateCreate: bool = False  # noqa: N815
    operation: list[_Operation] = []


class _Rest(msgspec.Struct):
    mode: str = ""
    resource: list[_Type] = []
    interaction: list[_Coded] = []


class _Statement(msgspec.Struct):
    resourceType: str = ""  # noqa: N815
    fhirVersion: str = ""  # noqa: N815
    rest: list[_Rest] = []


_decode = msgspec.json.Decoder(_Statement).decode


def _capabilities(statement: _Statement) -> Capabilities:
    version = statement.fhirVersion
    if not version.startswith(("4.0", "4.3")):  # 4.1, 4.2 and 4.4 to 4.6 were ballots of R5
        shown = version if version.replace(".", "").isalnum() and len(version) < 12 else "an unnamed version"
        raise UsageError(f"[fhir] base_url: this server speaks FHIR {shown}; give its R4 address.")
    servers = [rest for rest in statement.rest if rest.mode == "server"]
    return Capabilities(
        types=MappingProxyType({each.type: _capability(each) for rest in servers for each in rest.resource}),
        interactions=frozenset(each.code for rest in servers for each in rest.interaction),
    )


def _capability(served: _Type) -> TypeCapability:
    return TypeCapability(
        interactions=frozenset(each.code for each in served.interaction),
        search_params=frozenset(each.name for each in served.searchParam),
        conditional_create=served.conditionalCreate,
        update_create=served.updateCreate,
        operations=frozenset(each.name.lstrip("$") for each in served.operation),
    )
