"""Callers by client certificate, where the service itself ends TLS: the site's authority lets in, nobody else."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from make_examples import FOLDER, MONTH
from served import free_port, site

SERVE = [sys.executable, "-m", "bhi_fhir.cli", "serve"]
RECORD = (FOLDER / "general-bhi-in-order.json").read_bytes()


class Authority:
    """Issues certificates into a folder. `valid`: its days, from the first to the last."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.key = folder, ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self._sign(self.name, self.key, authority=True))

    def issue(self, name: str, *, days: tuple[int, int] = (-1, 2)) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate, secret = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(self._sign(subject, key, days=days))
        secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return certificate, secret

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        authority: bool = False,
        days: tuple[int, int] = (-1, 2),
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = (
            x509.CertificateBuilder()
            .subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + dt.timedelta(days=days[0])).not_valid_after(now + dt.timedelta(days=days[1]))
            .add_extension(here, critical=False)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )  # fmt: skip
        return made.public_bytes(Encoding.PEM)


@dataclass
class Guarded:
    url: str
    hospital: Authority
    stranger: Authority

    def evaluate(self, *certificate: Path) -> httpx.Response:
        tls = ssl.create_default_context(cafile=str(self.hospital.file))
        if certificate:
            tls.load_cert_chain(*map(str, certificate))
        headers = {"content-type": "application/fhir+json", "accept": "application/json"}
        with httpx.Client(verify=tls, trust_env=False, timeout=30) as client:
            return client.post(f"{self.url}/fhir/$evaluate-bhi?month={MONTH}", content=RECORD, headers=headers)


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("certificates")
    hospital, stranger = Authority(folder, "hospital"), Authority(folder, "stranger")
    certificate, key = hospital.issue("service")
    settings = (
        f'[serve.tls]\ncertificate = "{certificate}"\nkey = "{key}"\nclient_ca = "{hospital.file}"\n'
        '[serve.callers.engine]\ncertificate = "*"\nscope = "system/Patient.r"\n'
    )
    port, log = free_port(), folder / "log"
    with log.open("wb") as output:
        command = [*SERVE, "--site", str(site(folder / "site", settings)), "--port", str(port)]
        running = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            deadline = time.monotonic() + 60
            while "Uvicorn running" not in log.read_text():
                assert running.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield Guarded(f"https://127.0.0.1:{port}", hospital, stranger)
        finally:
            running.kill()
            running.wait()


def test_a_certificate_of_the_sites_authority_lets_in(guarded: Guarded) -> None:
    answer = guarded.evaluate(*guarded.hospital.issue("engine"))
    assert (answer.status_code, answer.json()["month"]) == (200, MONTH)


def test_without_a_certificate_there_is_no_connection(guarded: Guarded) -> None:
    with pytest.raises(httpx.TransportError):
        guarded.evaluate()


def test_neither_is_there_for_another_authoritys_or_one_that_has_ended(guarded: Guarded) -> None:
    for certificate in (guarded.stranger.issue("engine-of-stranger"), guarded.hospital.issue("old", days=(-9, -2))):
        with pytest.raises(httpx.TransportError):
            guarded.evaluate(*certificate)


def test_a_name_in_a_header_is_no_certificate(guarded: Guarded) -> None:
    tls = ssl.create_default_context(cafile=str(guarded.hospital.file))
    headers = {"x-client-cert": "CN=engine", "x-ssl-client-s-dn": "CN=engine"}
    with httpx.Client(verify=tls, trust_env=False) as client, pytest.raises(httpx.TransportError):
        client.post(f"{guarded.url}/fhir/$evaluate-bhi", headers=headers)
