"""The registry's topic: what a restart keeps, who may write, what a foreign or broken record does (SR-03)."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient

from schemas.backoff import Backoff
from schemas.errors import ContractBroken, Misconfigured, Rejected, Transient
from schemas.registry.client import RegistryClient
from schemas.registry.server import RegistryServer
from schemas.registry.topic import Unsettled
from tests.broker.conftest import running_registry
from tests.stage.until import until


def record(name, *fields):
    columns = [{"name": field, "type": ["null", "string"], "default": None} for field in fields]
    return {"type": "record", "name": name, "fields": [{"name": "id", "type": "string"}, *columns]}


def write(kafka, topic, *records):
    producer = Producer(kafka.client({}))
    for key, value in records:
        encoded = value if isinstance(value, bytes | None) else json.dumps(value).encode()
        producer.produce(topic, encoded, key if isinstance(key, bytes) else json.dumps(key).encode())
    assert producer.flush(20) == 0


def everything(url):
    """All that the REST interface tells of the registry."""
    with httpx.Client(base_url=url) as http:
        paths = ["/subjects?deleted=true", "/schemas?deleted=true", "/config", "/mode", "/contexts"]
        told = {path: http.get(path).json() for path in paths}
        for subject in told["/subjects?deleted=true"]:
            for path in (f"/config/{subject}", f"/mode/{subject}", f"/subjects/{subject}/versions?deleted=true"):
                told[path] = http.get(path).json()
        return told


def test_restart_keeps_everything_and_gives_no_id_twice(kafka, unique):
    topic = f"_schemas_{unique}"
    with running_registry(kafka, topic) as server, httpx.Client(base_url=server.url) as http:
        client = RegistryClient(server.url)
        client.set_compatibility("a", "FULL_TRANSITIVE")
        ids = [client.register("a", record("R", *"xyz"[:count])) for count in range(3)]
        client.register(":.other:b", record("S"))
        assert http.delete("/subjects/a/versions/2").json() == 2
        assert http.put("/mode/b", json={"mode": "READONLY"}).json() == {"mode": "READONLY"}
        assert http.put("/config", json={"compatibility": "FULL"}).json() == {"compatibility": "FULL"}
        last = client.register("gone", record("Gone"))
        http.delete("/subjects/gone")
        assert http.delete("/subjects/gone?permanent=true").json() == [1]
        before = everything(server.url)
        client.close()
    assert ids == sorted(set(ids))
    with running_registry(kafka, topic) as server:
        assert everything(server.url) == before
        assert before["/contexts"] == [".", ".other"]
        client = RegistryClient(server.url)
        assert client.register("a", record("R", *"xy")) == ids[2]
        assert client.register("new", record("New")) == last + 1
        client.close()


def test_later_registry_takes_over_and_the_earlier_ends_at_its_next_write(kafka, unique):
    topic = f"_schemas_{unique}"
    earlier, stop, ended = RegistryServer(kafka, topic=topic), threading.Event(), []

    def serve():
        try:
            earlier.run(stop)
        except Misconfigured as error:
            ended.append(error)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert earlier.ready.wait(60)
        first = RegistryClient(earlier.url)
        first.register("a", record("R"))
        with running_registry(kafka, topic) as later:
            second = RegistryClient(later.url)
            schema_id = second.register("a", record("R", "x"))
            until(
                lambda: (first.latest("a") or (0, 0))[1] == 2, 20, "the earlier registry follows what the later writes"
            )
            assert first.schema(schema_id) == record("R", "x")
            answer = httpx.post(f"{earlier.url}/subjects/a/versions", json={"schema": json.dumps(record("R", "y"))})
            assert (answer.status_code, answer.json()["error_code"]) == (500, 50003)
            thread.join(30)
            assert not thread.is_alive()
            assert "another registry writes there now" in str(ended[0])
            assert second.latest("a")[1] == 2
            second.close()
        first.close()
    finally:
        stop.set()
        thread.join(30)


def test_taken_port_is_refused_before_anybody_is_fenced(kafka, unique):
    topic = f"_schemas_{unique}"
    with running_registry(kafka, topic) as server:
        with pytest.raises(Misconfigured, match="Address already in use"):
            RegistryServer(kafka, port=server.port, topic=topic).run(threading.Event())
        client = RegistryClient(server.url)
        assert client.register("a", record("R"))
        client.close()


BROKEN = [
    (b"no json", {"subject": "a"}),
    (b"", b"{}"),
    ({"keytype": "RIDDLE", "magic": 0}, {}),
    ({"keytype": "SCHEMA", "subject": "b", "version": 1, "magic": 1}, {"subject": "b", "version": 1}),
    ({"keytype": "SCHEMA", "subject": "b", "version": 1, "magic": 1}, b"\xff"),
    ({"keytype": "SCHEMA", "subject": "b", "version": 1, "magic": 1}, {"subject": "b", "version": 1, "id": 1, "schema": '"int"'}),
]  # fmt: skip


@pytest.mark.parametrize("broken", BROKEN, ids=range(len(BROKEN)))
def test_corrupt_record_ends_a_running_registry_and_refuses_the_next_start(kafka, unique, broken):
    topic = f"_schemas_{unique}"

    def break_it():
        with running_registry(kafka, topic) as server:
            client = RegistryClient(server.url)
            assert client.register("a", record("R")) == 1
            client.close()
            write(kafka, topic, broken)
            until(lambda: not _answers(server.url), 20, "the registry ends")

    with pytest.raises(ContractBroken, match="record at offset") as caught:
        break_it()
    assert "restore the topic" in caught.value.fix
    with pytest.raises(ContractBroken, match="record at offset"), running_registry(kafka, topic):
        pass


def test_lost_topic_ends_the_registry_at_its_next_write(kafka, unique):
    topic = f"_schemas_{unique}"

    def write_to_nowhere():
        with running_registry(kafka, topic) as server:
            client = RegistryClient(server.url)
            assert client.register("a", record("R")) == 1
            client.close()
            admin = AdminClient(kafka.client({}))
            admin.delete_topics([topic])[topic].result()
            body = {"schema": json.dumps(record("S"))}
            answer = httpx.post(f"{server.url}/subjects/b/versions", json=body, timeout=60)
            assert (answer.status_code, answer.json()["error_code"]) == (500, 50001)
            until(lambda: not _answers(server.url), 20, "the registry ends")

    with pytest.raises((KafkaException, Unsettled)):  # whichever of its two answers the broker gives first
        write_to_nowhere()


def _answers(url):
    try:
        return httpx.get(f"{url}/subjects", timeout=2).is_success
    except httpx.TransportError:
        return False


def test_records_of_another_registry_are_read(kafka, unique):
    topic = f"_schemas_{unique}"

    def schema(subject, version, schema_id, **attributes):
        key = {"keytype": "SCHEMA", "subject": subject, "version": version, "magic": 1}
        value = {"subject": subject, "version": version, "id": schema_id, "schema": '"string"', "deleted": False}
        return key, {**value, "md5": "AAA=", "ts": 1, **attributes}

    with running_registry(kafka, topic):
        pass
    write(
        kafka,
        topic,
        ({"keytype": "NOOP", "magic": 0}, None),
        schema("a", 1, 7),
        schema("a", 2, 8, schema='"long"'),
        ({"keytype": "DELETE_SUBJECT", "subject": "a", "magic": 0}, {"subject": "a", "version": 1}),
        schema("b", 1, 7),
        ({"keytype": "CLEAR_SUBJECT", "subject": "b", "magic": 0}, {"subject": "b"}),
        schema("c", 1, 9, schema='"bytes"', schemaType="AVRO", references=[]),
        ({"keytype": "SCHEMA", "subject": "c", "version": 1, "magic": 1}, None),
        ({"keytype": "CONFIG", "subject": None, "magic": 0}, {"compatibilityLevel": "NONE"}),
        ({"keytype": "MODE", "subject": "a", "magic": 0}, {"mode": "READONLY"}),
    )
    with running_registry(kafka, topic) as server, httpx.Client(base_url=server.url) as http:
        assert http.get("/subjects").json() == ["a"]
        assert http.get("/subjects/a/versions").json() == [2]
        assert http.get("/subjects/a/versions?deleted=true").json() == [1, 2]
        assert http.get("/schemas/ids/7/schema").json() == "string"
        assert http.get("/config").json() == {"compatibilityLevel": "NONE"}
        assert http.get("/mode/a").json() == {"mode": "READONLY"}
        client = RegistryClient(server.url)
        assert client.register("d", record("R")) == 10
        client.close()


def test_many_at_once_get_each_their_own_id(registry, unique):
    client = RegistryClient(registry)
    schemas = [record(f"{unique}_{number}") for number in range(12)]
    with ThreadPoolExecutor(6) as pool:
        twice = [pool.submit(client.register, f"{unique}-{n}", schema) for n, schema in enumerate(schemas * 2)]
        ids = [future.result() for future in twice]
    assert ids[:12] == ids[12:]
    assert len(set(ids)) == 12
    client.close()


def test_client_answers_in_our_errors(registry, unique):
    client = RegistryClient(registry)
    assert client.latest(unique) is None
    assert client.breaches(unique, record("R")) == []
    client.set_compatibility(unique, "FULL_TRANSITIVE")
    schema_id = client.register(unique, record("R", "备注".encode().hex()))
    assert client.schema(schema_id) == record("R", "备注".encode().hex())
    assert client.latest(unique) == (schema_id, 1, record("R", "备注".encode().hex()))
    broken = {**record("R"), "fields": [{"name": "id", "type": "int"}]}
    assert client.breaches(unique, broken) == ["id: string becomes int"]
    assert "unknown type" in client.breaches(unique, {"type": "recrod"})[0]
    with pytest.raises(ContractBroken, match="string becomes int"):
        client.register(unique, broken)
    with pytest.raises(Rejected) as caught:
        client.schema(2_000_000_000)
    assert caught.value.reason == "unknown_schema"
    client.close()


def test_client_gives_up_in_bounded_time_when_nobody_answers(monkeypatch):
    monkeypatch.setattr("schemas.registry.client.AGAIN", Backoff(first_seconds=0.01, longest_seconds=0.02))
    client = RegistryClient("http://127.0.0.1:9")
    with pytest.raises(Transient, match="does not answer"):
        client.schema(1)
    client.close()


DEEP = "[" * 20_000 + "]" * 20_000
HOSTILE = [
    ("POST", "/subjects/s/versions", b"", 400, 400),
    ("POST", "/subjects/s/versions", b"{", 400, 400),
    ("POST", "/subjects/s/versions", b"\xff\xfe", 400, 400),
    ("POST", "/subjects/s/versions", DEEP.encode(), 400, 400),
    ("POST", "/subjects/s/versions", b'{"schema": "\\ud800"}', 400, 400),
    ("POST", "/subjects/s/versions", b"[]", 422, 42201),
    ("POST", "/subjects/s/versions", b"null", 422, 42201),
    ("POST", "/subjects/s/versions", {}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": ""}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": {"type": "string"}}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": "{"}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": "NaN"}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": "9" * 10_000}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": DEEP}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"array","items":' * 200 + '"int"' + "}" * 200}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"string","doc":"\\ud800"}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"string","x":1e999}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":{"type":{"type":"int"}}}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"record","name":["x"],"fields":[]}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"record","name":"x","namespace":7,"fields":[]}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"record","name":"x","fields":{"a":1}}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"record","name":"x","fields":[7]}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"record","name":"x","aliases":7,"fields":[]}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '{"type":"enum","name":"x","symbols":[[]]}'}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"string"', "references": 7}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"string"', "references": [{"name": "x"}]}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"string"', "metadata": []}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"string"', "id": "x"}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": '"string"', "id": 5}, 422, 42205),
    ("POST", "/subjects/s/versions", {"schema": '"string"', "schemaType": ["AVRO"]}, 422, 42201),
    ("POST", "/subjects/s/versions", {"schema": "x" * 2_000_000}, 413, 413),
    ("POST", "/subjects/s%01s/versions", {"schema": '"string"'}, 422, 42208),
    ("POST", "/subjects/%20/versions", {"schema": '"string"'}, 422, 42208),
    ("POST", "/subjects/__GLOBAL/versions", {"schema": '"string"'}, 422, 42208),
    ("POST", "/subjects/%ff/versions", {"schema": "x"}, 422, 42201),
    ("GET", "/subjects/s/versions/0", None, 422, 42202),
    ("GET", "/subjects/s/versions/-2", None, 422, 42202),
    ("GET", "/subjects/s/versions/%D9%A1", None, 422, 42202),
    ("DELETE", "/subjects/s/versions/x", None, 422, 42202),
    ("DELETE", "/subjects/s", None, 404, 40401),
    ("GET", "/schemas/ids/x", None, 404, 40403),
    ("GET", "/schemas/ids/99999999999999999999", None, 404, 40403),
    ("GET", "/schemas/ids/-1", None, 404, 40403),
    ("GET", "/schemas/ids/%C2%B2", None, 404, 40403),
    ("PUT", "/config/s", {}, 422, 42203),
    ("PUT", "/config/s", [], 422, 42203),
    ("PUT", "/config/s", {"compatibility": 7}, 422, 42203),
    ("PUT", "/config/s", {"compatibility": ["FULL"]}, 422, 42203),
    ("PUT", "/mode/s", {}, 422, 42204),
    ("PUT", "/mode/s", {"mode": {}}, 422, 42204),
    ("DELETE", "/mode/s", None, 404, 40409),
    ("DELETE", "/config/s", None, 404, 40408),
    ("POST", "/compatibility/subjects/s/versions/latest", {"schema": '"string"'}, 404, 40401),
    ("POST", "/compatibility/subjects/s/versions", {"schema": "{"}, 422, 42201),
    ("GET", "/nowhere", None, 404, 404),
    ("PATCH", "/subjects", None, 405, 405),
]  # fmt: skip


JSON = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


def test_hostile_requests_get_their_4xx_and_change_nothing(kafka, unique):
    with running_registry(kafka, f"_schemas_{unique}") as server, httpx.Client(base_url=server.url) as http:
        wrong = []
        for method, path, body, status, code in HOSTILE:
            content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
            answer = http.request(method, path, content=content, headers=JSON)
            if (answer.status_code, answer.json().get("error_code")) != (status, code):
                wrong.append((method, path, str(body)[:60], answer.status_code, answer.text[:200]))
        assert wrong == []
        assert http.get("/schemas?deleted=true").json() == []
        assert http.get("/subjects?offset=x&limit=y&deleted=perhaps").json() == []
