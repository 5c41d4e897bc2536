"""The one value by which Kafka is entered: from settings and back, masked, and refused where it cannot be meant."""

from __future__ import annotations

import socket
from contextlib import closing
from pathlib import Path

import pytest

from schemas.errors import Misconfigured
from schemas.log.entering import must_be_let_in
from schemas.log.kafka import Kafka


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    for name in ("ca", "certificate", "key"):
        (tmp_path / name).write_text(f"-- {name} --\nsecond line\n")
    return {name: str(tmp_path / name) for name in ("ca", "certificate", "key")}


def test_settings_make_the_value_and_the_value_makes_them_again(files: dict[str, str]) -> None:
    settings = {
        "MESH_KAFKA": "a:1,b:2",
        "MESH_KAFKA_USER": "mesh",
        "MESH_KAFKA_PASSWORD": "secret",
        "MESH_KAFKA_CA": files["ca"],
        "OTHER": "1",
    }
    kafka = Kafka.of(settings)
    assert (kafka.security, kafka.mechanism) == ("SASL_SSL", "SCRAM-SHA-512")
    assert Kafka.of(kafka.environment()) == kafka
    assert "OTHER" not in kafka.environment()
    assert "secret" not in repr(kafka) + str(kafka)


@pytest.mark.parametrize(
    ("given", "security"),
    [({}, "PLAINTEXT"), ({"user": "u", "password": "p"}, "SASL_PLAINTEXT"), ({"security": "SSL"}, "SSL")],
)
def test_what_is_given_says_how_the_listener_is_secured(given: dict[str, str], security: str) -> None:
    assert Kafka("a:1", **given).security == security


def test_a_certificate_of_ours_means_tls_without_a_login(files: dict[str, str]) -> None:
    client = Kafka("a:1", **files).client({"client.id": "x", "bootstrap.servers": "elsewhere:1"})
    assert client == {
        "client.id": "x",
        "bootstrap.servers": "a:1",
        "security.protocol": "SSL",
        "ssl.ca.location": files["ca"],
        "ssl.certificate.location": files["certificate"],
        "ssl.key.location": files["key"],
    }


def test_a_hops_own_login_goes_before_that_of_all() -> None:
    settings = {
        "MESH_KAFKA": "a:1",
        "MESH_KAFKA_USER": "mesh",
        "MESH_KAFKA_PASSWORD": "p",
        "MESH_KAFKA_USER_CAPTURE": "c",
        "MESH_KAFKA_PASSWORD_CAPTURE": "q",
    }
    assert (Kafka.of(settings, "capture").user, Kafka.of(settings, "streams").user) == ("c", "mesh")


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"security": "TLS"}, "MESH_KAFKA_SECURITY"),
        ({"security": "SASL_SSL"}, "MESH_KAFKA_USER"),
        ({"user": "u"}, "MESH_KAFKA_PASSWORD"),
        ({"mechanism": "GSSAPI"}, "MESH_KAFKA_MECHANISM"),
        ({"ca": "/nowhere.pem"}, "MESH_KAFKA_CA"),
        ({"certificate": "/nowhere.pem"}, "MESH_KAFKA_CERTIFICATE"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_setting(given: dict[str, str], named: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Kafka("a:1", **given)
    assert named in str(refused.value)


def test_a_certificate_needs_its_key(files: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="come together"):
        Kafka("a:1", certificate=files["certificate"])


def test_a_file_that_is_no_certificate_is_named(files: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match="cannot be used for TLS"):
        Kafka("a:1", **files).tls_context()


def test_javas_login_takes_any_password() -> None:
    java = Kafka("a:1", user="mesh", password='with "quotes" and \\').java()
    assert java["sasl.jaas.config"] == (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="mesh" password="with \\"quotes\\" and \\\\";'
    )


def test_a_kafka_that_does_not_answer_is_told_before_it_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]  # nobody answers there: what listens speaks no Kafka
        must_be_let_in(Kafka(f"127.0.0.1:{port}"))
    assert f"kafka at 127.0.0.1:{port}" in caplog.text
    assert caplog.text.rstrip().endswith("it is waited for")
