"""Kafka: where the log is and how it is entered, as one value of which every client is made.

| setting                    | meaning                                                                                      |
|----------------------------|----------------------------------------------------------------------------------------------|
| `MESH_KAFKA`               | bootstrap servers, `host:port,…`                                                             |
| `MESH_KAFKA_SECURITY`      | `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`; else what the other settings come to       |
| `MESH_KAFKA_USER`          | who logs in by SASL                                                                          |
| `MESH_KAFKA_PASSWORD`      | that user's password                                                                         |
| `MESH_KAFKA_MECHANISM`     | `SCRAM-SHA-512` (the default), `SCRAM-SHA-256` or `PLAIN`                                     |
| `MESH_KAFKA_CA`            | PEM file of the authorities that brokers' certificates are checked against; else the system's |
| `MESH_KAFKA_CERTIFICATE`   | PEM file of the mesh's own certificate, where the brokers ask for one (mTLS)                  |
| `MESH_KAFKA_KEY`           | PEM file of its key                                                                          |
| `MESH_KAFKA_KEY_PASSWORD`  | what opens that key                                                                          |

Who a hop is to the brokers may be said for it alone, by its name at the end: `MESH_KAFKA_USER_CAPTURE` and so on, for registry,
capture, streams, flows, delivery, console and opendata (schemas/log/rights/hops.py). A broker's certificate must name the host that
was asked for: nothing here turns that off.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import Misconfigured

SECURITIES = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN")
_NAMES: Mapping[str, str] = {
    "bootstrap": "MESH_KAFKA",
    "security": "MESH_KAFKA_SECURITY",
    "user": "MESH_KAFKA_USER",
    "password": "MESH_KAFKA_PASSWORD",
    "mechanism": "MESH_KAFKA_MECHANISM",
    "ca": "MESH_KAFKA_CA",
    "certificate": "MESH_KAFKA_CERTIFICATE",
    "key": "MESH_KAFKA_KEY",
    "key_password": "MESH_KAFKA_KEY_PASSWORD",
}
_JAVA_MODULES: Mapping[str, str] = {
    "PLAIN": "plain.PlainLoginModule",
    "SCRAM-SHA-256": "scram.ScramLoginModule",
    "SCRAM-SHA-512": "scram.ScramLoginModule",
}
_IN_LIBRDKAFKA: Mapping[str, str] = {
    "ca": "ssl.ca.location",
    "certificate": "ssl.certificate.location",
    "key": "ssl.key.location",
    "key_password": "ssl.key.password",
}


@dataclass(frozen=True, slots=True)
class Kafka:
    """The brokers, and who the mesh is to them. Paths are of PEM files. Raises Misconfigured for what cannot be meant."""

    bootstrap: str
    security: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    mechanism: str = MECHANISMS[0]
    ca: str = ""
    certificate: str = ""
    key: str = ""
    key_password: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if not self.security:
            is_secret = self.ca or self.certificate
            security = (
                ("SASL_SSL" if is_secret else "SASL_PLAINTEXT") if self.user else "SSL" if is_secret else "PLAINTEXT"
            )
            object.__setattr__(self, "security", security)
        _one_of("security", self.security, SECURITIES)
        _one_of("mechanism", self.mechanism, MECHANISMS)
        if self.security.startswith("SASL") and not (self.user and self.password):
            lacking = "user" if not self.user else "password"
            fix = f"set {_NAMES[lacking]}, or choose a listener without a login by {_NAMES['security']}"
            raise Misconfigured(_NAMES["security"], f"is {self.security}, which needs a {lacking}", fix=fix)
        for name in ("ca", "certificate", "key"):
            path = getattr(self, name)
            if path and not Path(path).is_file():
                raise Misconfigured(_NAMES[name], f"there is no file {path}", fix="give the path of a PEM file")
        if bool(self.certificate) != bool(self.key):
            fix = f"set {_NAMES['certificate']} and {_NAMES['key']}, or neither"
            raise Misconfigured(_NAMES["certificate"], "a certificate and its key come together", fix=fix)

    @classmethod
    def of(cls, settings: Mapping[str, str], hop: str = "") -> Kafka:
        """Read from what `environment` gives: the process's own, or one that was written down.

        What is set for the hop, such as `MESH_KAFKA_USER_CAPTURE`, goes before what is set for all.
        """
        found: dict[str, str] = {}
        for name, variable in _NAMES.items():
            own = settings.get(f"{variable}_{hop.upper()}") if hop else None
            if value := own or settings.get(variable):
                found[name] = value
        return cls(**found)

    def environment(self) -> dict[str, str]:
        """The settings that make this value again, secrets and all: for a process of the mesh, never for a log."""
        values = {variable: getattr(self, name) for name, variable in _NAMES.items()}
        return {variable: value for variable, value in values.items() if value}

    def __str__(self) -> str:
        return self.bootstrap

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.security.endswith("SSL")

    def client(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The settings of a confluent-kafka client: these, and how Kafka is entered."""
        entered: dict[str, Any] = {"bootstrap.servers": self.bootstrap}
        if self.security != "PLAINTEXT":
            entered["security.protocol"] = self.security
        if self.security.startswith("SASL"):
            login = {"sasl.mechanism": self.mechanism, "sasl.username": self.user, "sasl.password": self.password}
            entered |= login
        if self.uses_tls:
            given = {_IN_LIBRDKAFKA[name]: getattr(self, name) for name in _IN_LIBRDKAFKA}
            entered |= {name: value for name, value in given.items() if value}
        return {**settings, **entered}

    def java(self) -> dict[str, str]:
        """The same for a Java client (Flink, Connect, Kafka's own tools), by the names in its documentation."""
        entered = {"bootstrap.servers": self.bootstrap, "security.protocol": self.security}
        if self.security.startswith("SASL"):
            module = f"org.apache.kafka.common.security.{_JAVA_MODULES[self.mechanism]}"
            user, password = (value.replace("\\", "\\\\").replace('"', '\\"') for value in (self.user, self.password))
            entered["sasl.mechanism"] = self.mechanism
            entered["sasl.jaas.config"] = f'{module} required username="{user}" password="{password}";'
        if self.ca:
            entered |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": self.ca}
        if self.certificate:
            entered["ssl.keystore.type"] = "PEM"
            entered["ssl.keystore.certificate.chain"] = Path(self.certificate).read_text("ascii")
            entered["ssl.keystore.key"] = Path(self.key).read_text("ascii")
        return entered | ({"ssl.key.password": self.key_password} if self.key_password else {})

    def tls_context(self) -> ssl.SSLContext:
        """The same for a client that takes Python's. Raises Misconfigured for a file that holds no certificate or key."""
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key, self.key_password or None)
        except (ssl.SSLError, OSError) as error:
            files = ", ".join(_NAMES[name] for name in ("ca", "certificate", "key") if getattr(self, name))
            fix = f"give PEM files, the key unencrypted or with {_NAMES['key_password']}"
            raise Misconfigured(files, "cannot be used for TLS", fix=fix) from error
        return context


def _one_of(name: str, value: str, possible: tuple[str, ...]) -> None:
    if value not in possible:
        raise Misconfigured(_NAMES[name], f"{value!r} is none", fix=f"use one of {', '.join(possible)}")
