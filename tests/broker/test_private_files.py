"""What a running mesh writes is for its user alone; and what the mesh delivers by is no subscriber's to join."""

from __future__ import annotations

import stat
from pathlib import Path

from confluent_kafka import Consumer, KafkaError, KafkaException

from tests.stage.running_mesh import RunningMesh, contract, database, rows
from tests.stage.until import until

TABLE = contract(["id"], {"id": "int", "note": "string"})
OF_THE_TESTS = {"in-use.lock"}


def open_to_others(directory: Path) -> list[str]:
    """Everything below that anybody but the owner may read, write or enter."""
    found: list[str] = []
    for path in (directory, *directory.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue
        if mode & 0o077 and not stat.S_ISLNK(mode) and path.name not in OF_THE_TESTS:
            found.append(f"{path.relative_to(directory)} {stat.filemode(mode)}")
    return found


def test_nothing_in_a_running_mesh_s_directory_is_open_to_others(mesh: RunningMesh) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, 'one')")
    mesh.agency(agency, {"t": TABLE})
    target = mesh.database(code)
    mesh.subscriber(code, {"feed": f"{agency}.t", "columns": ["id", "note"]})
    mesh.done("onboard", mesh.folder)
    until(lambda: rows(target, f"{agency}_t") == [(1, "one")], 60, "the row arrives")
    written = {path.name for path in mesh.directory.iterdir()}
    assert {"connections", "endpoints.json", "log", "run", "streams", "prometheus"} <= written
    assert open_to_others(mesh.directory) == []


def test_a_subscriber_s_login_joins_groups_of_its_own_and_not_that_of_the_mesh_s_delivery(mesh: RunningMesh) -> None:
    agency, code = f"{mesh.unique}a", f"{mesh.unique}s"
    with database(mesh.database(agency)) as town:
        town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
        town.execute("INSERT INTO t VALUES (1, 'one')")
    mesh.agency(agency, {"t": TABLE})
    mesh.database(code)
    mesh.subscriber(code, {"feed": f"{agency}.t", "columns": ["id", "note"]})
    mesh.done("onboard", mesh.folder)
    topic = f"out.{code}.{agency}.t"

    def taken(group: str) -> str:
        """What a consumer of that group first says: the key of a record, or the refusal."""
        consumer = Consumer(
            {
                "bootstrap.servers": mesh.endpoints["kafka_sasl"],
                "security.protocol": "SASL_PLAINTEXT",
                "sasl.mechanism": "SCRAM-SHA-512",
                "sasl.username": code,
                "sasl.password": (mesh.directory / "connections" / f"{code}.kafka").read_text(),
                "group.id": group,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        try:
            consumer.subscribe([topic])
            message = until(lambda: consumer.poll(1), 60, f"{group} says something")
            error = message.error()
            return error.name() if error else "taken"
        except KafkaException as error:
            return error.args[0].name()
        finally:
            consumer.close()

    assert taken(f"sub.{code}.main") == KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED).name()
    assert taken(f"sub.{code}.own-reader") == "taken"
