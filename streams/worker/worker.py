"""What a stream worker does that needs no Faust: form a group, try it, watch over progress, own an instance id."""

from __future__ import annotations

import fcntl
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from pathlib import Path

from schemas.backoff import Backoff
from schemas.change import Batch
from schemas.errors import Misconfigured, Move, Transient, next_move

EXIT_CRASHED = 70  # sysexits EX_SOFTWARE: our code; the supervisor starts the process again
EXIT_STALLED = 75  # EX_TEMPFAIL: no progress
EXIT_STOPPED = 78  # EX_CONFIG: a human decides

BACKOFF = Backoff(first_seconds=0.1, longest_seconds=5.0)
HELD_UP_AFTER_SECONDS = 10.0

Handle = Callable[[Sequence[Batch]], None]
HeldUp = Callable[[Transient | None], None]
"""Takes why one group has been tried again and again for longer than a passing trouble takes, and None once it was handled."""

Idle = Callable[[Mapping[tuple[str, int], int], Set[tuple[str, int]]], None]
"""Takes the next offset of each assigned topic and partition, and those of them that may hold what was not handled yet."""

_logger = logging.getLogger(__name__)


def exit_code(error: BaseException) -> int:
    """What the process ends with when this error reaches the worker."""
    return EXIT_STOPPED if next_move(error) is Move.STOP else EXIT_CRASHED


def join_runs(runs: Iterable[Batch]) -> list[Batch]:
    """One batch per partition: runs of the same partition are joined in the order in which they came."""
    by_partition: dict[tuple[str, int], list[Batch]] = {}
    for run in runs:
        by_partition.setdefault((run.topic, run.partition), []).append(run)
    return [
        parts[0]
        if len(parts) == 1
        else Batch(topic=topic, partition=partition, records=[record for part in parts for record in part.records])
        for (topic, partition), parts in by_partition.items()
    ]


class Attempt:
    """Gives one group after the other to `handle`, and the same group again while the other side is unwell.

    Runs in a thread of its own, so that the heart beats on however long `handle` takes. `alive` is called before each
    try: a worker that retries is not stalled. `held_up` hears of a group that is tried for longer than `held_up_after_seconds`.
    """

    def __init__(
        self,
        handle: Handle,
        *,
        give_up_seconds: float,
        alive: Callable[[], None],
        held_up: HeldUp = lambda _: None,
        held_up_after_seconds: float = HELD_UP_AFTER_SECONDS,
    ) -> None:
        self._handle = handle
        self._give_up_seconds = give_up_seconds
        self._alive = alive
        self._held_up = held_up
        self._held_up_after_seconds = held_up_after_seconds
        self._is_held_up = True  # maybe so, by a process before this one
        self._is_abandoned = threading.Event()

    def abandon(self) -> None:
        """Let the try that runs come to its end, but begin no further one: the partitions are being taken away."""
        self._is_abandoned.set()

    def resume(self) -> None:
        """Groups may be tried again."""
        self._is_abandoned.clear()

    def __call__(self, batches: Sequence[Batch]) -> bool:
        """True once the group is durable downstream, False if it was abandoned before.

        Raises Transient when the other side stayed unwell for `give_up_seconds`, and whatever else `handle` raises.
        """
        failures = 0
        started = time.monotonic()
        deadline = started + self._give_up_seconds
        while not self._is_abandoned.is_set():
            self._alive()
            try:
                self._handle(batches)
            except Transient as error:
                failures += 1
                pause = max(BACKOFF.after(failures), error.retry_after_seconds or 0.0)
                if time.monotonic() + pause > deadline:
                    raise
                if time.monotonic() - started >= self._held_up_after_seconds:
                    self._is_held_up = True
                    self._held_up(error)
                _logger.warning("a group of %d batches is tried again in %.1f s: %s", len(batches), pause, error)
                self._is_abandoned.wait(pause)
            else:
                if self._is_held_up:
                    self._is_held_up = False
                    self._held_up(None)
                return True
        return False


class Watch:
    """Ends the process when it makes no progress although there is work (FA-13).

    A thread, so that it also sees an event loop that hangs. `alive` is called for every finished group, for every try,
    and whenever there is found to be nothing to do.
    """

    def __init__(self, stall_seconds: float, stalled: Callable[[], None]) -> None:
        self._stall_seconds = stall_seconds
        self._stalled = stalled
        self._last_seen = time.monotonic()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="stream-watch", daemon=True)

    def alive(self) -> None:
        """There was progress, or there is nothing to do."""
        self._last_seen = time.monotonic()

    def start(self) -> None:
        """Begin to watch."""
        self.alive()
        self._thread.start()

    def stop(self) -> None:
        """Look no more."""
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(self._stall_seconds / 20):
            if time.monotonic() - self._last_seen > self._stall_seconds:
                self._stalled()
                return


@contextmanager
def sole_owner(data_dir: Path, instance_id: str) -> Iterator[None]:
    """Hold an instance id for as long as this process lives; the kernel lets go of it, however the process ends.

    Two living members of one id would throw each other out of the group without end. Raises Misconfigured.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    file = data_dir / f"{instance_id}.lock"
    with file.open("a") as opened:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            fix = "stop that process, or give each worker an instance id of its own"
            raise Misconfigured(f"stream worker {instance_id}", "already runs in this directory", fix=fix) from error
        yield
