"""The folder that files are dropped into: which of them are a table's, in which order, and which are whole.

A file of table `resident` is `resident.csv`, or has digits behind the name that say its turn: `resident_20261130.csv`,
`resident-20261130-2.xlsx`. The digits order files, never the time of their arrival. Names that begin with a dot or end otherwise than
in .csv, .tsv, .txt, .xlsx, .jsonl or .ndjson are nobody's: whoever writes under such a name and renames at the end drops whole files.
Links are not followed (FD-01, FD-05, FD-12).
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from producers.drops.options import DropSourceOptions
from schemas.errors import Misconfigured, Transient

ENDINGS = ("csv", "tsv", "txt", "xlsx", "jsonl", "ndjson")
DONE = ".done"


class Stamp(NamedTuple):
    """By what a file is known not to have changed."""

    size: int
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedFile:
    """A file of a table. `turn` are the digits of its name."""

    path: Path
    stamp: Stamp
    turn: tuple[int, ...]

    @property
    def name(self) -> str:
        """Its name in the folder."""
        return self.path.name

    def stamped(self) -> Stamp | None:
        """Its stamp now; None where it is gone. Raises Transient."""
        try:
            return _stamp(self.path.lstat())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unread(self.path.parent, error) from error


class Inbox:
    """See above. Used by one thread; `clock` counts seconds and never goes back."""

    def __init__(
        self, address: str, options: DropSourceOptions, name: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.path = folder_of(address, name)
        self._options = options
        self._clock = clock
        self._seen: dict[str, tuple[Stamp, float]] = {}

    def files(self, table: str) -> list[DroppedFile]:
        """The table's files, in their order, be they whole or not. Raises Transient where the folder cannot be read."""
        pattern = name_pattern(table)
        found: list[DroppedFile] = []
        try:
            with os.scandir(self.path) as entries:
                for entry in entries:
                    if (match := pattern.fullmatch(entry.name)) and entry.is_file(follow_symlinks=False):
                        turn = tuple(int(digits) for digits in re.findall(r"\d+", match["turn"]))
                        stamp = _stamp(entry.stat(follow_symlinks=False))
                        found.append(DroppedFile(path=Path(entry.path), stamp=stamp, turn=turn))
        except OSError as error:
            raise _unread(self.path, error) from error
        return sorted(found, key=lambda file: (file.turn, file.stamp.mtime_ns, file.name))

    def is_whole(self, file: DroppedFile) -> bool:
        """Whether nobody writes it any more, as far as the source's rule can tell."""
        if self._options.settled_by == "done":
            return file.path.with_name(file.name + DONE).is_file()
        stamp, since = self._seen.get(file.name, (None, 0.0))
        now = self._clock()
        if stamp != file.stamp:
            self._seen[file.name] = (file.stamp, now)
            since = now
        return now - since >= self._options.settled_seconds


def name_pattern(table: str) -> re.Pattern[str]:
    """What the names of the table's files look like."""
    return re.compile(rf"{re.escape(table)}(?P<turn>(?:[-_.]?\d+)*)\.(?:{'|'.join(ENDINGS)})", re.IGNORECASE)


def folder_of(address: str, name: str) -> Path:
    """The folder of a source's address. Raises Misconfigured for what is none."""
    path = Path(address.removeprefix("file://"))
    if not path.is_absolute():
        fix = "write the folder's absolute path, such as /srv/drops/police"
        raise Misconfigured(f"source {name}", "its connection is no absolute path", fix=fix)
    return path


def _stamp(found: os.stat_result) -> Stamp:
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


def _unread(folder: Path, error: OSError) -> Transient:
    fix = f"make {folder}, or mount it, and let the capturing process read it: it goes on by itself"
    return Transient(f"the folder of drops cannot be read: {error.strerror or type(error).__name__}", fix=fix)
