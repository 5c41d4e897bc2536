"""Capture of a MariaDB as a child that is killed: `python -m tests.chaos.maria_process KAFKA ADDRESS AGENCY DIRECTORY`.

Its feed is `<agency>.t` with the table as it is drafted; its progress is a file, replaced whole, and stored at once. Parts are small.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from producers.capture import Capture
from producers.mysql import book
from producers.mysql.onboarding.draft import draft
from schemas.log.writer import Log
from tests.chaos.capture_process import FileProgress
from tests.stage.kafka_text import read
from tests.stage.maria_capture import MariaRig


def main(kafka_text: str, address: str, agency: str, directory: str) -> None:
    logging.basicConfig(level=logging.INFO)
    kafka = read(kafka_text)
    book.SAVE_SECONDS = 0.0
    rig = MariaRig(kafka, address, agency, copy_rows=200)
    (drafted,) = draft(address, ["t"], agency, is_lossless=False).tables
    rig.enter(drafted.contract(agency), partitions=2)
    log = Log(kafka, client_id="killed")
    progress = FileProgress(Path(directory))
    Capture(lambda: rig.directory, lambda *_: address, log, progress, rig.seen, rig.kinds).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
