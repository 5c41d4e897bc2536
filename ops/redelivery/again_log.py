"""Again log: the writer of whoever appends to `out` topics what was there before, so that the ledger knows of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from ops.settings import Settings
from schemas.feed import is_out_topic
from schemas.ledger.book import REDELIVERY, LedgerBook
from schemas.log.writer import Log


@contextmanager
def again_log(settings: Settings, client_id: str) -> Iterator[Log]:
    """For a command: what it appended is accounted for when it ends."""
    kafka = settings.kafka
    with (
        closing(Log(kafka, client_id=f"{client_id}-ledger")) as told,
        closing(LedgerBook(REDELIVERY, "wrote", by=client_id, kafka=kafka, log=told, is_stated=is_out_topic)) as book,
        closing(Log(kafka, client_id=client_id, accounts=book)) as log,
    ):
        yield log
