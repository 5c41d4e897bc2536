"""Newest: what an `out` topic already says about the keys of letters, so that an older change never becomes the last of its key."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ops.redelivery.letter import Letter
from schemas.change import Record
from schemas.errors import Rejected
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range
from schemas.wire.envelope_walk import moment_reader

COUNT_HEADER = "mesh.replay.count"


class Newest:
    """The newest change of some keys in one partition of an `out` topic."""

    def __init__(
        self, kafka: Kafka, topic: str, partition: int, keys: set[bytes | None], schema_of: Callable[[int], Any]
    ) -> None:
        self._place = (kafka, topic, partition)
        self._keys = keys
        self._schema_of = schema_of
        self._readers: dict[int, Any] = {}
        self._tokens: dict[bytes | None, bytes] = {}
        self._end = 0
        self.headers: dict[int, Sequence[tuple[str, bytes]]] = {}

    def read(self, start: int) -> None:
        """Read from here to the present end."""
        low, end = bounds(*self._place)
        for batch in read_range(*self._place, max(low, start), end):
            for record in batch.records:
                if record.key in self._keys and record.value is not None:
                    self.headers[record.offset] = [h for h in record.headers or () if h[0] != COUNT_HEADER]
                    self._tokens[record.key] = max(self._tokens.get(record.key, b""), self._token(record))
        self._end = end

    def read_on(self, due: Sequence[Letter]) -> list[Record]:
        """The newer records that came before ours since the last look, and are not the last of their key for it."""
        ours = {letter.record.key: self._token(letter.record) for letter in due}
        last: dict[bytes | None, Record] = {}
        newest: dict[bytes | None, Record] = {}
        start, (_, end) = self._end, bounds(*self._place)
        for batch in read_range(*self._place, start, end) if end > start else ():
            for record in batch.records:
                if record.key in ours and record.value is not None:
                    last[record.key] = record
                    if self._token(record) >= self._token(newest.get(record.key, record)):
                        newest[record.key] = record
        self._end = end
        return [
            record
            for key, record in newest.items()
            if self._token(record) > ours[key] and self._token(last[key]) < self._token(record)
        ]

    def has_newer(self, letter: Letter) -> bool:
        """Whether the topic has a newer change of the letter's key."""
        return self._tokens.get(letter.record.key, b"") > self._token(letter.record)

    def is_removal(self, letter: Letter) -> bool:
        """Whether the letter removes its row."""
        moment = self._moment(letter.record)
        return moment is not None and moment.op == b"d"

    def _token(self, record: Record) -> bytes:
        moment = self._moment(record)
        return moment.token if moment else b""

    def _moment(self, record: Record) -> Any:
        value = record.value or b""
        schema_id = int.from_bytes(value[1:5], "big")
        try:
            if schema_id not in self._readers:
                self._readers[schema_id] = moment_reader(self._schema_of(schema_id))
            return self._readers[schema_id](value)
        except (Rejected, KeyError):
            return None
