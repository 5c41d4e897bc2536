"""Capture of files, or of pushes, as a child that may be killed.

`python -m tests.stage.stated_child KAFKA ADDRESS AGENCY DIRECTORY [push]`

Its feed is `<agency>.person` as `feed_contract` has it; its progress is a file, replaced whole and synced.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from producers.capture import Capture
from producers.drops.kind import DROPPED_FILES
from producers.pushed.kind import PUSHED
from schemas.contract import Contract
from schemas.log.writer import Log
from tests.chaos.capture_process import FileProgress
from tests.stage.capturing import DECIMAL, Rig, contract
from tests.stage.kafka_text import read

OPTIONS = {"settled_seconds": 0, "look_seconds": 0.1}


def feed_contract(agency: str) -> Contract:
    fields = {"id": "long", "name": "string", "amount": DECIMAL}
    return contract(f"{agency}.person", fields, table="files.person")


def main(kafka_text: str, address: str, agency: str, directory: str, kind: str = "files") -> None:
    kafka = read(kafka_text)
    rig = Rig(kafka, address, agency)
    rig.set_source(kind=kind, **(OPTIONS if kind == "files" else {}))
    rig.enter(feed_contract(agency))
    log = Log(kafka, client_id="killed")
    Capture(
        lambda: rig.directory,
        lambda *_: address,
        log,
        FileProgress(Path(directory)),
        rig.seen,
        {"files": DROPPED_FILES, "push": PUSHED},
        state=Path(directory) / "state",
    ).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
