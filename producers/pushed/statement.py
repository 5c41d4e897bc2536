"""One batch as a statement: its rows, read once more where they are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from producers.pushed.desk import PushedBatch
from producers.pushed.row import PushedRows, RowFault, lines_of
from producers.stated.records import StatedRows
from producers.stated.staging import Refused, Staging
from schemas.errors import Transient

PAUSE_ROWS = 2_000


class PushStatement:
    """See `producers.stated.teller.TableStatement`. `name` is what the batch is called among people."""

    def __init__(self, batch: PushedBatch, rows: PushedRows, name: str) -> None:
        self._batch, self._rows, self._name = batch, rows, name
        self.is_whole = batch.is_whole

    @property
    def subject(self) -> str:
        """See TableStatement."""
        return f"{self._batch.feed}, {self._name}"

    def about(self) -> Mapping[str, Any]:
        """See TableStatement."""
        batch = self._batch
        return {
            "name": self._name,
            "at_ms": batch.at_ms,
            "token": batch.sum[:12],
            "key": batch.key,
            "sum": batch.sum,
        }

    def rows(self, rows: StatedRows, staging: Staging) -> Iterator[None]:
        """See TableStatement. The batch was found right by its endpoint: a fault now is a contract that has changed since."""
        del rows
        try:
            for count, (line, text) in enumerate(lines_of(self._batch.path), 1):
                if count % PAUSE_ROWS == 0:
                    yield
                staging.add(*self._rows.encoded(text, is_whole=self.is_whole), line)
        except RowFault:
            fix = "let the sender read the contract anew, and send the batch again"
            raise Refused(self.subject, "its rows do not fit the contract that has come meanwhile", fix=fix) from None
        except OSError as error:
            raise Transient(f"{self.subject} cannot be read from this host's disk: {error.strerror}") from error
