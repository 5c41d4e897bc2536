"""Backfill: what a grant is due of a feed's past, delivered while the feed goes on for everybody else.

One thread serves all backfills of a worker, one job after the other. A job covers one partition from `start` to a target
that the live side moves along, for all the grants that came together. The live side takes a grant over at the beginning
of a batch, once the job has made everything before it durable (invariants 4 and 9: in order, without a gap); when little
is missing, it waits for it. A job that ends early for any reason starts again: repeated records are guarded by position.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from schemas.agreement.directory import FeedEntry
from schemas.backoff import Backoff
from schemas.change import Batch
from schemas.errors import Transient
from streams.egress.plan import Plans, Serving
from streams.egress.route import FLUSH_SECONDS, BatchTally, Outlet, Router
from streams.egress.scope import ReadOut

BACKOFF = Backoff(first_seconds=0.5, longest_seconds=15.0)

_logger = logging.getLogger(__name__)

Replay = Callable[[str, int, int, int], Iterator[Batch]]
"""Records of topic, partition with start <= offset < end; a start before the log's start means from there. Fewer records
where compaction removed some. Raises Transient when the broker does not answer."""

Report = Callable[[str, Sequence[Serving], BatchTally], None]


@dataclass(eq=False, slots=True)
class Job:
    """The past of one partition for some grants, shared between the two threads.

    `dropped` are the ids of grants that were not allowed at some point of it: they have a gap and must begin again.
    """

    topic: str
    partition: int
    servings: tuple[Serving, ...]
    start: int
    target: int
    position: int = field(init=False)
    is_cancelled: bool = False
    dropped: set[str] = field(default_factory=set[str])
    error: BaseException | None = None

    def __post_init__(self) -> None:
        self.position = self.start

    @property
    def end(self) -> int:
        """Up to where it goes at a time: to its target, or to where what is owed of a changed grant is another."""
        ends = (serving.owed.until for serving in self.servings if serving.owed is not None)
        return min([self.target, *(until for until in ends if until > self.position)])

    def served(self, serving: Serving) -> Serving:
        """As it is served from the present position on: whole, where the former definition was not served."""
        is_behind = serving.owed is not None and serving.owed.until <= self.position
        return replace(serving, owed=None) if is_behind else serving


Allowed = Callable[[str, Sequence[Serving]], tuple[FeedEntry | None, tuple[Serving, ...]]]
"""The present feed entry, and those of the servings that their grants still allow, right now."""


class Backfill:
    """Runs jobs in a thread of its own, which starts with the first job and ends when none is left."""

    def __init__(
        self,
        *,
        replay: Replay,
        open_outlet: Callable[[], Outlet],
        new_plans: Callable[[], Plans],
        allowed: Allowed,
        report: Report,
        read_out: ReadOut,
    ) -> None:
        self._replay = replay
        self._open_outlet = open_outlet
        self._new_plans = new_plans
        self._allowed = allowed
        self._report = report
        self._read_out = read_out
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None

    def begin(self, job: Job) -> None:
        """Take a job on."""
        with self._changed:
            self._enqueue(job)

    def cancel(self, job: Job) -> None:
        """Have nothing more delivered by the job once this returns and its present batch is through."""
        with self._changed:
            job.is_cancelled = True
            if job in self._jobs:
                self._jobs.remove(job)
            self._changed.notify_all()

    def reached(self, job: Job, offset: int, *, wait_below: int, wait_seconds: float) -> bool:
        """Whether everything before `offset` is durable; moves the target there if not.

        Waits when fewer than `wait_below` records are missing. Raises what ended the job.
        """
        with self._changed:
            job.target = max(job.target, offset)
            if job.position < offset:
                if job not in self._jobs and job.error is None:
                    self._enqueue(job)
                if offset - job.position <= wait_below:
                    self._changed.wait_for(
                        lambda: job.position >= offset or job.error is not None, timeout=wait_seconds
                    )
            if job.error is not None:
                raise job.error
            return job.position >= offset

    def _enqueue(self, job: Job) -> None:
        self._jobs.append(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="egress-backfill", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._jobs and self._is_idle(self._jobs[0]):
                    self._jobs.popleft()
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs[0]
            self._work(job)
            with self._changed:
                if self._jobs and self._jobs[0] is job:  # the next one's turn: no job holds up the others
                    self._jobs.rotate(-1)

    @staticmethod
    def _is_idle(job: Job) -> bool:
        return job.is_cancelled or job.error is not None or job.position >= job.target

    def _work(self, job: Job) -> None:
        """Take the job to the target of the moment."""
        failures = 0
        while not self._is_idle(job):
            outlet = self._open_outlet()
            try:
                self._deliver(job, Router(self._new_plans(), outlet, is_live=False, read_out=self._read_out), outlet)
            except Transient as error:
                failures += 1
                pause = BACKOFF.after(failures)
                _logger.warning("backfill of %s [%d] is tried again: %s", job.topic, job.partition, error)
                outlet.settle(FLUSH_SECONDS)
                with self._changed:
                    self._changed.wait_for(lambda: job.is_cancelled, timeout=pause)
            except BaseException as error:  # noqa: BLE001  # the live side raises it where the worker decides
                with self._changed:
                    job.error = error
                    self._changed.notify_all()
            else:
                return

    def _deliver(self, job: Job, router: Router, outlet: Outlet) -> None:
        target = job.end
        for batch in self._replay(job.topic, job.partition, job.position, target):
            # A1, A6: what was revoked meanwhile gets nothing more, also of the past.
            feed, servings = self._allowed(job.topic, job.servings)
            if job.is_cancelled:
                return
            allowed = {serving.entry.grant.grant_id for serving in servings}
            job.dropped.update({serving.entry.grant.grant_id for serving in job.servings} - allowed)
            servings = tuple(
                job.served(serving) for serving in servings if serving.entry.grant.grant_id not in job.dropped
            )
            if feed is not None and servings:
                tally = router.route(batch, feed, servings)
                outlet.flush(FLUSH_SECONDS)
                self._report(job.topic, servings, tally)
            self._advance(job, batch.next_offset)
        self._advance(job, target)

    def _advance(self, job: Job, position: int) -> None:
        with self._changed:
            job.position = position
            self._changed.notify_all()
