"""Register of batches: by feed and idempotency key, what was asked and what it was answered.

A request that is sent again gets that answer, and changes nothing. It is on disk before the first answer is given; what a kill came
before is entered from the rows' own file at the next start (PU-02; producers/pushed/teller.py).
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from producers.pushed.answer import PushAnswer, refused
from producers.stated.staging import connected

_TABLE = """
CREATE TABLE IF NOT EXISTS batch (
    feed TEXT, key TEXT, sum TEXT, answer TEXT, at REAL, PRIMARY KEY (feed, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_at ON batch (at);
"""
_PRUNE_EACH = 1_000


class TakenBatch(NamedTuple):
    """`sum` is that of the whole request: another one under the same key is not the same again."""

    sum: str
    answer: Mapping[str, Any]


class PushRegister:
    """Any thread may ask; durable with each call. `clock` is the time, in seconds since 1970."""

    def __init__(self, path: Path, keep_seconds: float, clock: Callable[[], float] = time.time) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._keep_seconds, self._clock = keep_seconds, clock
        self._lock = threading.Lock()
        self._entered = 0
        self._db = connected(path, is_shared=True)
        self._db.executescript(_TABLE)
        self._prune()

    def find(self, feed: str, key: str) -> TakenBatch | None:
        """What became of the key, if it is known."""
        with self._lock:
            query = "SELECT sum, answer FROM batch WHERE feed = ? AND key = ?"
            row = self._db.execute(query, (feed, key)).fetchone()
        return TakenBatch(row[0], json.loads(row[1])) if row else None

    def enter(self, feed: str, key: str, taken: TakenBatch) -> None:
        """The batch is durable, or changes nothing. Entered again, it stays as it is."""
        with self._lock:
            row = (feed, key, taken.sum, json.dumps(taken.answer), self._clock())
            self._db.execute("INSERT OR IGNORE INTO batch VALUES (?, ?, ?, ?, ?)", row)
            self._entered += 1
            if self._entered % _PRUNE_EACH == 0:
                self._prune()

    def _prune(self) -> None:
        self._db.execute("DELETE FROM batch WHERE at < ?", (self._clock() - self._keep_seconds,))

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            self._db.close()


def answer_of(taken: TakenBatch, asked: str) -> PushAnswer:
    """The answer to a request under the key of a batch that was taken; `asked` is the request's sum."""
    if taken.sum != asked:
        why = "its Idempotency-Key was another request's, which was taken"
        return refused(422, why, "give each batch a key of its own, and send the same batch again under its own alone")
    return PushAnswer(status=200, document=taken.answer)
