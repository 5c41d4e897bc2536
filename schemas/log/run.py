"""Run: records that a lane appended together, and what came back of them; accounted for, where somebody does that."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError, Message

from schemas.change import Partition


class Failing(Protocol):
    """The lane of a run."""

    def fail(self, error: KafkaError, topic: str | None) -> None:
        """A delivery failed for good."""
        ...


class Run:
    """Records appended together. One thread counts what it appended; the polling thread counts what came back."""

    __slots__ = ("_lane", "appended", "delivered", "returned")

    def __init__(self, lane: Failing) -> None:
        self._lane = lane
        self.appended = 0
        self.delivered = 0
        self.returned = 0

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """The delivery report of one record of this run."""
        if error is None:
            self.delivered += 1
        else:
            self._lane.fail(error, message.topic())
        self.returned += 1


class Account(Protocol):
    """Whoever accounts for one partition."""

    def wrote(self, offset: int, key: bytes | None, value: bytes | None) -> None:
        """A record lies at this offset; told in the order of the offsets."""
        ...


class Accounts(Protocol):
    """Whoever accounts for what is written (schemas/ledger/book.py). Never blocks and never raises."""

    def __getitem__(self, place: Partition, /) -> Account:
        """The account of a partition."""
        ...

    def failed(self, topic: str | None) -> None:
        """A record for the topic may have arrived or not."""
        ...


class AccountedRun(Run):
    """A run whose records are accounted for, each where it came to lie."""

    __slots__ = ("_accounts",)

    def __init__(self, lane: Failing, accounts: Accounts) -> None:
        super().__init__(lane)
        self._accounts = accounts

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """The delivery report of one record of this run."""
        if error is None:
            self._accounts[message.topic(), message.partition()].wrote(  # pyright: ignore[reportArgumentType]
                message.offset(),  # pyright: ignore[reportArgumentType] -- a delivered record has a place
                message.key(),  # pyright: ignore[reportArgumentType] -- no serializer is configured
                message.value(),  # pyright: ignore[reportArgumentType]
            )
            self.delivered += 1
        else:
            self._accounts.failed(message.topic())
            self._lane.fail(error, message.topic())
        self.returned += 1
