"""A broker with TLS, and the certificates around it, as a city's operators would have them.

`python -m tests.stage.secured DIRECTORY` runs one until Ctrl-C, and prints the settings by which a mesh enters it.
"""

from __future__ import annotations

import shlex
import sys
import threading
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ops.embedded.broker_logins import ADMIN
from ops.embedded.kafka import EmbeddedKafka
from schemas.log.kafka import Kafka
from schemas.log.rights.access import create_scram_user

PASSWORD = "secured-by-tests-1"
_MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Authority:
    """Signs certificates of brokers and clients."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
        self.file = self._write("ca.pem", self._signed(self._name, self._key, is_authority=True))

    def certificate(self, name: str, *, days: int = 30) -> tuple[Path, Path]:
        """Files of a certificate for this name and 127.0.0.1, and of its key; with days below 0 it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._write(f"{name}.pem", self._signed(subject, key, days=days))
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate, self._write(f"{name}.key", private)

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, days: int = 30, is_authority: bool = False
    ) -> bytes:
        now = datetime.now(UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(names, critical=False)
        )
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def _write(self, name: str, text: bytes) -> Path:
        file = self._folder / name
        file.write_bytes(text)
        return file


class SecuredKafka:
    """A broker whose listeners SCRAM (SASL_SSL) and MUTUAL (TLS on both sides) the mesh may enter; `days` of its certificate."""

    def __init__(self, folder: Path, *, days: int = 30) -> None:
        self.authority = Authority(folder / "certificates")
        certificate, key = self.authority.certificate("broker", days=days)
        store = folder / "certificates" / "broker.store"
        store.write_bytes(key.read_bytes() + certificate.read_bytes())
        tls = {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}
        trust = {"ssl.truststore.type": "PEM", "ssl.truststore.location": str(self.authority.file)}
        scram = {"sasl.enabled.mechanisms": "SCRAM-SHA-512", "scram-sha-512.sasl.jaas.config": _MODULE}
        listeners = {
            "SCRAM": {"security.protocol": "SASL_SSL", **tls, **scram},
            "MUTUAL": {
                "security.protocol": "SSL",
                **tls,
                **trust,
                "ssl.client.auth": "required",
                "ssl.principal.mapping.rules": "RULE:^CN=([^,]+).*$/$1/",
            },
        }
        self._kafka = EmbeddedKafka(folder / "kafka", listeners=listeners)

    def start(self) -> None:
        self._kafka.start()
        create_scram_user(self._kafka.entered_by(), ADMIN, PASSWORD)

    def stop(self) -> None:
        self._kafka.stop()

    def by_password(self, password: str = PASSWORD) -> Kafka:
        address = self._kafka.address_of("SCRAM")
        return Kafka(address, user=ADMIN, password=password, ca=str(self.authority.file))

    def by_certificate(self, *, days: int = 30) -> Kafka:
        certificate, key = self.authority.certificate(ADMIN, days=days)
        address = self._kafka.address_of("MUTUAL")
        return Kafka(address, ca=str(self.authority.file), certificate=str(certificate), key=str(key))


def main(folder: Path) -> None:
    broker = SecuredKafka(folder)
    broker.start()
    for name, value in broker.by_password().environment().items():
        print(f"export {name}={shlex.quote(value)}", flush=True)  # noqa: T201 - what it is asked for
    with suppress(KeyboardInterrupt):
        threading.Event().wait()
    broker.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
