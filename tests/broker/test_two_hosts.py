"""Two hosts start the same hop under the same name: they share the work."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from ops.host.instance import instance_of
from schemas.change import Batch
from schemas.log.kafka import Kafka
from schemas.log.writer import Log
from streams.worker.app import StreamWorker
from tests.stage import feeds
from tests.stage.until import until

WITHIN_SECONDS = 60


@contextmanager
def working(kafka: Kafka, group: str, topic: str, folder: Path, host: str, seen: set[int]) -> Iterator[list[object]]:
    """A stream worker of one host, which notes the partitions that it is given; what made it end."""
    stop, ended = threading.Event(), list[object]()

    def take(batches: Sequence[Batch]) -> None:
        seen.update(batch.partition for batch in batches)

    def run() -> None:
        try:
            StreamWorker(
                kafka=kafka,
                group=group,
                topics=lambda: frozenset({topic}),
                handle=take,
                data_dir=folder / host,
                instance_id=instance_of("streams", folder, host),
                leave=ended.append,
            ).run(stop)
        except BaseException as error:  # noqa: BLE001 - looked at in the test's own thread
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield ended
    finally:
        stop.set()
        thread.join(60)


def test_two_hosts_that_start_streams_share_the_partitions(kafka: Kafka, unique: str, tmp_path: Path) -> None:
    topic = f"{unique}.t"
    feeds.create(kafka, topic, partitions=4)
    seen: dict[str, set[int]] = {"one": set(), "two": set()}
    with closing(Log(kafka, client_id="test")) as log, ExitStack() as hosts:
        ended = [
            hosts.enter_context(working(kafka, unique, topic, tmp_path, host, found)) for host, found in seen.items()
        ]

        def shared() -> bool:
            for found in seen.values():
                found.clear()
            for partition in range(4):
                log.append(topic, None, b"1", partition=partition)
            log.flush(30)
            until(lambda: seen["one"] | seen["two"] == {0, 1, 2, 3}, WITHIN_SECONDS, "all are read")
            return all(seen.values()) and not seen["one"] & seen["two"]

        until(shared, WITHIN_SECONDS, "each host has its share")
        assert ended == [[], []]


def test_an_instance_is_the_same_at_every_start_and_another_elsewhere(tmp_path: Path) -> None:
    assert instance_of("streams", tmp_path) == instance_of("streams", tmp_path)
    names = {instance_of(name, folder, host) for name in "ab" for folder in (tmp_path, tmp_path / "b") for host in "ab"}
    assert len(names) == 8
