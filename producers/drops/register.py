"""Register of files: which ones were looked at, and what became of each. It decides; where a file lies does not (FD-02, FD-04)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from producers.drops.folder import DroppedFile
from producers.stated.staging import connected

_TABLE = """
CREATE TABLE IF NOT EXISTS file (
    feed TEXT, name TEXT, size INTEGER, mtime_ns INTEGER, inode INTEGER, outcome TEXT, sha256 TEXT, turn TEXT, reason TEXT,
    PRIMARY KEY (feed, name, size, mtime_ns, inode)
) WITHOUT ROWID
"""
TAKEN, REFUSED = "taken", "refused"


class FileRegister:
    """Used by one thread. Durable with each call; what is lost is looked at again, and changes nothing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = connected(path)
        self._db.execute(_TABLE)

    def knows(self, feed: str, file: DroppedFile) -> bool:
        """Whether the file, as it is, was looked at."""
        query = "SELECT 1 FROM file WHERE feed = ? AND name = ? AND size = ? AND mtime_ns = ? AND inode = ?"
        return self._db.execute(query, (feed, file.name, *file.stamp)).fetchone() is not None

    def enter(self, feed: str, about: Mapping[str, Any], outcome: str, reason: str = "") -> None:
        """What became of a file; `about` has its name, stamp, turn, and its sum where it was read."""
        row = (
            feed,
            about["name"],
            *about["stamp"],
            outcome,
            about.get("sha256", ""),
            json.dumps(about["turn"]),
            reason,
        )
        self._db.execute(f"INSERT OR REPLACE INTO file VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - marks

    def has_taken(self, feed: str, sha256: str) -> bool:
        """Whether a file of this content was taken."""
        query = "SELECT 1 FROM file WHERE feed = ? AND sha256 = ? AND outcome = ?"
        return self._db.execute(query, (feed, sha256, TAKEN)).fetchone() is not None

    def newest(self, feed: str) -> tuple[int, ...]:
        """The turn of the newest file that was taken."""
        query = "SELECT turn FROM file WHERE feed = ? AND outcome = ?"
        turns = (tuple(json.loads(turn)) for (turn,) in self._db.execute(query, (feed, TAKEN)))
        return max(turns, default=())

    def forget(self, feed: str) -> None:
        """All of the feed's files are to be looked at again."""
        self._db.execute("DELETE FROM file WHERE feed = ?", (feed,))

    def close(self) -> None:
        """Let go of it."""
        self._db.close()
