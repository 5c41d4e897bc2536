"""Subjects are divided among more tasks while everything goes on: what comes of it is what one task would have made."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from schemas.change import Op, Record
from schemas.position import Position
from streams.engine import folding
from streams.engine.division import moving
from streams.engine.division.division import ENTRY, Division
from streams.engine.entry import timer_of
from streams.engine.folding import Folding
from streams.engine.inbox.bundle import bundled, partition_of, unbundled
from streams.engine.inbox.intake import Outgoing
from streams.engine.inbox.message import DIVIDE, ROUTE, TICK, WATERMARKS, message_key, pack, unpack
from streams.engine.time import sweep
from tests.stage.demo_flow import FLOW
from tests.stage.rehearsal import MemoryStore, Rehearsal, days, micros

BEGUN = 2
INBOX = "inbox"


class _Steady(random.Random):
    """One that kills nobody."""

    def random(self) -> float:
        return 0.99


class Town(Rehearsal):
    """The flow shared by tasks, each with an inbox of its own, of which the next is read whenever somebody wants.

    Half of what is sent is sent by the number that the tasks began with.
    """

    def __init__(self, rng: random.Random) -> None:
        super().__init__(FLOW)
        self.rng = rng
        self.inboxes: defaultdict[int, list[Record]] = defaultdict(list)
        self.read: defaultdict[int, int] = defaultdict(int)
        self.stores: defaultdict[int, MemoryStore] = defaultdict(MemoryStore)
        self.open: dict[int, Folding] = {}
        self.partitions = BEGUN
        self.routed = BEGUN

    def deliver(self, messages: list[Outgoing]) -> None:
        self.send(messages, self.rng.choice([BEGUN, self.routed]))

    def send(self, messages: list[Outgoing], tasks: int, onward: list[tuple[int, Outgoing]] | None = None) -> None:
        self.append(bundled(messages, INBOX, tasks, roots=BEGUN, onward=onward or ()))

    def tell(self, kind: int, tasks: int) -> None:
        """What the command tells each of so many tasks itself."""
        self.append(bundled([Outgoing(message_key("demo", ""), pack([kind, tasks]))], INBOX, tasks))

    def append(self, records: Iterable[Any]) -> None:
        for _, key, value, partition, _ in records:
            inbox = self.inboxes[partition]
            inbox.append(Record(len(inbox), key, value, None, 0))

    def grow(self, tasks: int) -> None:
        """The topics have so many partitions; every task is told."""
        self.partitions = tasks
        self.tell(DIVIDE, tasks)

    def folding_of(self, task: int) -> Folding:
        if task not in self.open:
            store = self.stores[task]
            division = Division.of(store.get(ENTRY), task, BEGUN, BEGUN)
            self.open[task] = Folding([self.flow], store, division)
        return self.open[task]

    def work(self, task: int) -> None:
        """A task takes some of what waits for it; now and then it is killed between two slices, or afterwards."""
        waiting = self.inboxes[task][self.read[task] : self.read[task] + self.rng.randrange(1, 6)]
        if not waiting:
            return
        folding = self.folding_of(task)
        messages = [message for record in waiting for message in unbundled(record)]
        for effects, position in folding.apply(messages):
            self.stores[task].write(effects.changes)
            self.history += effects.rows
            self.send(effects.messages, folding.division.routed, effects.onward)
            self.read[task] = position
            if self.rng.random() < 0.2:
                del self.open[task]
                return

    def drain(self) -> None:
        while waiting := [task for task, inbox in self.inboxes.items() if self.read[task] < len(inbox)]:
            self.work(self.rng.choice(waiting))

    def drain_unharmed(self) -> None:
        """Nobody is killed meanwhile."""
        rng, self.rng = self.rng, _Steady(1)
        self.drain()
        self.rng = rng

    def route_if_divided(self) -> None:
        """Once every task knows that there are more, messages are sent to all of them."""
        tasks = [self.folding_of(task).division.tasks for task in range(self.partitions)]
        if self.partitions != self.routed and set(tasks) == {self.partitions}:
            self.routed = self.partitions
            self.tell(ROUTE, self.routed)


def entries(*stores: MemoryStore) -> dict[bytes, Any]:
    """Who knows what, but for what bears a position or a commit, and for what says nothing: not each that came and went is sent."""
    found: dict[bytes, Any] = {}
    for store in stores:
        for key, value in store.scan(b"s"):
            kind = key.split(b"\0", 2)[2][:1]
            assert key not in found, "nobody is with two tasks"
            found[key] = unpack(value)[3] if kind == b"f" else unpack(value)
    return {
        key: value
        for key, value in found.items()
        if value not in (None, [{}, None]) and key.split(b"\0", 2)[2][:1] != b"a"
    }


def event(rng: random.Random, cities: list[Rehearsal], people: set[str], vehicles: dict[str, int]) -> None:
    kind, number = rng.random(), str(rng.randrange(12))
    for city in cities:
        if kind < 0.35 and number not in people:
            city.insert("police.resident", citizen_id=number, name="甲", hukou_region=f"4401{len(number)}")
        elif kind < 0.45 and number in people:
            city.update("police.resident", {"citizen_id": number}, hukou_region=f"4401{len(vehicles) % 3}")
        elif kind < 0.5 and number in people:
            city.delete("police.resident", {"citizen_id": number})
        elif kind < 0.8 and number not in vehicles:
            born = days("2016-01-01") + len(vehicles) * 7
            city.insert("police.vehicle", vin=number, owner_id=str(int(number) // 2), first_registered=born)
        elif number in vehicles:
            city.update("police.vehicle", {"vin": number}, owner_id=str((int(number) + len(people)) % 12))
    if kind < 0.35:
        people.add(number)
    elif 0.45 <= kind < 0.5:
        people.discard(number)
    elif 0.5 <= kind < 0.8:
        vehicles[number] = 1


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slices, pieces and looks that a few subjects fill."""
    monkeypatch.setattr(moving, "SLICE_BYTES", 200)
    monkeypatch.setattr(moving, "PIECE_BYTES", 100)
    monkeypatch.setattr(moving, "LOOK_ENTRIES", 7)
    for module in (sweep, folding):
        monkeypatch.setattr(module, "SLICE_SUBJECTS", 3)


def live(rng: random.Random, alone: Rehearsal, town: Town) -> None:
    """The same happens to both; the town grows twice meanwhile."""
    cities = [alone, town]
    people, vehicles = set[str](), dict[str, int]()
    growths = [BEGUN * 2, BEGUN * 2 * rng.choice([2, 3])]
    day = 0
    for _ in range(160):
        event(rng, cities, people, vehicles)
        if rng.random() < 0.1:
            day += rng.randrange(1, 20)
            for city in cities:
                city.tick(micros("2016-01-01") + day * 86_400_000_000)
        if rng.random() < 0.02:
            people.clear()
            for city in cities:
                city.take([city.change("police.resident", None, None, Op.TRUNCATE)])
        if growths and rng.random() < 0.05 and town.partitions == town.routed:
            town.grow(growths.pop(0))
        town.route_if_divided()
        for _ in range(rng.randrange(4)):
            town.work(rng.randrange(town.partitions))
    town.drain()
    for city in cities:
        city.tick("2018-01-01")
    town.drain()


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(60))
def test_tasks_that_grow_in_work_make_what_one_task_makes(seed: int) -> None:
    rng = random.Random(seed)
    alone, town = Rehearsal(FLOW), Town(rng)
    live(rng, alone, town)
    assert town.partitions > BEGUN, f"seed {seed}: it has grown"
    for feed in FLOW.outputs:
        assert town.rows(feed) == alone.rows(feed), f"seed {seed}: {feed}"
    assert entries(*town.stores.values()) == entries(alone.store), f"seed {seed}"
    for task, store in town.stores.items():
        owners = {partition_of(key[1:].rpartition(b"\0")[0], town.partitions) for key in headers(store)}
        assert owners <= {task}, f"seed {seed}"
        assert {key for key, _ in store.scan(b"w")} == timers_of(store), f"seed {seed}: timers are those of headers"
    newest: dict[tuple[str, str], Position] = {}
    for change in town.history:
        place = (change.feed, change.row_id)
        assert place not in newest or newest[place] < change.position, f"seed {seed}: positions grow"
        newest[place] = change.position


def headers(store: MemoryStore) -> list[bytes]:
    return [key for key, _ in store.scan(b"s") if key.split(b"\0", 2)[2] == b"h"]


def timers_of(store: MemoryStore) -> set[bytes]:
    return {key for entry in store.scan(b"s") if (key := timer_of(*entry)) is not None}


def test_what_goes_to_all_reaches_each_task_once() -> None:
    town = Town(random.Random(7))
    for tasks in (4, 8):
        town.grow(tasks)
        town.drain()
        town.route_if_divided()
    before = {task: len(inbox) for task, inbox in town.inboxes.items()}
    town.send([Outgoing(message_key("demo", ""), pack([WATERMARKS, {"a|0": 7}]))], 8)
    town.drain_unharmed()
    assert [len(inbox) - before[task] for task, inbox in sorted(town.inboxes.items())] == [1] * 8
    for task in range(8):
        assert unpack(town.stores[task].get(b"kdemo") or b"")[2] == {"a|0": 7}


def test_no_deadline_passes_before_evidence_that_came_in_time_by_the_old_number() -> None:
    town = Town(random.Random(5))
    town.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
    town.tick("2016-01-20")
    town.drain_unharmed()
    town.grow(4)
    town.drain_unharmed()
    town.route_if_divided()
    change = town.change("police.vehicle", None, town.row("police.vehicle", {"vin": "V", "owner_id": "1"}))
    change = replace(change, after={**(change.after or {}), "first_registered": days("2016-02-20")})
    town.send(list(town.intake.messages(change, town.contracts["police.vehicle"])), BEGUN)
    town.send([Outgoing(message_key("demo", ""), pack([TICK, micros("2016-02-25"), 0]))], 4)
    for task in (3, 2, 1, 0):  # the new tasks are the quicker ones
        town.work(task)
    town.drain_unharmed()
    assert not town.rows("demo.old")
    assert not town.changes_of("demo.old"), "nor did it come and go"


def test_a_task_is_told_the_time_before_it_is_told_anything_else() -> None:
    town = Town(random.Random(3))
    for city in (town,):
        city.insert("police.vehicle", vin="V", owner_id="1", first_registered=days("2016-01-01"))
        city.tick("2016-01-20")
    town.drain()
    town.grow(4)
    town.drain()
    clocks = {task: unpack(store.get(b"kdemo") or b"")[0] for task, store in town.stores.items()}
    assert clocks == dict.fromkeys(range(4), micros("2016-01-20"))


def test_steps_are_taken_one_after_the_other() -> None:
    task = Division(1, [4, 8, 16], 16)
    assert [*task.children()] == [5, 9]
    assert [*Division(5, [8, 16], 16).children()] == [13]
    assert [*Division(9, [16], 16).children()] == []
    keys = [f"demo\0person:{number}".encode() for number in range(200)]
    for key in keys:
        owners = [task.owner(key)] if partition_of(key, 4) == 1 else []
        for owner in owners:
            assert owner in {1, 5, 9}
            last = Division(owner, [8, 16] if owner == 5 else [16], 16).owner(key) if owner != 1 else 1
            assert last == partition_of(key, 16)
