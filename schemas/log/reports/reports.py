"""Reports: delivery reports of a line's records, accounted for in runs of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from confluent_kafka import Message
from isal.isal_zlib import crc32

from schemas.change import Partition


class ReportedPartition(Protocol):
    """Whoever accounts for one partition."""

    def wrote(self, offset: int, digests: Sequence[int]) -> None:
        """Records with these hashes lie from this offset on, one behind the other; told in the order of the offsets."""
        ...


class Accounts(Protocol):
    """Whoever accounts for what is written (schemas/ledger/book.py). Never blocks and never raises."""

    def __getitem__(self, place: Partition, /) -> ReportedPartition:
        """The account of a partition."""
        ...

    def failed(self, topic: str | None) -> None:
        """A record for the topic may have arrived or not."""
        ...


class Reports:
    """Delivery reports that a line was given and has not accounted for yet: record by record that would cost three times as much."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._messages: list[Message] = []
        self.take = self._messages.append

    def settle(self) -> None:
        """Account for them, each run of one partition at once. For whoever serves the line."""
        messages = self._messages[:]
        self._messages.clear()
        start = 0
        while start < len(messages):
            end = _end_of_run(messages, start)
            contents = [
                value if (value := message.value()) is not None else message.key() or b""
                for message in messages[start:end]
            ]
            first = messages[start]
            account = self._accounts[first.topic(), first.partition()]  # pyright: ignore[reportArgumentType]
            digests = list(map(crc32, contents))  # pyright: ignore[reportArgumentType] -- no serializer is configured
            account.wrote(first.offset(), digests)  # pyright: ignore[reportArgumentType] -- it was delivered
            start = end

    def failed(self, topic: str | None) -> None:
        """One record did not arrive, or was not said to."""
        self.settle()
        self._accounts.failed(topic)


def _end_of_run(messages: Sequence[Message], start: int) -> int:
    """Behind the last message that lies directly after the one before it, in the same partition; found in growing steps."""
    first = messages[start]
    topic, partition, offset = first.topic(), first.partition(), (first.offset() or 0) - start

    def belongs(place: int) -> bool:
        message = messages[place]
        return message.offset() == offset + place and message.partition() == partition and message.topic() == topic

    last, step = start, 1
    while last + step < len(messages) and belongs(last + step):
        last, step = last + step, step * 2
    while step := step // 2:
        if last + step < len(messages) and belongs(last + step):
            last += step
    return last + 1
