"""The registry among people who mean no good or think of nothing: other pages, other hands, other orders, endless schemas."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from schemas.log.kafka import Kafka
from schemas.registry.server import RegistryServer


@pytest.fixture(scope="module")
def registry(kafka: Kafka) -> Iterator[str]:
    """A registry in which every subject that begins with `live` is held by the running mesh."""
    held = lambda subject: f"feed {subject}" if (subject or "live").startswith("live") else ""  # noqa: E731
    server, stop = RegistryServer(kafka, topic=f"_schemas_{secrets.token_hex(4)}", held_by=held), threading.Event()
    thread = threading.Thread(target=server.run, args=(stop,))
    thread.start()
    assert server.ready.wait(60)
    yield server.url
    stop.set()
    thread.join(30)


def post(registry: str, subject: str, schema: Any) -> httpx.Response:
    return httpx.post(f"{registry}/subjects/{subject}/versions", json={"schema": json.dumps(schema)}, timeout=60)


def test_what_a_running_feed_goes_by_is_taken_away_by_nobody(registry: str) -> None:
    assert post(registry, "live-value", {"type": "record", "name": "A", "fields": []}).status_code == 200
    for method, path, body in (
        ("DELETE", "/subjects/live-value", None),
        ("DELETE", "/subjects/live-value?permanent=true", None),
        ("DELETE", "/subjects/live-value/versions/1", None),
        ("PUT", "/config/live-value", {"compatibility": "NONE"}),
        ("PUT", "/mode/live-value", {"mode": "READONLY"}),
        ("PUT", "/mode?force=true", {"mode": "IMPORT"}),
    ):
        answer = httpx.request(method, registry + path, json=body)
        assert (answer.status_code, answer.json()["error_code"]) == (422, 42205), path
        assert "held by feed" in answer.json()["message"]
    assert httpx.get(f"{registry}/subjects/live-value/versions").json() == [1]
    assert post(registry, "gone-value", "string").status_code == 200
    assert httpx.delete(f"{registry}/subjects/gone-value").json() == [1]


def test_a_page_on_another_host_changes_nothing(registry: str) -> None:
    body = json.dumps({"schema": '"string"'})
    for headers, status in (
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": "application/json", "Origin": "http://evil.example"}, 403),
        ({"Content-Type": "application/json", "Host": "evil.example"}, 421),
    ):
        answer = httpx.post(f"{registry}/subjects/page-value/versions", content=body, headers=headers)
        assert answer.status_code == status
        assert answer.json()["error_code"] == status
    assert "page-value" not in httpx.get(f"{registry}/subjects").json()


def test_one_schema_is_one_id_in_whatever_order_its_attributes_stand(registry: str) -> None:
    field = {"name": "f", "type": ["null", "string"], "default": None, "doc": "名", "gov": {"class": "A", "unit": "元"}}
    first = {"type": "record", "name": "O", "namespace": "n", "fields": [field]}
    turned = {**dict(reversed(field.items())), "gov": {"unit": "元", "class": "A"}}
    second = {"fields": [turned], "namespace": "n", "name": "O", "type": "record"}
    ids = {
        post(registry, subject, schema).json()["id"] for subject in ("o-value", "p-value") for schema in (first, second)
    }
    assert len(ids) == 1
    assert httpx.get(f"{registry}/subjects/o-value/versions").json() == [1]
    assert httpx.post(f"{registry}/subjects/o-value", json={"schema": json.dumps(second)}).json()["version"] == 1
    for other in ({**field, "doc": "别名"}, {**field, "gov": {"class": "B"}}):
        assert post(registry, "o-value", {**first, "fields": [other]}).json()["id"] not in ids
    longer = {"name": "g", "type": "int", "default": 0}
    forth, back = ({**first, "fields": fields} for fields in ([field, longer], [longer, field]))
    assert post(registry, "o-value", forth).json()["id"] != post(registry, "o-value", back).json()["id"], (
        "fields have an order"
    )


def nested(levels: int) -> dict[str, Any]:
    """Each level names the last one twice, with a default: looked at naively, every level doubles the work."""
    fields: list[dict[str, Any]] = []
    kind: Any = {"type": "record", "name": "R0", "fields": [{"name": "a", "type": "int", "default": 0}]}
    for level in range(1, levels):
        twice = [
            {"name": "a", "type": [kind, "null"], "default": {}},
            {"name": "b", "type": [f"R{level - 1}", "null"], "default": {}},
        ]
        kind = {"type": "record", "name": f"R{level}", "fields": twice}
    return {"type": "record", "name": "Top", "fields": [*fields, {"name": "f", "type": kind, "default": {}}]}


def test_a_schema_of_nested_unions_takes_no_time_and_an_endless_one_is_refused(registry: str) -> None:
    started = time.monotonic()
    answer = post(registry, "deep-value", nested(15))
    assert answer.status_code == 200, answer.text
    assert post(registry, "deep-value", nested(15)).json()["id"] == answer.json()["id"]
    assert time.monotonic() - started < 5
    for schema in (nested(60), {"type": "array", "items": nested(40)}):
        answer = post(registry, "deep-value", schema)
        assert answer.status_code == 422
        assert "nested deeper" in answer.json()["message"]
    text = "[" * 50_000 + "]" * 50_000
    assert httpx.post(f"{registry}/subjects/deep-value/versions", json={"schema": text}).status_code == 422


def test_others_are_answered_while_a_large_schema_is_judged(registry: str) -> None:

    def wide(count: int) -> dict[str, Any]:
        columns = [{"name": f"f{n}", "type": ["null", "string"], "default": None} for n in range(count)]
        return {"type": "record", "name": "L", "fields": columns}

    refusal = post(registry, "large-value", wide(2_001))
    assert refusal.status_code == 422
    assert "more than 2000 fields" in refusal.json()["message"]
    large = wide(1_000)
    assert post(registry, "large-value", large).status_code == 200
    outcome: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: outcome.append(post(registry, "large-value", {**large, "doc": "x"})))
    thread.start()
    slowest = 0.0
    while thread.is_alive():
        started = time.monotonic()
        assert httpx.get(f"{registry}/subjects/large-value/versions", timeout=60).status_code == 200
        slowest = max(slowest, time.monotonic() - started)
    assert outcome[0].status_code == 200
    assert slowest < 5
