"""Growth: how fast topics grow while a contender works, which is the same measure for every contender.

Timed from 10 % to 100 % of what is expected: starting, connecting, and the warming up of a Java program are left out.
"""

# pyright: reportPrivateImportUsage=false
# confluent_kafka.admin re-exports its documented names without saying so in a way that the type checker reads.

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import OffsetSpec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from ops.bench.machine import Others, cpu_seconds, told
from ops.embedded.program import Running, last_lines
from schemas.errors import Transient
from schemas.log.admin import admin_client
from schemas.log.kafka import Kafka

LEFT_OUT = 0.1
LOOK_SECONDS = 0.03
STALL_SECONDS = 90.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drained:
    """What was timed: so many records, in so many seconds, with so much processor time of the contender's process.

    `others` is the share of the machine that work beside ours took meanwhile.
    """

    records: float
    seconds: float
    cpu_seconds: float
    others: float = 0.0

    @property
    def per_second(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def cpu_micros(self) -> float:
        """Microseconds of the contender's processor time a record."""
        return self.cpu_seconds / self.records * 1e6

    def __str__(self) -> str:
        return f"{self.per_second:,.0f}/s, {self.cpu_micros:.1f} us of CPU each{told(self.others)}"


class _Mark(NamedTuple):
    """One look: how much was done, when, at what cost."""

    done: float
    at: float
    cpu_seconds: float
    others: Others


class Growth:
    """The records ever written to topics, by their end offsets."""

    def __init__(self, kafka: Kafka, topics: Sequence[str]) -> None:
        self._admin = admin_client(kafka)
        known = self._admin.list_topics(timeout=30).topics
        latest: Any = OffsetSpec.latest()
        self._wanted: Mapping[TopicPartition, Any] = {
            TopicPartition(topic, number): latest for topic in topics for number in known[topic].partitions
        }

    def __call__(self) -> int:
        """The present sum."""
        futures = self._admin.list_offsets(dict(self._wanted), request_timeout=30)
        return sum(future.result().offset for future in futures.values())


def committed(kafka: Kafka, group: str, topics: Sequence[str]) -> Callable[[], int]:
    """A look at how many records of these topics a group has committed, by its offsets; 0 before it has any."""
    admin = admin_client(kafka)
    wanted = frozenset(topics)

    def look() -> int:
        try:
            answer = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)])[group].result(30)
        except KafkaException:  # the group is not there yet
            return 0
        places = answer.topic_partitions or ()
        return sum(max(place.offset, 0) for place in places if place.topic in wanted)

    return look


def drain(console: Console, what: str, look: Callable[[], float], expected: float, running: Running) -> Drained:
    """Watch `look` grow by `expected` while the process works. Raises Transient when it ends, or stands still.

    What was there before must be subtracted by `look`. The process may end once all is there.
    """
    first: _Mark | None = None
    mark = _Mark(0.0, time.perf_counter(), 0.0, Others())
    moved_at = time.monotonic()
    with _bar(console, what, expected) as show:
        while True:
            ended = running.ended()
            cpu = cpu_seconds(running.pid) if ended is None else mark.cpu_seconds
            last, mark = mark, _Mark(look(), time.perf_counter(), cpu, mark.others)
            show(mark.done)
            if first is None and mark.done >= LEFT_OUT * expected:
                # What is over within one look is timed from the look before.
                first = mark._replace(others=Others()) if mark.done < expected else last
            if first is not None:
                first.others.look()
            if mark.done >= expected:
                assert first is not None, "set above"
                return Drained(
                    records=expected - first.done,
                    seconds=mark.at - first.at,
                    cpu_seconds=cpu - first.cpu_seconds,
                    others=first.others.share(),
                )
            if mark.done > last.done:
                moved_at = time.monotonic()
            if ended is not None or time.monotonic() - moved_at > STALL_SECONDS:
                state = f"ended with status {ended}" if ended is not None else f"stood still for {STALL_SECONDS:g} s"
                log = running.program.log
                raise Transient(
                    f"{what}: the process {state} at {mark.done:,.0f} of {expected:,.0f}; its last lines:\n{last_lines(log, 20)}",
                    fix="look for errors in these lines; a full disk and too little memory are the usual causes",
                )
            time.sleep(LOOK_SECONDS)


@contextmanager
def _bar(console: Console, what: str, total: float):  # noqa: ANN202 - a generator of one callable
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=total)

        def show(done: float) -> None:
            progress.update(task, completed=int(done))

        yield show
