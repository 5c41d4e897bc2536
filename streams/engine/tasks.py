"""Tasks: those of the inbox's partitions that this worker has been given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from schemas.agreement.directory import FeedEntry
from schemas.change import Batch, Partition
from streams.engine.state import Changelog
from streams.engine.task import Summary, Task, TaskTopics, Writer
from streams.operators.flow import Flow


class Tasks:
    """Opens a task with its first batch, and closes one that failed: what is opened again fences it and reads back its state.

    `folder` is this worker's own; `restored` hears how far a task's state is read back: task, records read, records to read.
    """

    def __init__(
        self,
        flows: Sequence[Flow],
        topics: TaskTopics,
        folder: Path,
        changelog: Changelog,
        open_writer: Callable[[str], Writer],
        restored: Callable[[int, int, int], None],
    ) -> None:
        self._flows = flows
        self._topics = topics
        self._folder = folder
        self._changelog = changelog
        self._open_writer = open_writer
        self._restored = restored
        self._open: dict[int, Task] = {}

    def fold(self, batch: Batch, feeds: Mapping[str, FeedEntry], alive: Callable[[], None]) -> Summary:
        """A batch of the inbox. Raises Transient: the same batch comes again."""
        number = batch.partition
        try:
            task = self._open.get(number)
            if task is None:
                task = self._open[number] = Task(
                    number,
                    self._topics,
                    self._flows,
                    self._folder,
                    self._changelog,
                    self._open_writer,
                    self._restored,
                )
            return task.handle(batch, feeds, alive)
        except BaseException:
            if (failed := self._open.pop(number, None)) is not None:
                failed.close()
            raise

    def keep_only(self, places: Collection[Partition]) -> None:
        """Let go of tasks that are no longer ours."""
        for number in [number for number in self._open if (self._topics.inbox, number) not in places]:
            self._open.pop(number).close()

    def close(self) -> None:
        """Release every task."""
        while self._open:
            self._open.popitem()[1].close()
