"""Newest: what an `out` topic already says about some keys, so that an older change never becomes the last of its key.

It holds a token per key and no record: how long the topic is does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from schemas.change import Record
from schemas.errors import Rejected
from schemas.log.kafka import Kafka
from schemas.log.offsets import bounds
from schemas.log.range import read_range
from schemas.wire.envelope_walk import Moment, moment_reader


class Moments:
    """When and where in their source changes were committed, by the schemas that they were written with."""

    def __init__(self, schema_of: Callable[[int], Any]) -> None:
        self._schema_of = schema_of
        self._readers: dict[int, Callable[[bytes], Moment]] = {}

    def token(self, record: Record) -> bytes:
        """The position of a change; empty where it cannot be read."""
        moment = self._moment(record)
        return moment.token if moment else b""

    def is_removal(self, record: Record) -> bool:
        """Whether a change removes its row."""
        moment = self._moment(record)
        return moment is not None and moment.op == b"d"

    def _moment(self, record: Record) -> Moment | None:
        value = record.value or b""
        schema_id = int.from_bytes(value[1:5], "big")
        try:
            if schema_id not in self._readers:
                self._readers[schema_id] = moment_reader(self._schema_of(schema_id))
            return self._readers[schema_id](value)
        except (Rejected, KeyError):
            return None


class Newest:
    """The newest token of each of some keys in one partition of an `out` topic, as far as it was read."""

    def __init__(
        self, kafka: Kafka, topic: str, partition: int, keys: Iterable[bytes | None], moments: Moments
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.moments = moments
        self._place = (kafka, topic, partition)
        self._tokens: dict[bytes | None, bytes] = dict.fromkeys(keys, b"")
        self._end = 0

    def read(self, start: int) -> None:
        """Read from here to the present end."""
        low, end = bounds(*self._place)
        for batch in read_range(*self._place, max(low, start), end) if end > start else ():
            for record in batch.records:
                if record.key in self._tokens and record.value is not None:
                    self._see(record)
        self._end = end

    def has_newer(self, key: bytes | None, token: bytes) -> bool:
        """Whether the topic has a newer change of this key."""
        return self._tokens.get(key, b"") > token

    def read_on(self, ours: Mapping[bytes | None, bytes]) -> list[Record]:
        """Read what came since: the newer records of `ours` (key to token) after which an older one came, ours that is."""
        last: dict[bytes | None, bytes] = {}
        newest: dict[bytes | None, tuple[bytes, Record]] = {}
        start, (_, end) = self._end, bounds(*self._place)
        for batch in read_range(*self._place, start, end) if end > start else ():
            for record in batch.records:
                if record.key not in self._tokens or record.value is None:
                    continue
                token = self._see(record)
                if record.key in ours:
                    last[record.key] = token
                    if record.key not in newest or token >= newest[record.key][0]:
                        newest[record.key] = (token, record)
        self._end = end
        return [record for key, (token, record) in newest.items() if token > ours[key] and last[key] < token]

    def _see(self, record: Record) -> bytes:
        token = self.moments.token(record)
        self._tokens[record.key] = max(self._tokens[record.key], token)
        return token
