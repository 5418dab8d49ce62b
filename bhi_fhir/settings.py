"""What `site.toml` may say, with its defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
from msgspec import Meta

from bhi_fhir.policy import Switches, policy


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Read by msgspec and not by pydantic: pydantic alone would be half of the time in which a command starts."""


class FhirAuth(_Strict, frozen=True):
    """How to authorise; secrets come by environment or file, never from here.

    `secret_*`: the password (basic), the token (bearer), the client's secret (client_secret) or its private key
    as PEM or JWK (private_key_jwt). `token_url`: "" is what the server's smart-configuration names. `key_id`:
    the `kid` under which the server knows the key; "" is the key's own, or its RFC 7638 thumbprint.
    """

    kind: Literal["none", "basic", "bearer", "client_secret", "private_key_jwt"] = "none"
    user: str = ""
    client_id: str = ""
    secret_env: str = ""
    secret_file: str = ""
    token_url: str = ""
    scope: str = ""
    algorithm: Literal["ES384", "RS384"] = "ES384"
    key_id: str = ""


class Fhir(_Strict, frozen=True):
    """The site's FHIR server.

    `timeout_s`: seconds without a byte; `deadline_s`: for one whole answer. `requests_per_second`: 0 is no
    limit. `search`: by GET, or by POST _search with the parameters in the body. `ca_file`: the hospital's own
    certificate authority; `client_certificate`, `client_key`: for mutual TLS.
    """

    base_url: str = ""
    aliases: list[str] = []
    concurrency: Annotated[int, Meta(ge=1, le=256)] = 8
    requests_per_second: Annotated[int, Meta(ge=0, le=10_000)] = 0
    timeout_s: Annotated[int, Meta(ge=1)] = 30
    deadline_s: Annotated[int, Meta(ge=1)] = 120
    search: Literal["get", "post"] = "get"
    ca_file: str = ""
    client_certificate: str = ""
    client_key: str = ""
    auth: FhirAuth = FhirAuth()


class Roster(_Strict, frozen=True):
    from_: Annotated[str, Meta(pattern=r"^(care-team|episode|(group|list):[A-Za-z0-9.-]{1,64}|file:.+)$")] = (
        msgspec.field(default="care-team", name="from")
    )


class ClaimSettings(_Strict, frozen=True):
    place_of_service: Annotated[str, Meta(pattern=r"^\d{2}$")] = "11"
    provider: str = ""


class Dft(_Strict, frozen=True):
    """HL7 v2 DFT^P03 to the integration engine, over MLLP (`host`, `port`) or as files (`folder`).

    `review_queue`: the name of the charge-review queue that this interface feeds; without it only lines that a
    named person has approved are sent, for a DFT is no draft. `replays`: the receiver takes a message that it
    has seen (MSH-10) for the same one, so that an unanswered one may be sent again. `ca_file`: with it, MLLP over
    TLS, trusting these authorities.
    """

    host: str = ""
    port: Annotated[int, Meta(ge=1, le=65535)] = 2575
    folder: str = ""
    timeout_s: Annotated[int, Meta(ge=1)] = 30
    sending_application: str = "BHI-FHIR"
    sending_facility: str = ""
    receiving_application: str = ""
    receiving_facility: str = ""
    version: Literal["2.3", "2.3.1", "2.4", "2.5", "2.5.1"] = "2.5.1"
    processing_id: Literal["P", "T", "D"] = "P"
    patient_identifier_system: str = ""
    review_queue: str = ""
    replays: bool = False
    ca_file: str = ""


class Oracle(_Strict, frozen=True):
    """`schedules`: the site's bill code schedule (code set 14002) for each kind of code."""

    schedules: dict[Literal["CPT", "HCPCS", "ICD"], str] = {}


class Delivery(_Strict, frozen=True):
    """Where drafts go, and what is kept of them on this machine.

    Relative paths, also in a sqlite URL, are relative to the folder of site.toml. `key_*`: the Fernet key
    (or several, newest first) that encrypts patient data at rest. `keep_months`: how long decisions and the
    content of drafts are kept; that a line was delivered is kept for ever. `draft_review`: lines that need review
    are drafted too.
    """

    sink: Literal["auto", "fhir", "oracle", "dft", "files", "worklist"] = "auto"
    ledger: str = "sqlite:///bhi-fhir.db"
    key_env: str = ""
    key_file: str = "bhi-fhir.key"
    audit: str = "bhi-fhir-audit.ndjson"
    keep_months: Annotated[int, Meta(ge=13)] = 84
    write_open_month: bool = False
    draft_review: bool = False
    folder: str = ""
    dft: Dft = Dft()
    oracle: Oracle = Oracle()


class Tls(_Strict, frozen=True):
    """The service's own TLS. `client_ca`: callers must show a certificate that these authorities signed."""

    certificate: str = ""
    key: str = ""
    client_ca: str = ""


class Jwt(_Strict, frozen=True):
    """Bearer tokens of an authorization server: SMART v2 system scopes in `scope`.

    `audience`: what their `aud` must hold; "" is `serve.public_url` with /fhir.
    """

    issuer: str = ""
    audience: str = ""
    jwks_url: str = ""
    algorithms: Annotated[
        tuple[Literal["ES256", "ES384", "RS256", "RS384", "PS256", "PS384"], ...], Meta(min_length=1)
    ] = ("ES384", "RS384", "ES256", "RS256")


class Caller(_Strict, frozen=True):
    """A caller without tokens, such as an older engine.

    `scope`: what it may, as in a token. `key_env`, `key_file`: where the SHA-256 of its API key stands, in hex.
    `certificate`: the name under which the proxy of `serve.certificate_header` knows its certificate; "*" is any
    that `serve.tls.client_ca` signed.
    """

    scope: str = ""
    key_env: str = ""
    key_file: str = ""
    certificate: str = ""


class Serve(_Strict, frozen=True):
    """The HTTP service.

    `public_url`: how others reach it, such as https://bhi.example.org; drafts then name its ChargeItemDefinitions.
    `open_on_loopback`: without any authorisation, on this machine only. `threads`: decisions made side by side in
    one worker; `waiting`: how many more may wait. `requests_per_minute`: of one caller, to all workers together;
    `launches_per_minute`: sign-ins begun from one address; 0 is no limit. `forwarded_proxies`: the addresses or
    networks of the proxies whose X-Forwarded-For tells from which; of nobody else it is believed, and then a
    proxy's own address is everybody's. `certificate_header`, `certificate_proxies`: the header in which the
    proxies with these addresses tell the name of the caller's certificate.
    """

    public_url: str = ""
    open_on_loopback: bool = False
    max_body_mib: Annotated[int, Meta(ge=1, le=64)] = 8
    max_entries: Annotated[int, Meta(ge=1)] = 5_000
    time_limit_s: Annotated[int, Meta(ge=1)] = 60
    threads: Annotated[int, Meta(ge=1, le=64)] = 2
    waiting: Annotated[int, Meta(ge=0)] = 32
    requests_per_minute: Annotated[int, Meta(ge=0)] = 600
    launches_per_minute: Annotated[int, Meta(ge=0)] = 600
    forwarded_proxies: list[str] = []
    certificate_header: str = ""
    certificate_proxies: list[str] = []
    tls: Tls = Tls()
    jwt: Jwt = Jwt()
    callers: dict[str, Caller] = {}


class SignIn(_Strict, frozen=True):
    """How the service itself is registered as a client of an authorization server.

    `auth`: "public" has PKCE only. `secret_*`: the client's secret, or its private key as PEM or JWK; by environment
    or file, never from here. `auth_origins`: where the authorization server may be, such as
    https://login.example.org, if that is not the origin of `iss`: what the server's configuration names elsewhere
    is not asked. `scope`: "" is what the pages need.
    """

    client_id: str = ""
    auth: Literal["public", "client_secret", "private_key_jwt"] = "public"
    secret_env: str = ""
    secret_file: str = ""
    algorithm: Literal["ES384", "RS384"] = "ES384"
    key_id: str = ""
    auth_origins: list[str] = []
    scope: str = ""


class Smart(SignIn, frozen=True):
    """SMART App Launch: the clinician's page, opened by the EHR or by itself.

    `iss`: other base URLs under which the same server, with the same patients, launches; fhir.base_url always
    counts. `frame_ancestors`: origins of EHRs that may show the page in a frame. `idle_minutes`: a launch that
    nobody uses for so long is over.
    """

    iss: list[str] = []
    frame_ancestors: list[str] = []
    idle_minutes: Annotated[int, Meta(ge=1, le=480)] = 30


class Caseload(SignIn, frozen=True):
    """The list of the month, behind the hospital's own sign-in (OpenID Connect).

    `issuer`: of the id tokens. `claim`: which claim tells the groups of a person; `may_view`, `may_approve`,
    `may_attest`: the groups that may. Nobody may what is not said.
    """

    issuer: str = ""
    claim: str = "groups"
    may_view: list[str] = []
    may_approve: list[str] = []
    may_attest: list[str] = []
    idle_minutes: Annotated[int, Meta(ge=1, le=480)] = 30


class CdsClient(_Strict, frozen=True):
    """An EHR that calls the CDS service: `iss` of its tokens, and where its public keys stand (their `jku`)."""

    iss: str
    jwks_url: str


class Cds(_Strict, frozen=True):
    """CDS Hooks. Without clients nobody is answered."""

    clients: list[CdsClient] = []


class SparkInput(_Strict, frozen=True):
    """What Spark reads: NDJSON, or a table (delta, parquet) with a resource as text in `column`.

    `options`: of Spark's reader.
    """

    format: str = "ndjson"
    column: str = "value"
    options: dict[str, str] = {}


class SparkOutput(_Strict, frozen=True):
    """What Spark writes: NDJSON, or a table (delta, parquet). `options`: of Spark's writer."""

    format: str = "ndjson"
    options: dict[str, str] = {}


class Spark(_Strict, frozen=True):
    """`bulk --engine spark`. `conf`: of the session, such as "spark.master"; secrets are refused."""

    conf: dict[Annotated[str, Meta(pattern=r"^spark\.")], str] = {}
    input: SparkInput = SparkInput()
    output: SparkOutput = SparkOutput()


class Bulk(_Strict, frozen=True):
    """Exports."""

    spark: Spark = Spark()


class Site(_Strict, frozen=True):
    """What a site says."""

    name: Annotated[str, Meta(min_length=1)]
    time_zone: str
    policy: dict[str, Any] = {}
    """Switches that differ from their defaults; `Site.switches` has all of them."""
    fhir: Fhir = Fhir()
    roster: Roster = Roster()
    claim: ClaimSettings = ClaimSettings()
    delivery: Delivery = Delivery()
    serve: Serve = Serve()
    smart: Smart = Smart()
    caseload: Caseload = Caseload()
    cds: Cds = Cds()
    bulk: Bulk = Bulk()

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)

    @property
    def switches(self) -> Switches:
        return policy().defaults(**self.policy)
