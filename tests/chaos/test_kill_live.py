"""Delivery killed while a live feed is followed, and while changes are out: nothing is missing, order holds (invariants 1, 4, 7)."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.log.kafka import Kafka
from tests.stage.delivering import OutFeed
from tests.stage.feeds import committed_offsets, create, end_offsets
from tests.stage.live_feed import TOKEN, Subscriber, free_port
from tests.stage.until import until
from tests.stage.webhooks import append

CHILD = Path(__file__).parents[1] / "stage" / "delivery_child.py"
KEYS, CHANGES = 40, 600


class Lives:
    """A delivery process that is killed and started again, always on the same address."""

    def __init__(self, kafka: Kafka, feed: OutFeed, dice: random.Random) -> None:
        self.dice = dice
        self.url = f"http://127.0.0.1:{free_port()}"
        options = {"listen": self.url, "visibility_seconds": 1, "requests_max": 1_000, "leases_max": 50}
        entry = {"subscriber": feed.subscriber, "kind": "live", "address": TOKEN, "options": options, "death": None}
        self._line = [sys.executable, str(CHILD), json.dumps({"kafka": kafka.environment(), **entry})]
        self.begin()

    def begin(self) -> None:
        self.process = subprocess.Popen(self._line)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def again(self) -> None:
        self.kill()
        self.begin()


@contextmanager
def lives(kafka: Kafka, unique: str) -> Iterator[tuple[Lives, OutFeed, Subscriber]]:
    seed = int(os.environ.get("MESH_CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 10_000)
    print(f"MESH_CHAOS_SEED={seed} replays this run")  # noqa: T201 -- shown when the test fails
    feed = OutFeed(unique, "police.person")
    create(kafka, feed.topic, partitions=3)
    dice = random.Random(seed)
    append(kafka, feed, [feed.record("u", {"id": dice.randrange(KEYS), "name": str(n)}) for n in range(CHANGES)])
    running = Lives(kafka, feed, dice)
    try:
        with closing(Subscriber(running.url)) as subscriber:
            yield running, feed, subscriber
    finally:
        running.kill()


def asked(ask: Callable[[], Any]) -> Any:
    """The answer, None while nobody is there or the answer broke off."""
    try:
        return ask()
    except httpx.TransportError:
        return None


def assert_whole(changes: Sequence[Mapping[str, Any]]) -> None:
    """Each change came, and of each key in order, but for what came a second time."""
    assert sorted({int(change["after"]["name"]) for change in changes}) == list(range(CHANGES))
    for key in {change["key"]["id"] for change in changes}:
        newest, seen = "", set[str]()
        for change in (change for change in changes if change["key"]["id"] == key):
            position = change["position"]
            assert position in seen or position > newest, "order holds per key"
            seen.add(position)
            newest = max(newest, position)


def test_kill_while_a_stream_is_followed_loses_nothing(kafka: Kafka, unique: str) -> None:
    with lives(kafka, unique) as (running, _, subscriber):
        changes: list[Any] = []

        def follow(count: int) -> bool:
            try:
                with closing(subscriber.stream()) as stream:  # pyright: ignore[reportArgumentType]
                    for event in stream:
                        changes.append(json.loads(event.data))
                        if len(changes) == count:
                            running.kill()  # what is under way still comes, or breaks off
            except (httpx.TransportError, httpx.HTTPStatusError):  # killed, not there yet, or not served yet
                pass
            return len(changes) >= count

        for death in sorted(running.dice.sample(range(50, CHANGES), 3)):
            until(lambda death=death: follow(death), 60, f"killed after {death} changes")
            running.again()
        until(lambda: _rest(subscriber, changes), 60, "everything has come")
        assert_whole(changes)


def _rest(subscriber: Subscriber, changes: list[Any]) -> bool:
    try:
        with closing(subscriber.stream()) as stream:  # pyright: ignore[reportArgumentType]
            while len({change["after"]["name"] for change in changes}) < CHANGES:
                changes += subscriber.next(stream, 1)
    except (httpx.TransportError, httpx.HTTPStatusError):
        return False
    return True


@pytest.mark.parametrize("where", ["between take and acknowledgement", "after an acknowledgement"])
def test_kill_while_changes_are_out_hands_them_out_again(kafka: Kafka, unique: str, where: str) -> None:
    with lives(kafka, unique) as (running, feed, subscriber):
        kept: list[Any] = []
        deaths = sorted(running.dice.sample(range(20, CHANGES - 50), 3))

        def step() -> bool:
            taken = asked(lambda: subscriber.take(max=running.dice.randrange(1, 50), wait=0.5)) or []
            is_dying = bool(deaths) and len(kept) >= deaths[0] and bool(taken)
            if is_dying and where.startswith("between"):
                deaths.pop(0)
                running.again()  # what was taken counts as never seen
                return False
            answer = asked(lambda: subscriber.acknowledge(taken)) if taken else None
            if answer is not None:
                kept.extend(each["change"] for each in taken if each["receipt"] not in answer["unknown"])
            if is_dying:
                deaths.pop(0)
                running.again()  # perhaps before its group's offset was committed
            return len({change["after"]["name"] for change in kept}) >= CHANGES

        until(step, 120, "everything was taken and acknowledged")
        assert not deaths
        assert_whole(kept)
        ends = end_offsets(kafka, [feed.topic])

        def is_confirmed() -> bool:
            subscriber.acknowledge(subscriber.take())  # what came a second time
            return committed_offsets(kafka, f"sub.{unique}.main") == ends

        until(is_confirmed, 30, "the group is at the end")
