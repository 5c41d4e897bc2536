"""Again log: the writer of whoever appends to `out` topics what was there before, so that the ledger knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial

from ops.settings import Settings
from schemas.feed import LEDGER, is_out_topic
from schemas.ledger.book import REDELIVERY, LedgerBook
from schemas.log.control.store import ControlReader
from schemas.log.writer import Log

WITHIN_SECONDS = 30.0


@contextmanager
def again_log(settings: Settings, client_id: str) -> Iterator[Log]:
    """For a command: what it appended is accounted for when it ends."""
    kafka = settings.kafka
    with closing(Log(kafka, client_id=f"{client_id}-ledger")) as told:
        book = LedgerBook(
            REDELIVERY,
            "wrote",
            by=client_id,
            kafka=kafka,
            formers=ControlReader(kafka, LEDGER).all,
            write=partial(told.write, within_seconds=WITHIN_SECONDS),
            is_stated=is_out_topic,
            is_sole=False,
        )
        with closing(book), closing(Log(kafka, client_id=client_id, accounts=book)) as log:
            yield log
