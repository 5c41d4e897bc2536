"""Capture as a child that may be killed: `python -m tests.chaos.capture_process KAFKA DSN AGENCY DIRECTORY [BLOCK]`.

Its feed is `<agency>.t` as `feed_contract` has it; its progress is a file, replaced whole and synced. Ranges are small and
stored at once. With a block it kills itself (SIGKILL) as soon as its snapshot has stored that it came that far: a kill from
outside would meet a snapshot between two ranges only where the machine is slow enough.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from producers.capture import Capture
from producers.postgresql import book as postgres_book
from producers.postgresql.kind import POSTGRES
from producers.postgresql.place import COPYING
from producers.postgresql.snapshot import table_copy
from schemas.contract import Contract
from schemas.log.writer import Log
from tests.stage.capturing import DECIMAL, Rig, contract
from tests.stage.kafka_text import read


def feed_contract(agency: str) -> Contract:
    return contract(f"{agency}.t", {"id": "long", "name": "string", "amount": DECIMAL})


class FileProgress:
    def __init__(self, directory: Path, dies_at: int | None = None) -> None:
        self._directory = directory
        self._dies_at = dies_at

    def load(self, source: str) -> dict[str, Any] | None:
        path = self._directory / f"{source}.json"
        return json.loads(path.read_text()) if path.exists() else None

    def save(self, source: str, record: dict[str, Any]) -> None:
        path = self._directory / f"{source}.tmp"
        with path.open("w") as file:
            json.dump(record, file)
            file.flush()
            os.fsync(file.fileno())
        path.replace(self._directory / f"{source}.json")
        if self._dies_at is None:
            return
        reached = [table["next_block"] for table in record["tables"].values() if table["state"] == COPYING]
        if reached and reached[0] >= self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)


def main(kafka_text: str, dsn: str, agency: str, directory: str, dies_at: str | None = None) -> None:
    logging.basicConfig(level=logging.INFO)
    kafka = read(kafka_text)
    table_copy.RANGE_BLOCKS = 16
    postgres_book.SAVE_SECONDS = 0.0
    rig = Rig(kafka, dsn, agency, snapshot_processes=2)
    rig.enter(feed_contract(agency))
    log = Log(kafka, client_id="killed")
    progress = FileProgress(Path(directory), int(dies_at) if dies_at else None)
    kinds = {"postgres": POSTGRES}
    Capture(lambda: rig.directory, lambda *_: dsn, log, progress, rig.seen, kinds).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
