"""A copyist: a process of its own that copies ranges of tables out of a snapshot that another process holds open.

Started by `producers/postgresql/snapshot/copy.py` as `python -m producers.postgresql.snapshot.copyist PARENT_PID`. Orders
come as lines of JSON on its input: first what all ranges share, then one range at a time; it answers on its output. A range
is reported as done when the broker has acknowledged all of its rows (invariant 1). The end of the input is an order to give
up.

It dies with its parent, whatever ends that: were it to go on, an older row could follow a newer change of the parent's successor.
"""

from __future__ import annotations

import ctypes
import gc
import json
import logging
import os
import select
import signal
import sys
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Any, BinaryIO

from producers.oversize import append_or_point
from producers.postgresql.link.link import connect
from producers.postgresql.snapshot.origin import Origin
from producers.postgresql.snapshot.snapshot import Reading
from producers.postgresql.snapshot.table_copy import TableCopy
from producers.source import SourceBatch
from schemas.agreement.directory import FeedEntry
from schemas.errors import ContractBroken, MeshError, Misconfigured, Move, Transient, asked_seconds, next_move
from schemas.log.kafka import Kafka
from schemas.log.lane import NoTopic
from schemas.log.writer import Bulk, LogSetting
from schemas.trace import described

PR_SET_PDEATHSIG = 1
REPORT_SECONDS = 0.5
FLUSH_SECONDS = 150.0  # the producer itself gives up on a record before
SETTLE_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class Copyist:
    """What one order after the other has in common. `orders` and `answers` are the pipes to the parent."""

    def __init__(self, orders: BinaryIO, answers: BinaryIO) -> None:
        self._orders = orders
        self._answers = answers

    def run(self) -> None:
        """Follow orders until there are no more. Raises whatever ends the copy."""
        job = json.loads(self._orders.readline())
        origin = Origin(**job["origin"])
        entries = [FeedEntry.from_json(record) for record in job["entries"]]
        by_table = {entry.contract.table: entry for entry in entries}
        bulk = Bulk(LogSetting(**{**job["log"], "kafka": Kafka(**job["log"]["kafka"])}))
        connection = connect(job["address"], name=origin.source, text_encoding=job["text_encoding"])
        copies: dict[str, TableCopy] = {}
        with closing(Reading(connection, job["snapshot"], job["position"], origin.source)) as reading:
            if locked := reading.hold(by_table):
                raise Transient(f"source {origin.source}: {', '.join(locked)} is locked by somebody")
            tables = reading.catalog(by_table)
            for name, filenode in job["filenodes"].items():
                if name not in tables or tables[name].filenode != filenode:  # PG-16 (b): its blocks are others now
                    raise Transient(f"source {origin.source}: table {name} was rewritten before its copy began")
            self._say(is_done=True)
            try:
                while line := self._orders.readline():
                    order = json.loads(line)
                    name = order["table"]
                    if name not in copies:
                        copies[name] = TableCopy(reading, by_table[name], tables[name], origin)
                    if not self._range(copies[name], bulk, order["start"], order["end"]):
                        break
            finally:
                bulk.settle(SETTLE_SECONDS)

    def _range(self, copy: TableCopy, bulk: Bulk, start: int, end: int | None) -> bool:
        """Copy one range; False if told to give up before its end."""
        counts, rows = SourceBatch(), 0
        due = time.monotonic() + REPORT_SECONDS
        for batch in copy.rows(start, end):
            rows += len(batch.records)
            counts.add_counts(batch)
            for feed, reason in append_or_point(bulk, batch.records):
                counts.reject(feed, reason)
            if self._is_told_to_give_up():
                return False
            if time.monotonic() > due:
                self._say(counts, rows)
                counts, rows = SourceBatch(), 0
                due = time.monotonic() + REPORT_SECONDS
        bulk.flush(FLUSH_SECONDS)
        self._say(counts, rows, is_done=True)
        return True

    def _is_told_to_give_up(self) -> bool:
        # While we are at a range, nothing comes but the end of the input.
        return bool(select.select([self._orders], [], [], 0)[0])

    def _say(self, counts: SourceBatch | None = None, rows: int = 0, *, is_done: bool = False) -> None:
        counts = counts or SourceBatch()
        tallies = [[feed, op, tally.count, tally.size_bytes] for (feed, op), tally in counts.tallies.items()]
        rejected = [[feed, reason, count] for (feed, reason), count in counts.rejected.items()]
        self.answer({"rows": rows, "tallies": tallies, "rejected": rejected, "is_done": is_done})

    def answer(self, message: Mapping[str, Any]) -> None:
        """Send one answer; nothing if nobody listens any more."""
        try:
            self._answers.write(json.dumps(message).encode() + b"\n")
            self._answers.flush()
        except BrokenPipeError:
            _logger.info("nobody listens any more")


def error_told(error: BaseException) -> dict[str, Any]:
    """An error as an answer."""
    is_ours = isinstance(error, MeshError)
    return {
        "move": next_move(error).value,
        "error": type(error).__name__,
        "message": str(error.args[0]) if is_ours else described(error),
        "fix": error.fix if is_ours else "",
        "retry_after_seconds": asked_seconds(error),
        "topic": getattr(error, "topic", None),
    }


def error_heard(answer: Mapping[str, Any]) -> Exception:
    """The error of such an answer; what nobody foresaw there is nothing that anybody foresees here."""
    message, fix = answer["message"], answer["fix"]
    subject, _, problem = message.partition(": ")
    match Move(answer["move"]), answer["error"]:
        case Move.RETRY, _:
            return Transient(message, retry_after_seconds=answer["retry_after_seconds"], fix=fix)
        case Move.STOP, "NoTopic":
            return NoTopic(answer["topic"])
        case Move.STOP, "Misconfigured":
            return Misconfigured(subject, problem, fix=fix)
        case Move.STOP, _:
            return ContractBroken(subject, problem, fix=fix)
        case _:
            return RuntimeError(f"in a copying process: {message}")


def die_with(parent: int) -> None:
    """Ask the kernel to kill us when the thread that started us ends, however that comes."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")
    if os.getppid() != parent:  # it died before the kernel knew our wish
        sys.exit(1)


def main() -> None:
    """The process's body."""
    die_with(int(sys.argv[1]))
    for number in (signal.SIGINT, signal.SIGTERM):  # they reach a whole group; our parent decides what they mean for us
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)  # rows make tuples by the million, and no cycles
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what anybody prints goes to the log, not between our answers
        copyist = Copyist(sys.stdin.buffer, answers)
        try:
            copyist.run()
        except Exception as error:  # noqa: BLE001 - told to the process that asked for the copy
            if next_move(error) is Move.CRASH:
                _logger.critical("unforeseen: %s", described(error))
            copyist.answer(error_told(error))


if __name__ == "__main__":
    main()
