"""How many tasks share the flows' subjects: what is remembered of it, and how there come to be more (`mesh tasks`).

The number that the flows began with is of use for ever; that by which messages are sent follows behind. Both stand on the control
topic of the flows' intake. How subjects get from task to task is in streams/engine/division/division.py: nothing stops, nothing has
to be waited for, and what is begun and interrupted goes on when it is asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from ops.command.terminal import report_console
from ops.run.flow_worker import topic_specs
from ops.watch.lag import FLOWS_GROUP
from ops.watch.offsets.group_position import GroupPosition
from schemas.errors import Misconfigured
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds, partitions_of
from schemas.log.topics import ensure_topics, grow_topics
from schemas.log.writer import Log
from streams.engine.inbox.message import DIVIDE, ROUTE, message_key, pack
from streams.engine.task import TaskTopics

RECORD = "tasks"
LOOK_SECONDS = 0.5
SENT_WITHIN_SECONDS = 30.0
QUIET_SECONDS = 30.0
"""Without a task that got on for so long, a person hears that the flows may not be running."""

Say = Callable[[str], None]


class Store(Protocol):
    """Records by key on a control topic (schemas/log/control/store.py)."""

    def load(self, key: str, /) -> Mapping[str, Any] | None:
        """The record saved last."""
        ...

    def save(self, key: str, record: Mapping[str, Any], /) -> None:
        """Keep a record."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTasks:
    """`begun`: with how many; `routed`: by how many messages are sent; `wanted`: how many there are, or are to be."""

    begun: int
    routed: int
    wanted: int

    @classmethod
    def of(cls, kafka: Kafka, store: Store, topics: TaskTopics) -> FlowTasks | None:
        """As it stands; None before the flows ever ran. Raises Transient."""
        present = partitions_of(kafka, topics.inbox)
        if not present:
            return None
        record = store.load(RECORD)
        return cls(**record) if record else cls(begun=present, routed=present, wanted=present)

    @classmethod
    def at_start(cls, kafka: Kafka, store: Store, asked: int) -> FlowTasks:
        """As it stands for a worker that starts: the first one makes the topics, with as many as are asked for. Raises Transient."""
        topics = TaskTopics(asked)
        tasks = cls.of(kafka, store, topics)
        if tasks is None:
            tasks = cls(begun=asked, routed=asked, wanted=asked)
            store.save(RECORD, asdict(tasks))
        # While they grow, one of the two has more than the other.
        for topic, spec in topic_specs(tasks.wanted).items():
            ensure_topics(kafka, {topic: replace(spec, partitions=partitions_of(kafka, topic) or tasks.wanted)})
        return tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    """What `mesh tasks` found or did."""

    tasks: FlowTasks
    former: int

    @property
    def is_complete(self) -> bool:
        """Whether every task has its part."""
        return self.tasks.routed == self.tasks.wanted

    def to_json(self) -> Mapping[str, Any]:
        """For scripts."""
        return {"tasks": self.tasks.wanted, "former": self.former, "complete": self.is_complete}

    def render(self) -> None:
        """For people."""
        console, wanted = report_console(), self.tasks.wanted
        if not self.is_complete:
            console.print(
                f"{_tasks(wanted)}, of which the new ones have not all of their part yet: everything flows meanwhile;"
                f" `mesh tasks {wanted}` goes on with it",
                soft_wrap=True,
            )
        elif wanted != self.former:
            console.print(f"{_tasks(wanted)} now, {self.former} before: so many workers can share the flows' work")
        else:
            console.print(f"{_tasks(wanted)}: so many workers can share the flows' work")


class TaskGrowth:
    """Lets the flows of one mesh have more tasks. `say` is told how far it is, now and then.

    Tasks are told under a `flow` that they have: of one that it does not know, an earlier version would pass over what it is told.
    """

    def __init__(self, kafka: Kafka, store: Store, topics: TaskTopics, *, flow: str, group: str = FLOWS_GROUP) -> None:
        self._kafka = kafka
        self._flow = flow
        self._store = store
        self._topics = topics
        self._group = group

    def grow(self, wanted: int, *, within_seconds: float, say: Say = lambda _: None) -> Grown:
        """Let there be so many tasks; returns once each has its part, or the time is up. Safe to repeat.

        Raises Misconfigured for a number that cannot be reached from the present one; Transient.
        """
        tasks = FlowTasks.of(self._kafka, self._store, self._topics)
        if tasks is None:
            raise Misconfigured("the flows", "never ran here", fix="`mesh up` starts them, with MESH_FLOW_TASKS tasks")
        _check(tasks, wanted)
        former = tasks.routed
        if tasks.routed == wanted:
            return Grown(tasks=tasks, former=former)
        tasks = replace(tasks, wanted=wanted)
        self._store.save(RECORD, asdict(tasks))
        for topic in (self._topics.state, self._topics.inbox):  # a task that begins has where to keep its state
            grow_topics(self._kafka, topic, wanted)
        self._tell(DIVIDE, wanted)
        if not self._is_divided(wanted, within_seconds, say):
            return Grown(tasks=tasks, former=former)
        self._tell(ROUTE, wanted)  # before it is noted: whoever is interrupted here tells it again
        tasks = replace(tasks, routed=wanted)
        self._store.save(RECORD, asdict(tasks))
        return Grown(tasks=tasks, former=former)

    def _tell(self, kind: int, tasks: int) -> None:
        with closing(Log(self._kafka, client_id="mesh-tasks", linger_ms=0)) as log:
            key, value = message_key(self._flow, ""), pack([kind, tasks])
            log.write([(self._topics.inbox, key, value, number, None) for number in range(tasks)], SENT_WITHIN_SECONDS)

    def _is_divided(self, tasks: int, within_seconds: float, say: Say) -> bool:
        """Wait until every task has read what it was told: it has then handed over what is not its own any more."""
        inbox = self._topics.inbox
        ends = {(inbox, number): bounds(self._kafka, inbox, number)[1] for number in range(tasks)}
        position = GroupPosition(self._kafka, self._group, say)
        began = moved_at = time.monotonic()
        told = -1, 0
        while True:
            read = position.look(ends)
            through = sum(read.get(place, 0) >= end for place, end in ends.items())
            now = time.monotonic()
            if (through, sum(read.values())) != told:
                told, moved_at = (through, sum(read.values())), now
                say(f"{through} of {tasks} tasks are through")
            elif now - moved_at > QUIET_SECONDS:
                moved_at = now
                say(f"{through} of {tasks} tasks are through, and none gets on: `mesh status` says if the flows run")
            if through == tasks or now - began > within_seconds:
                return through == tasks
            time.sleep(LOOK_SECONDS)


def _check(tasks: FlowTasks, wanted: int) -> None:
    if tasks.wanted not in {tasks.routed, wanted}:
        raise Misconfigured(
            f"{wanted} tasks",
            f"there are {tasks.wanted} already, which have not all of their part yet",
            fix=f"`mesh tasks {tasks.wanted}` first",
        )
    if wanted < tasks.routed or wanted % tasks.routed:
        raise Misconfigured(
            f"{wanted} tasks",
            f"there is a number of {tasks.routed} now, which grows by multiples",
            fix=f"ask for {tasks.routed * 2}, {tasks.routed * 3}, {tasks.routed * 4} or more of the kind",
        )


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number} tasks"
