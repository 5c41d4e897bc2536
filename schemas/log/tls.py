"""TLS trouble: what stands between the mesh and a listener, in words. A Kafka client says only that there is no connection."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from schemas.errors import Misconfigured
from schemas.log.kafka import Kafka

WITHIN_SECONDS = 3.0


def tls_trouble(kafka: Kafka) -> Misconfigured | None:
    """Why no TLS connection comes about; None where it does, or where nobody answers at all."""
    if not kafka.uses_tls:
        return None
    if kafka.certificate and (expired := _expired_on(Path(kafka.certificate))):
        return _told(
            kafka, f"our certificate has expired on {expired}", "renew the certificate in MESH_KAFKA_CERTIFICATE"
        )
    for server in kafka.bootstrap.split(","):
        host, _, port = server.strip().rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), WITHIN_SECONDS) as plain:
                plain.settimeout(WITHIN_SECONDS)
                with kafka.tls_context().wrap_socket(plain, server_hostname=host.strip("[]")) as connection:
                    connection.settimeout(0.5)
                    connection.recv(1)  # a broker that refuses our side says so once the handshake is over
        except ssl.SSLCertVerificationError as error:
            return _told(
                kafka, f"the broker's certificate is refused: {error.verify_message}", _fix_of(error.verify_message)
            )
        except ssl.SSLError as error:
            return _refused(kafka, error)
        except (OSError, ValueError):
            continue
        return None
    return None


def _told(kafka: Kafka, problem: str, fix: str) -> Misconfigured:
    return Misconfigured(f"kafka at {kafka}", problem, fix=fix)


def _fix_of(said: str) -> str:
    if "expired" in said:
        return "renew the broker's certificate"
    if "IP address mismatch" in said or "Hostname mismatch" in said:
        return "name the broker in MESH_KAFKA as its certificate does"
    return "set MESH_KAFKA_CA to a PEM file of the authority that signed the broker's certificate"


def _refused(kafka: Kafka, error: ssl.SSLError) -> Misconfigured:
    reason = (error.reason or "no reason given").lower().replace("_", " ")
    if re.search("alert|certificate", reason):
        fix = "set MESH_KAFKA_CERTIFICATE and MESH_KAFKA_KEY to a certificate that the brokers accept"
        return _told(kafka, f"the broker refuses our certificate, or that there is none: {reason}", fix)
    fix = "does this listener speak TLS? Correct MESH_KAFKA, or MESH_KAFKA_SECURITY"
    return _told(kafka, f"no TLS connection: {reason}", fix)


def _expired_on(file: Path) -> str:
    """The day on which the certificate in a file expired; empty while it is good, or where it cannot be read."""
    until = good_until(file)
    return until.date().isoformat() if until and until <= datetime.now(UTC) else ""


def good_until(file: Path) -> datetime | None:
    """Until when the first certificate in a PEM file is good, in UTC; None where it cannot be read."""
    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (ValueError, OSError):
        return None
