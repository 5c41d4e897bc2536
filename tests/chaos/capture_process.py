"""Capture as a child that may be killed: `python -m tests.chaos.capture_process KAFKA DSN AGENCY DIRECTORY`.

Its feed is `<agency>.t` as `feed_contract` has it; its progress is a file, replaced whole and synced. Ranges are small and
stored at once, so that a kill meets a snapshot between two of them.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from producers import postgres, postgres_snapshot
from producers.capture import Capture
from producers.log import Log
from producers.postgres import PostgresSource
from schemas.contract import Contract
from tests.capturing import DECIMAL, Rig, contract


def feed_contract(agency: str) -> Contract:
    return contract(f"{agency}.t", {"id": "long", "name": "string", "amount": DECIMAL})


class FileProgress:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

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


def main(kafka: str, dsn: str, agency: str, directory: str) -> None:
    logging.basicConfig(level=logging.INFO)
    postgres_snapshot.RANGE_BLOCKS = 16
    postgres.SAVE_SECONDS = 0.0
    rig = Rig(kafka, dsn, agency, snapshot_processes=2)
    rig.enter(feed_contract(agency))
    log = Log(kafka, client_id="killed")
    progress = FileProgress(Path(directory))
    kinds = {"postgres": PostgresSource}
    Capture(lambda: rig.directory, lambda *_: dsn, log, progress, rig.seen, kinds).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
