"""Lives of a drop sink for kill tests, one after the other: each begins where the place says, and dies by SIGKILL at a file.

Two JSON arguments: the receiver with its feed's subscriber, and how the lives go: `records` that there are in all, and `deaths`,
each `[where, nth]`: before, within or after the nth file that it writes. The last life ends by itself.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ops.kinds.sinks import SINKS
from schemas.agreement.subscriber import SinkConfig
from sinks.drops.place import DropPlace, Fill
from sinks.drops.sink import DropSink
from sinks.sink import SinkSetup
from tests.stage.delivering import OutFeed

RUN = 10


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer:
    """A place at whose nth file the process dies."""

    def __init__(self, place: DropPlace, where: str, nth: int) -> None:
        self._place, self._where, self._left = place, where, nth

    def __getattr__(self, name: str) -> Any:
        return getattr(self._place, name)

    def write(self, folder: str, name: str, fill: Fill) -> tuple[int, str]:
        self._left -= 1
        where = "" if self._left else self._where
        if where == "before":
            die()
        if where == "within":
            threading.Timer(0.002, die).start()
        written = self._place.write(folder, name, fill)
        if where in {"within", "after"}:
            die()
        return written


def live(receiver: dict[str, Any], records: int, death: tuple[str, int] | None) -> None:
    feed = OutFeed(receiver["subscriber"], "police.person")
    setup = SinkSetup(
        subscriber=feed.subscriber,
        sink=SinkConfig(name="main", kind=receiver["kind"], options=receiver["options"]),
        address_of=lambda _owner, name: receiver["secrets"].get(name, ""),
        schema_of=feed.schemas.__getitem__,
    )
    sink = SINKS[receiver["kind"]].open(setup)
    assert isinstance(sink, DropSink)
    if death:
        sink._place = Killer(sink._place, *death)
    at = sink.start_offsets([(feed.topic, 0)]).get((feed.topic, 0), 0)
    changes = [feed.record("c", {"id": number, "name": "甲"}, committed_at_ms=0) for number in range(records)]
    run = RUN + (death[1] if death else 0)  # a life reads other runs than the one before
    for start in range(at, records, run):
        sink.write([feed.batch(*changes[start : start + run])])
    sink.close()


def main() -> None:
    receiver, lives = map(json.loads, sys.argv[1:])
    for death in [*lives["deaths"], None]:
        child = os.fork()
        if not child:
            live(receiver, lives["records"], death)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert status == (signal.SIGKILL if death else 0), (death, status)


if __name__ == "__main__":
    main()
