"""A receiver that answered 410 is asked no more, whatever restarts, until a person does what the incident says."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import yaml

from ops.watch.standstills import StandstillLog
from schemas.agreement.subscriber import SinkConfig
from schemas.log.control.store import ControlStore
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from tests.stage.delivering import Desk, OutFeed, delivering, directory_of
from tests.stage.feeds import create
from tests.stage.running_mesh import RunningMesh, contract, database, run
from tests.stage.until import until, until_none
from tests.stage.webhooks import KINDS, SECRET, Endpoint, append, person


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


@contextmanager
def restarted(kafka: Kafka, feed: OutFeed, topic: str, url: str) -> Iterator[Desk]:
    """Delivery as a process that begins: it knows what stands on the control topic."""
    addresses = {(feed.subscriber, "main"): url, (feed.subscriber, "main.signing_key"): SECRET}
    directory = directory_of({feed.subscriber: SinkConfig(name="main", kind="webhook", options={})}, feed)
    with (
        closing(Log(kafka, client_id="test", linger_ms=0)) as log,
        closing(StandstillLog(ControlStore(kafka, topic, log))) as standstills,
        delivering(
            kafka, directory, kinds=KINDS, schemas=feed.schemas, addresses=addresses, standstills=standstills
        ) as desk,
    ):
        yield desk


def stopped(desk: Desk) -> Any:
    return next((each for each in desk.incidents.present().values() if each.state == "stopped"), None)


def test_a_restart_of_delivery_asks_a_receiver_that_is_gone_no_more(
    kafka: Kafka, unique: str, endpoint: Endpoint
) -> None:
    feed, topic, elsewhere = OutFeed(unique, "police.person"), f"{unique}.standstills", Endpoint()
    create(kafka, feed.topic)
    create(kafka, topic, partitions=1)
    append(kafka, feed, [feed.record("c", person(number)) for number in range(20)])
    endpoint.answer = lambda _body: 410
    try:
        with restarted(kafka, feed, topic, endpoint.url) as desk:
            until(lambda: stopped(desk), 60, "it stops")
        count = len(endpoint.came)
        for _ in range(2):
            with restarted(kafka, feed, topic, endpoint.url) as desk:
                incident = until(lambda desk=desk: stopped(desk), 60, "it stands still, and says so")
                assert "410" in incident.reason
                assert f"`mesh subscription resume {feed.subscriber}.main`" in incident.fix
                assert desk.watch.parked_lanes[feed.subscriber] is True
                began = time.monotonic()
                until(lambda began=began: time.monotonic() > began + 1.5, 10, "a while, as a parked lane never waits")
        assert len(endpoint.came) == count
        with restarted(kafka, feed, topic, elsewhere.url) as desk:
            until(lambda: len(elsewhere.taken) == 20, 60, "an address that was given meanwhile is taken up")
            assert desk.incidents.present() == {}
        with restarted(kafka, feed, topic, elsewhere.url):
            append(kafka, feed, [feed.record("c", person(20))])
            until(lambda: 20 in elsewhere.ids(), 60, "and nothing of it is left")
    finally:
        elsewhere.close()
    assert len(endpoint.came) == count


def test_what_the_incident_says_resumes_a_receiver_that_is_back_or_has_moved(
    mesh: RunningMesh, endpoint: Endpoint
) -> None:
    agency, subscriber, moved = f"{mesh.unique}a", f"{mesh.unique}s", Endpoint()
    feed, sink = f"{agency}.t", f"{subscriber}.main"
    source = mesh.database(agency)
    mesh.agency(agency, {"t": contract(["id"], {"id": "int", "note": "string"})})
    folder = mesh.folder / subscriber
    folder.mkdir()
    mesh.variables |= {"MESH_HOOK": endpoint.url, "MESH_HOOK_KEY": SECRET}
    hook = {"name": "main", "kind": "webhook", "connection": "${MESH_HOOK}", "signing_key": "${MESH_HOOK_KEY}"}
    grant = {"feed": feed, "columns": ["note"], "purpose": "核验", "legal_basis": "示例依据"}
    text = yaml.safe_dump({"subscriber": subscriber, "name": "测试订阅方", "sinks": [hook], "grants": [grant]})
    (folder / "subscriber.yaml").write_text(text)

    def incident() -> Any:
        found = [each for each in mesh.done("status")["incidents"] if each["name"] == sink]
        return found[0] if found and found[0]["state"] == "stopped" else None

    endpoint.answer = lambda _body: 410
    try:
        with database(source) as town:
            town.execute("CREATE TABLE t (id int PRIMARY KEY, note text); ALTER TABLE t REPLICA IDENTITY FULL")
            town.execute("INSERT INTO t SELECT n, 'n' FROM generate_series(1, 10) n")
            assert mesh.run("onboard", mesh.folder, "--wait", "0").status == 0
            told = until(incident, 60, "the sink stops")
            command = told["fix"].split("`")[3]
            assert command == f"mesh subscription resume {sink}"
            endpoint.answer = lambda _body: 200
            assert run(*command.split()[1:], "--dir", mesh.directory).status == 0
            until(lambda: sorted(endpoint.ids()) == list(range(1, 11)), 60, "the receiver is back, and gets all")
            until_none(incident, 30, "nothing stands still")

            endpoint.answer = lambda _body: 410
            town.execute("UPDATE t SET note = 'm'")
            until(incident, 60, "the sink stops again")
            mesh.variables["MESH_HOOK"] = moved.url
            assert told["fix"].split("`")[1] == "mesh onboard"
            assert mesh.run("onboard", folder, "--wait", "0").status == 0
            until(lambda: sorted(moved.ids()) == list(range(1, 11)), 60, "its new address gets all")
            until_none(incident, 30, "nothing stands still")
    finally:
        moved.close()
