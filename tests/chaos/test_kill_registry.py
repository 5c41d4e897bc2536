"""A registry killed at any moment forgets nothing that it answered, and gives no id twice (invariants 5 and 7)."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import threading

import httpx

from schemas.registry.client import RegistryClient
from tests.stage.kafka_text import written
from tests.stage.until import until

SERVE = """
import sys, threading
from schemas.registry.server import RegistryServer
from tests.stage.kafka_text import read
server = RegistryServer(read(sys.argv[1]), topic=sys.argv[2])
threading.Thread(target=lambda: server.ready.wait() and print(server.port, flush=True), daemon=True).start()
server.run(threading.Event())
"""
KILLS = 4


def start(kafka, topic):
    process = subprocess.Popen([sys.executable, "-c", SERVE, written(kafka), topic], stdout=subprocess.PIPE, text=True)
    port = process.stdout.readline().strip()
    assert port, "the registry does not come up"
    return process, f"http://127.0.0.1:{port}"


def schema(number):
    return {"type": "record", "name": f"R{number}", "fields": []}


def hammer(url, numbers, answered, stop):
    """Register without ever trying again; note what was answered."""
    with httpx.Client(base_url=url, timeout=30) as http:
        for number in numbers:
            if stop.is_set():
                return
            try:
                answer = http.post(f"/subjects/s{number}/versions", json={"schema": json.dumps(schema(number))})
            except httpx.TransportError:
                return
            if answer.is_success:
                answered[number] = answer.json()["id"]


def test_kill_at_any_moment_keeps_every_answered_id(kafka, unique):
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")  # noqa: T201  # to replay a failure
    chance = random.Random(seed)
    topic, answered = f"_schemas_{unique}", {}
    for kill in range(KILLS):
        process, url = start(kafka, topic)
        stop = threading.Event()
        lanes = [range(kill * 10_000 + lane * 1000, kill * 10_000 + lane * 1000 + 1000) for lane in range(3)]
        threads = [threading.Thread(target=hammer, args=(url, lane, answered, stop)) for lane in lanes]
        for thread in threads:
            thread.start()
        try:
            enough = len(answered) + chance.randrange(1, 25)
            until(lambda: len(answered) >= enough, 60, "registrations are answered")  # noqa: B023 - asked at once
        finally:
            process.kill()
            process.wait(30)
            process.stdout.close()
            stop.set()
            for thread in threads:
                thread.join(30)
    process, url = start(kafka, topic)
    try:
        client = RegistryClient(url)
        assert {number: client.schema(schema_id)["name"] for number, schema_id in answered.items()} == {
            number: f"R{number}" for number in answered
        }
        assert len(set(answered.values())) == len(answered)
        versions = httpx.get(f"{url}/schemas").json()
        assert len({version["id"] for version in versions}) == len(versions)
        assert client.register("fresh", schema("Fresh")) == max(version["id"] for version in versions) + 1
        client.close()
    finally:
        process.kill()
        process.wait(30)
        process.stdout.close()
