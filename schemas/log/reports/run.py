"""Run: records that a lane appended together, and what came back of them; accounted for, where somebody does that."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError, Message

from schemas.log.reports.reports import Reports

SETTLED_TOGETHER = 127
"""After so many and one: what was read of them is still in the processor's cache."""


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


class AccountedRun(Run):
    """A run whose records are accounted for, each where it came to lie."""

    __slots__ = ("_reports", "_take")

    def __init__(self, lane: Failing, reports: Reports) -> None:
        super().__init__(lane)
        self._reports = reports
        self._take = reports.take

    def on_delivery(self, error: KafkaError | None, message: Message) -> None:
        """The delivery report of one record of this run."""
        if error is None:
            self._take(message)
            self.delivered = delivered = self.delivered + 1
            if not delivered & SETTLED_TOGETHER:
                self._reports.settle()
        else:
            self._reports.failed(message.topic())
            self._lane.fail(error, message.topic())
        self.returned += 1
