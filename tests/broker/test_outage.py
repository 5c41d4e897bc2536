"""The broker away for longer than a record may wait for it, and killed, under traffic on every hop: all goes on by itself."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,  # pyright: ignore[reportPrivateImportUsage]
    ConfigEntry,  # pyright: ignore[reportPrivateImportUsage] - re-exported without saying so
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage]
)

from ops.city.city import GUANGZHOU
from ops.embedded.program import Program, last_lines, launch
from ops.host.up import mesh_command
from ops.proof.ddl import create_table
from schemas.contract import Contract
from tests.conftest import Database
from tests.stage import feeds
from tests.stage.running_mesh import RunningMesh, changing, database
from tests.stage.until import until, until_none
from tests.stage.webhooks import SECRET, Endpoint

WITHIN_SECONDS = 120
DELIVERY_TIMEOUT_SECONDS = 3


FEEDS = ("aic.enterprise", "base.organisation")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    """The address that a department's and a flow's changes are posted to."""
    opened = Endpoint()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def outage_mesh(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningMesh]:
    """A mesh of this file's own, with servers of its own: it captures, folds and delivers one register."""
    folder = tmp_path_factory.mktemp("mesh")
    directory = folder / "mesh"
    program = Program(
        name="up",
        argv=mesh_command("up", "--dir", str(directory)),
        log=folder / "up.log",
        env={
            "MESH_DELIVERY_TIMEOUT_SECONDS": str(DELIVERY_TIMEOUT_SECONDS),
            "MESH_WEBHOOK_NETWORKS": "127.0.0.0/8",
        },
        stop_within_seconds=60,
    )
    running = launch(program)
    try:
        until(lambda: (directory / "endpoints.json").exists() or running.ended() is not None, 180, "the mesh is up")
        assert running.ended() is None, last_lines(program.log, 40)
        files = folder / "files"
        files.mkdir()
        server = json.loads((directory / "endpoints.json").read_text())["hub_database"]
        mesh = RunningMesh(directory, files, "outage", Database(server).create_database)
        _fill(mesh, folder, endpoint.url)
        yield mesh
    finally:
        running.stop()


def _fill(mesh: RunningMesh, folder: Path, address: str) -> None:
    record = json.loads((GUANGZHOU / "aic" / "enterprise.avsc").read_text("utf-8"))
    town = mesh.database("aic")
    mesh.database("desk")
    drop = folder / "drop"
    drop.mkdir()
    mesh.variables |= {"DROP": str(drop), "HOOK": address, "KEY": SECRET}
    mesh.agency("aic", {"enterprise": record})
    _derived(mesh.folder)
    _subscribed(mesh)
    with database(town) as connection:
        for statement in create_table(Contract.parse(record, "aic.enterprise")):
            connection.execute(statement)
        connection.execute("CREATE SEQUENCE numbers")
        connection.execute(
            "INSERT INTO enterprise SELECT 'E' || n, NULL, lpad(n::text, 15, '4'), NULL, '企业' || n, 'ENTERPRISE', 'F',"
            " '', '某', 'CITIZEN_ID', NULL, 1.00, 'CNY', '440106', '440106', '', NULL, NULL, '2015-01-01', NULL,"
            " 'ACTIVE', NULL, now(), 1 FROM generate_series(1, 50) n"
        )
    mesh.done("onboard", mesh.folder)


def _derived(folder: Path) -> None:
    """All that flows write: one whose feed is in no directory would wait for it, and the others with it."""
    for agency in GUANGZHOU.glob("*/agency.yaml"):
        if "kind: flow" in agency.read_text("utf-8"):
            shutil.copytree(agency.parent, folder / agency.parent.name)


def _subscribed(mesh: RunningMesh) -> None:
    """A database, a folder and an address that take what a department and a flow have to say."""
    columns = {"aic.enterprise": ["name", "status"], "base.organisation": ["name", "status"]}
    sinks = [
        {"name": "main", "kind": "postgres", "connection": "${MESH_DESK_DSN}"},
        {"name": "drop", "kind": "files", "connection": "${DROP}", "options": {"every_seconds": 0.2}},
        {"name": "hook", "kind": "webhook", "connection": "${HOOK}", "signing_key": "${KEY}"},
    ]
    grants = [
        {
            "grant_id": f"desk.{feed}.{sink['name']}" if sink["name"] != "main" else f"desk.{feed}",
            "feed": feed,
            "columns": named,
            "sink": sink["name"],
            "purpose": "核验",
            "legal_basis": "示例依据",
        }
        for feed, named in columns.items()
        for sink in sinks
    ]
    folder = mesh.folder / "desk"
    folder.mkdir()
    record = {"subscriber": "desk", "name": "测试订阅方", "sinks": sinks, "grants": grants}
    (folder / "subscriber.yaml").write_text(json.dumps(record, ensure_ascii=False))


def pid_of(mesh: RunningMesh, name: str) -> int:
    """The process, once it runs."""
    return until(lambda: mesh.state(name)["pid"], WITHIN_SECONDS, f"{name} runs")


CHANGE = """
WITH renamed AS (UPDATE enterprise SET name = '改' || %(n)s, source_row_version = source_row_version + 1
                 WHERE ent_id = 'E' || (1 + %(n)s %% 50))
INSERT INTO enterprise SELECT 'N' || nextval('numbers'), NULL, lpad((900000 + currval('numbers'))::text, 15, '4'), NULL, '企业',
    'ENTERPRISE', 'F', '', '某', 'CITIZEN_ID', NULL, 1.00, 'CNY', '440106', '440106', '', NULL, NULL, '2015-01-01', NULL,
    'ACTIVE', NULL, now(), 1
"""


def goes_on(mesh: RunningMesh, endpoint: Endpoint) -> None:
    """Everything is where it should be, and nothing stands still."""
    with database(mesh.variables["MESH_AIC_DSN"]) as town:
        wanted = {row[0] for row in town.execute("SELECT ent_id FROM enterprise")}

    def is_exact(feed: str) -> bool:
        compared = mesh.run("verify", "--json", feed, "--within", "60")
        copies = [copy for copy in compared.json["subscriptions"].values() if copy] if compared.out else []
        return compared.status == 0 and len(copies) == 2 and {copy["found"] for copy in copies} == {len(wanted)}

    for feed in FEEDS:  # a derived feed is compared with what stands in it, so its rows are counted
        until(lambda feed=feed: is_exact(feed), WITHIN_SECONDS, f"{feed} is exact, and has every row")

    def called() -> bool:
        keys = [body.get("key") or {} for body in list(endpoint.taken)]  # a truncate has none
        return {key["ent_id"] for key in keys if "ent_id" in key} == wanted

    until(called, WITHIN_SECONDS, "the address was told of every row")

    def standing() -> list[Any]:
        return [each for each in mesh.done("status")["incidents"] if each["state"] != "notice"]

    until_none(standing, WITHIN_SECONDS, "nothing stands still")


@pytest.mark.timeout(900)
def test_a_broker_that_stands_still_for_longer_than_records_wait_leaves_nothing_behind(
    outage_mesh: RunningMesh, endpoint: Endpoint
) -> None:
    mesh = outage_mesh
    goes_on(mesh, endpoint)
    kafka, delivery = pid_of(mesh, "kafka"), pid_of(mesh, "delivery")
    with changing(mesh.variables["MESH_AIC_DSN"], CHANGE, 0.2):
        os.kill(kafka, signal.SIGSTOP)
        try:
            until(lambda: "_MSG_TIMED_OUT" in mesh.said("capture"), WITHIN_SECONDS, "records wait for too long")
            os.kill(delivery, signal.SIGKILL)
            until(lambda: "waits for Kafka at" in mesh.said("delivery"), WITHIN_SECONDS, "one that starts waits")
        finally:
            os.kill(kafka, signal.SIGCONT)
    goes_on(mesh, endpoint)
    assert mesh.state("delivery")["restarts"] == 1, mesh.said("delivery")
    assert mesh.state("kafka")["restarts"] == 0, mesh.said("kafka")


@pytest.mark.timeout(900)
def test_a_broker_that_is_killed_and_started_again_leaves_nothing_behind(
    outage_mesh: RunningMesh, endpoint: Endpoint
) -> None:
    mesh = outage_mesh
    kafka, taken = pid_of(mesh, "kafka"), len(endpoint.taken)
    with changing(mesh.variables["MESH_AIC_DSN"], CHANGE, 0.2):
        until(lambda: len(endpoint.taken) > taken, WITHIN_SECONDS, "it flows")
        os.kill(kafka, signal.SIGKILL)
        until(lambda: pid_of(mesh, "kafka") != kafka, WITHIN_SECONDS, "the broker is started again")
    goes_on(mesh, endpoint)


def remove_all(mesh: RunningMesh, topic: str) -> None:
    """Everything that stands in the topic at this moment, as retention would."""
    admin = AdminClient(mesh.kafka.client({}))
    ends = feeds.end_offsets(mesh.kafka, [topic])
    places = [TopicPartition(name, number, offset) for (name, number), offset in ends.items() if offset]
    # The broker removes nothing by age from a topic that is compacted alone, so somebody has changed that.
    entry = ConfigEntry("cleanup.policy", "compact,delete", incremental_operation=AlterConfigOpType.SET)
    changed = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([changed]).values():
        future.result(30)

    def removed() -> bool:
        try:
            for future in admin.delete_records(places).values():
                future.result(30)
        except KafkaException as refused:
            if refused.args[0].code() != KafkaError.POLICY_VIOLATION:
                raise
            return False  # a changed setting reaches the partitions' log some time after it was taken
        return True

    until(removed, WITHIN_SECONDS, f"the records of {topic} are removed")


def incident_of(mesh: RunningMesh, kind: str, name: str, state: str) -> Any:
    """The incident, once it stands."""

    def found() -> Any:
        incidents = {(each["kind"], each["name"], each["state"]): each for each in mesh.done("status")["incidents"]}
        return incidents.get((kind, name, state))

    return until(found, WITHIN_SECONDS, f"{kind} {name} is {state}")


@contextmanager
def held(mesh: RunningMesh, hop: str, topic: str) -> Iterator[None]:
    """A hop's process stands still while changes come to a topic that it reads, which are removed before it goes on."""
    pid, before = pid_of(mesh, hop), sum(feeds.end_offsets(mesh.kafka, [topic]).values())
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
        until(lambda: sum(feeds.end_offsets(mesh.kafka, [topic]).values()) > before, WITHIN_SECONDS, "they come")
        remove_all(mesh, topic)
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(900)
def test_a_derived_feed_that_lost_records_is_whole_once_its_fix_was_followed(
    outage_mesh: RunningMesh, endpoint: Endpoint
) -> None:
    mesh = outage_mesh
    goes_on(mesh, endpoint)
    with held(mesh, "streams", "base.organisation"), database(mesh.variables["MESH_AIC_DSN"]) as town:
        town.execute("UPDATE enterprise SET name = name || '有限' WHERE ent_id < 'E2'")
    incident = incident_of(mesh, "feed", "base.organisation", "stopped")
    assert "were removed before mesh.streams read them" in incident["reason"]
    assert "`mesh resync aic.main`" in incident["fix"]
    assert mesh.run("resync", "aic.main").status == 0
    goes_on(mesh, endpoint)


@pytest.mark.timeout(900)
def test_a_sink_whose_records_are_gone_goes_on_once_its_fix_was_followed(
    outage_mesh: RunningMesh, endpoint: Endpoint
) -> None:
    mesh = outage_mesh
    goes_on(mesh, endpoint)
    with held(mesh, "delivery", "out.desk.aic.enterprise"), database(mesh.variables["MESH_AIC_DSN"]) as town:
        town.execute("UPDATE enterprise SET name = name || '分' WHERE ent_id < 'E2'")
    incident = incident_of(mesh, "sink", "desk.main", "parked")
    assert "`mesh replay desk.aic.enterprise`" in incident["fix"]
    assert "`mesh resync <feed>`" in incident["fix"]
    assert mesh.run("replay", "desk.aic.enterprise").status == 0
    assert mesh.run("resync", "aic.enterprise").status == 0
    goes_on(mesh, endpoint)
