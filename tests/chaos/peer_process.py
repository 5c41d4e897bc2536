"""Capture of another mesh as a child that may be killed: `python -m tests.chaos.peer_process KAFKA ADDRESS AGENCY KEY DIRECTORY`.

Its feed is `<agency>.grid`, KEY the trusted public key in hexadecimal, its progress a file, replaced whole and synced.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path

from producers.capture import Capture
from schemas.agreement.anchor import Anchor
from schemas.log.writer import Log
from tests.chaos.capture_process import FileProgress
from tests.stage.far_side import NearRig, grid_contract
from tests.stage.kafka_text import read


def main(kafka_text: str, address: str, agency: str, key: str, directory: str) -> None:
    logging.basicConfig(level=logging.INFO)
    kafka = read(kafka_text)
    anchor = Anchor(public_key=bytes.fromhex(key), name="far")
    rig = NearRig(kafka, address, agency, anchor.fingerprint)
    rig.enter(grid_contract(agency))
    rig.trust(anchor)
    log = Log(kafka, client_id="killed")
    progress = FileProgress(Path(directory))
    Capture(lambda: rig.directory, lambda *_: address, log, progress, rig.seen, rig.kinds).run(threading.Event())


if __name__ == "__main__":
    main(*sys.argv[1:])
