"""From a department's table to a subscriber's MariaDB through the running mesh, compared by `mesh verify`, and its TLS."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ops.embedded.mariadb import LOGGING_ROWS, MariaDb
from ops.proof.compare import compare
from ops.proof.ddl import create_table
from schemas.agreement.subscriber import SinkConfig
from schemas.errors import Misconfigured, Rejected, Transient
from sinks.mysql.kind import MYSQL_TABLES
from sinks.mysql.sink import MysqlSink
from sinks.sink import SinkSetup
from tests.broker.test_city_compare import FIELDS, IN_SOURCE, delivered, source_rows
from tests.stage.delivering import OutFeed
from tests.stage.maria import MariaServer, connected, rows, run
from tests.stage.running_mesh import RunningMesh, contract, database

TABLE_SQL = (
    "CREATE TABLE t (id int PRIMARY KEY, name text, amount numeric(18,2), day date, seen timestamptz, local timestamp, "
    "at time, ok boolean, share float8, raw bytea, tags text[], items jsonb, ref uuid)"
)
INSERT = (
    "INSERT INTO t SELECT n, 'O''姓名 \\' || n, n * 1.05, date '0001-01-01' + n * 7, timestamptz '2026-01-31 23:59:59.000001+08' "
    "+ n * interval '1 h', timestamp '9999-12-31 23:59:59.999999' - n * interval '1 d', time '23:59:59.999999', mod(n, 2) = 0, "
    "n / 3.0, decode('00ff27', 'hex'), ARRAY['a', NULL, 'q\"\\'], '{\"b\": [1, 2.50], \"a\": null}', gen_random_uuid() "
    "FROM generate_series(%s, %s) n"
)


def subscriber(mesh: RunningMesh, code: str, address: str, *grants: dict[str, Any], **sink: Any) -> Path:
    folder = mesh.folder / code
    folder.mkdir(exist_ok=True)
    mesh.variables[f"MESH_{code.upper()}_DSN"] = address
    config = {"name": "main", "kind": "mysql", "connection": f"${{MESH_{code.upper()}_DSN}}", **sink}
    named = [{"purpose": "核验", "legal_basis": "示例依据", **grant} for grant in grants]
    text = yaml.safe_dump({"subscriber": code, "name": "测试", "sinks": [config], "grants": named}, allow_unicode=True)
    (folder / "subscriber.yaml").write_text(text)
    return folder


def test_rows_of_a_department_arrive_in_a_mariadb_and_are_verified(mesh: RunningMesh, mariadb: MariaServer) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mariadb.create_database(code)
    with database(source) as town:
        town.execute(TABLE_SQL.encode())
        town.execute(b"ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute(INSERT % (1, 300))
        mesh.variables["MESH_DRAFTED"] = source
        mesh.agency(agency, {"t": drafted(mesh, source, agency)})
        grant = {
            "feed": f"{agency}.t",
            "columns": ["name", "amount", "day", "seen", "local", "at", "ok", "share", "raw"],
        }
        grant["columns"] += ["tags", "items", "ref"]
        subscriber(mesh, code, target, grant)
        mesh.done("onboard", mesh.folder)
        mesh.verified(f"{agency}.t", 300)
        town.execute(b"UPDATE t SET name = 'new', seen = seen + interval '1 microsecond' WHERE id <= 50")
        town.execute(b"DELETE FROM t WHERE id > 280")
        town.execute(b"UPDATE t SET id = id + 1000 WHERE id BETWEEN 100 AND 110")
        town.execute(INSERT % (2001, 2010))
        mesh.verified(f"{agency}.t", 290)
        # What the subscriber changes by hand is seen.
        run(target, f"UPDATE {agency}_t SET amount = amount + 0.01 WHERE id = 3")
        ran = mesh.run("verify", "--json", f"{agency}.t", "--within", "1")
        assert ran.status != 0
        assert [entry["different"] for entry in ran.json["subscriptions"].values()] == [1]
        mesh.done("replay", f"{code}.{agency}.t")
        run(target, f"DELETE FROM {agency}_t WHERE id = 3")
        mesh.done("replay", f"{code}.{agency}.t")
        mesh.verified(f"{agency}.t", 290)
        subscriber(mesh, code, target, {**grant, "columns": ["name", "amount"]})
        mesh.done("onboard", mesh.folder)
        mesh.verified(f"{agency}.t", 290)
        names = {
            name
            for (name,) in rows(
                target,
                f"SELECT column_name FROM information_schema.columns "
                f"WHERE table_schema = DATABASE() AND table_name = '{agency}_t'",
            )
        }
        assert names == {"id", "name", "amount", "_mesh_token"}


def drafted(mesh: RunningMesh, source: str, agency: str) -> dict[str, Any]:
    """The contract that `mesh draft` writes for the table, with what a person adds."""
    place = mesh.folder.parent / f"{agency}_drafts"
    ran = mesh.run("draft", source, "--agency", agency, "--into", place)
    assert ran.status == 0, ran.err
    [path] = place.rglob("*.avsc")
    record = json.loads(path.read_text())
    record |= {"doc": "测试表", "gov": {"key": ["id"], "class": "UNCONDITIONAL"}}
    for field in record["fields"]:
        field["doc"] = f"列 {field['name']}"
        field["confluent:tags"] = ["L1"]
        field.pop("gov", None)
    return record


def test_a_wrong_login_and_a_table_of_two_are_told_as_the_folder_is_onboarded(
    mesh: RunningMesh, mariadb: MariaServer
) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    source, target = mesh.database(agency), mariadb.create_database(code)
    with database(source) as town:
        town.execute(b"CREATE TABLE t (id int PRIMARY KEY, name text)")
        town.execute(b"ALTER TABLE t REPLICA IDENTITY FULL")
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "name": "string"})})
    grant = {"feed": f"{agency}.t", "columns": ["name"]}
    subscriber(mesh, code, target.replace("mesh:", "mesh:x"), grant)
    ran = mesh.run("onboard", mesh.folder)
    assert ran.status != 0
    assert "refuses the login" in ran.err + ran.out
    subscriber(mesh, code, target, grant, options={"tables": {f"{agency}.t": "it"}})
    mesh.done("onboard", mesh.folder)
    other = f"{mesh.unique}o"
    subscriber(mesh, other, target.replace("127.0.0.1", "localhost"), grant, options={"tables": {f"{agency}.t": "IT"}})
    ran = mesh.run("onboard", mesh.folder)
    assert ran.status != 0
    assert "table IT" in ran.err + ran.out


def test_every_type_is_read_back_equal_to_its_source_and_each_damage_is_seen(
    postgres: Any, mariadb: MariaServer, unique: str
) -> None:
    source, target = postgres.create_database(unique), mariadb.create_database(unique)
    feed = OutFeed(unique, "police.t", FIELDS)
    with database(source) as connection:
        for statement in create_table(feed.contract):
            connection.execute(statement)
        connection.execute(IN_SOURCE.encode())
    setup = SinkSetup(subscriber=unique, sink=SinkConfig(name="main", kind="mysql"), address_of=lambda *_: target)
    assert MYSQL_TABLES.copy is not None
    copy, grant = MYSQL_TABLES.copy(setup, feed.grant.grant, None), feed.grant.grant
    assert copy is not None
    assert compare(grant, feed.contract, source_rows(source, feed.contract), copy).missing == 2, "no table yet"
    sink = MysqlSink(address=target, subscriber=unique, schema_of=feed.schemas.__getitem__, tables={})
    with closing(sink):
        batch = feed.batch(*delivered(feed))
        for name in ("until", "since", "worth"):  # infinity, a year before 1, NaN: in the order of their kinds of row
            with pytest.raises(Rejected, match="cannot hold") as refused:
                sink.write([batch])
            run(target, refused.value.fix.partition(",")[0])
            assert name
        sink.write([batch])
    found = compare(grant, feed.contract, source_rows(source, feed.contract), copy).to_json()
    assert found["exact"], found
    for damage in (
        "amount = -0.08",
        'tags = \'["a","b"]\'',
        "local = local + interval 1 microsecond",
        "flag = TRUE",
        "worth = 0",
        "until = '-infinity'",
    ):
        run(target, "CREATE TABLE kept AS SELECT * FROM police_t", f"UPDATE police_t SET {damage} WHERE id = 1")
        assert compare(grant, feed.contract, source_rows(source, feed.contract), copy).different == 1, damage
        run(target, "DELETE FROM police_t", "INSERT INTO police_t SELECT * FROM kept", "DROP TABLE kept")
    run(target, "ALTER TABLE police_t ADD COLUMN secret TEXT")
    assert compare(grant, feed.contract, source_rows(source, feed.contract), copy).is_exact, (
        "a column of the department's own is its own"
    )


# -- the server proves who it is ---------------------------------------------------------------------------------------


def certificate(folder: Path, host: str) -> tuple[Path, Path, Path]:
    """An authority's certificate, and a server's with its key."""

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now, ca_key, key = (
        datetime.now(UTC),
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )

    def signed(subject: str, public: Any, *extensions: x509.ExtensionType) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name("authority"))
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )
        for extension in extensions:
            builder = builder.add_extension(
                extension, critical=isinstance(extension, x509.BasicConstraints | x509.KeyUsage)
            )
        return builder.sign(ca_key, hashes.SHA256())

    usage = {
        name: False
        for name in (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        )
    }
    signs = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage)
    authority = signed("authority", ca_key.public_key(), x509.BasicConstraints(ca=True, path_length=0), signs)
    names = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))])
    server = signed(host, key.public_key(), names, x509.BasicConstraints(ca=False, path_length=None))
    paths = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    for path, found in zip(paths, (authority, server), strict=False):
        path.write_bytes(found.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8
    paths[2].write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    for path in paths:
        path.chmod(0o644)
    return paths


def test_a_server_has_to_prove_who_it_is_before_it_is_told_a_password(
    tmp_path: Path, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o755)
    ca, cert, key = certificate(tmp_path, "db.example")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    (other, _, _) = certificate(stranger, "db.example")
    settings = {"ssl": "ON", "ssl-cert": str(cert), "ssl-key": str(key), "require-secure-transport": "ON"}
    server = MariaDb(tmp_path / "server", is_durable=False, settings={**LOGGING_ROWS, **settings})
    monkeypatch.setattr(MariaDb, "is_ready", lambda self: reaches(self.port))
    server.start()
    try:
        feed = OutFeed(unique, "police.person")
        address = server.address("mysql")

        def written(given: str) -> None:
            sink = MysqlSink(address=given, subscriber=unique, schema_of=feed.schemas.__getitem__, tables={})
            with closing(sink):
                sink.write([feed.batch(feed.record("c", {"id": 1, "name": "甲"}))])

        with pytest.raises((Misconfigured, Transient)):
            written(address)  # without TLS: this server takes nobody so
        for untrusted in ("?ssl-mode=VERIFY_IDENTITY", f"?ssl-mode=VERIFY_IDENTITY&ssl-ca={other}"):
            with pytest.raises(Misconfigured, match="does not prove who it is") as refused:
                written(address + untrusted)
            assert "ssl-ca" in refused.value.fix
        written(f"{address}?ssl-mode=VERIFY_IDENTITY&ssl-ca={ca}")
        written(f"{address}?ssl-mode=VERIFY_CA&ssl-ca={ca}")
        written(f"{address}?ssl-mode=REQUIRED")
    finally:
        server.stop()


def reaches(port: int) -> bool:
    from ops.embedded.program import reaches as does  # noqa: PLC0415

    return does(f"127.0.0.1:{port}")


def test_an_embedded_server_keeps_its_data_and_logs_rows_where_asked(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    server = MariaDb(tmp_path, settings=LOGGING_ROWS)
    running = server.start()
    try:
        address = server.create_database("kept")
        run(address, "CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        assert rows(address, "SELECT @@log_bin, @@binlog_format, @@binlog_row_metadata, @@version LIKE '11.4.%'") == [
            (1, "ROW", "FULL", 1)
        ]
        running.kill()
        server.start()
        assert server.address("kept") == address
        assert rows(address, "SELECT id FROM t") == [(1,)]
        with connected(address) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW BINARY LOGS")
            assert len(cursor.fetchall()) >= 2
        assert "INSERT" not in (tmp_path / "mariadb.log").read_text()
    finally:
        server.stop()
