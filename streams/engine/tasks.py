"""Tasks: those of the inbox's partitions that this worker has been given."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from schemas.agreement.directory import FeedEntry
from schemas.change import Batch, Partition
from streams.engine.task import Summary, Task, TaskTopics


class Tasks:
    """Opens a task with its first batch, and closes one that failed: what is opened again fences it and reads back its state."""

    def __init__(self, topics: TaskTopics, open_task: Callable[[int], Task]) -> None:
        self._inbox = topics.inbox
        self.routed = topics.partitions
        """By how many messages are sent, as far as any task here has heard."""
        self._open_task = open_task
        self._open: dict[int, Task] = {}

    def fold(self, batch: Batch, feeds: Mapping[str, FeedEntry], alive: Callable[[], None]) -> Summary:
        """A batch of the inbox. Raises Transient: the same batch comes again."""
        number = batch.partition
        try:
            task = self._open.get(number)
            if task is None:
                task = self._open[number] = self._open_task(number)
            summary = task.handle(batch, feeds, alive)
        except BaseException:
            if (failed := self._open.pop(number, None)) is not None:
                failed.close()
            raise
        self.routed = max(self.routed, task.routed)
        return summary

    def keep_only(self, places: Collection[Partition]) -> None:
        """Let go of tasks that are no longer ours."""
        for number in [number for number in self._open if (self._inbox, number) not in places]:
            self._open.pop(number).close()

    def close(self) -> None:
        """Release every task."""
        while self._open:
            self._open.popitem()[1].close()
