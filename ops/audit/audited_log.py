"""Audited log: the writer of whoever acts. What is done on the mesh's topics and the lines that say so are one transaction.

So nothing that a command does is durable without its line, and no line is durable of what was not done. What cannot be part of a
transaction (a topic that is made, a right, a file, a row for a subscriber) is done between two: a line of what is begun is flushed
before it, and the line of what came of it follows.

The chain does not fork. All writers, on whatever host, have one transactional id. Whoever begins asks the broker for it, which ends
what the one before had under way, committed or aborted; then it reads the end, which nobody moves without taking the id away again;
then it commits behind that end, or is refused since another has come, and begins anew. A writer that is killed leaves an open
transaction, which the next one's beginning aborts.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable, Iterable

from ops.audit.chain import canonical, linked
from ops.audit.trail import End, end_of_trail
from schemas.errors import Transient
from schemas.feed import AUDIT
from schemas.log.entering import AWAY
from schemas.log.kafka import Kafka
from schemas.log.lane import Outgoing
from schemas.log.transaction import TransactionWriter

TRANSACTIONAL_ID = AUDIT
QUIET = {"log_level": "0"}
"""That another has come is no trouble, and whatever is one is raised."""
PAUSE_SECONDS = (0.02, 0.5)
"""Between two tries, by chance within these bounds, which grow: of writers that take the id from each other one gets through."""


class Act:
    """What is done, and the line that says so, for one `AuditedLog.write`."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    def append(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Take one record in, or one line of the audit."""
        self.records.append((topic, key, value, -1, None))


class AuditedLog:
    """In the place of a `schemas.log.writer.Log` where control records are written. Threads may share one through `write`."""

    def __init__(self, kafka: Kafka, *, client_id: str = "") -> None:
        """`client_id` is for the eye alone: to the broker all are one."""
        self._kafka = kafka
        self._name = client_id or TRANSACTIONAL_ID
        self._lock = threading.Lock()
        self._queued = Act()
        self._writer: TransactionWriter | None = None
        self._end: End | None = None
        self._unseen: bytes | None = None
        """The key of the last line that was committed here, until it was read: a commit returns before its mark is written."""

    def append(self, topic: str, key: bytes, value: bytes | None) -> None:
        """Queue one record, or one line of the audit, for the next `flush`."""
        self._queued.append(topic, key, value)

    def flush(self, within_seconds: float, only_if: Callable[[], bool] = lambda: True) -> bool:
        """Return once all that was appended is committed together. Raises Transient, and then none of it was.

        `only_if` is asked where no other writer can come between its answer and the commit; where it says no, False is returned,
        and nothing was written.
        """
        queued, self._queued = self._queued, Act()
        return self.write(queued, within_seconds, only_if)

    def write(self, act: Act, within_seconds: float, only_if: Callable[[], bool] = lambda: True) -> bool:
        """The same for an act that is given. From any thread."""
        lines = [record for record in act.records if record[0] == AUDIT]
        acts = [record for record in act.records if record[0] != AUDIT]
        if not act.records:
            return True
        if not lines:
            raise AssertionError(f"{self._name}: {acts[0][0]} is written without a line of the audit")
        with self._lock:
            return self._commit(acts, lines, within_seconds, only_if)

    def close(self) -> None:
        """Let go of the broker; what was not flushed is not written."""
        with self._lock:
            self._let_go()

    def _commit(
        self, acts: list[Outgoing], lines: list[Outgoing], within_seconds: float, only_if: Callable[[], bool]
    ) -> bool:
        deadline = time.monotonic() + within_seconds
        shortest, longest = PAUSE_SECONDS
        while True:
            try:
                if self._writer is None:
                    self._writer = TransactionWriter(self._kafka, TRANSACTIONAL_ID, extra=QUIET)
                end = end_of_trail(self._kafka, self._end)
                if self._unseen is not None and self._unseen not in end.keys:
                    raise Transient("the last commit is not marked yet")
                self._unseen = None
                if not any(line[1] in end.keys for line in lines):  # else a commit whose answer was lost did come true
                    if not only_if():
                        return False
                    chained = _chained(lines, end)
                    self._writer.write([*acts, *chained[:-1]], chained[-1])
                    # What was read is the end only if the id was ours meanwhile: another's line may have been under way there.
                    self._end, self._unseen = end, chained[-1][1]
            except Transient as error:
                self._let_go()
                if time.monotonic() > deadline:
                    raise Transient(f"{self._name}: the audit cannot be written: {error.problem}", fix=AWAY) from error
                time.sleep(random.uniform(shortest, longest))  # noqa: S311 -- no secret
                longest = min(2 * longest, 4.0)
            else:
                return True

    def _let_go(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


def _chained(lines: Iterable[Outgoing], end: End) -> list[Outgoing]:
    head, loose = end.head, [each for _, each in end.loose]
    chained: list[Outgoing] = []
    for topic, key, value, partition, headers in lines:
        line, head = linked(json.loads(value or b""), head, end.offset, loose)
        loose = []
        chained.append((topic, key, canonical(line), partition, headers))
    return chained
