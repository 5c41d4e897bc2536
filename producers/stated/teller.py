"""Teller: what a kind of stated source brings along: where statements come from, and what becomes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from producers.stated.records import StatedRows
from producers.stated.staging import Staging
from schemas.agreement.directory import FeedEntry


class TableStatement(Protocol):
    """Rows of one feed, once. `is_whole`: what it does not state is gone."""

    @property
    def is_whole(self) -> bool:
        """Whether what it does not state is gone."""
        ...

    @property
    def subject(self) -> str:
        """What it is called in texts."""
        ...

    def about(self) -> Mapping[str, Any]:
        """What is kept of it; complete once all rows were read. `name`, `at_ms` (when it was stated) and `token` are in it."""
        ...

    def rows(self, rows: StatedRows, staging: Staging) -> Iterator[None]:
        """Stage every row, and say now and then that it is going on. Raises Refused, Transient, ContractBroken."""
        ...


class Teller(Protocol):
    """One open source of the kind, for all of its feeds. Used by one thread."""

    @property
    def connector(self) -> str:
        """What the kind is called in envelopes."""
        ...

    @property
    def policy(self) -> StatedPolicy:
        """What the source's options say of every statement."""
        ...

    def rows_of(self, entry: FeedEntry) -> StatedRows:
        """How the feed's rows are read."""
        ...

    def look(self, entry: FeedEntry, about: Mapping[str, Any]) -> TableStatement | None:
        """The next statement, if it is there; `about` is of the last one that was taken. Raises ContractBroken for this feed."""
        ...

    def is_present(self, entry: FeedEntry, about: Mapping[str, Any]) -> bool:
        """Whether a statement that waits for a person is still what its source says."""
        ...

    def taken(self, entry: FeedEntry, about: Mapping[str, Any]) -> None:
        """The statement is durable, or changes nothing. Said again, nothing changes."""
        ...

    def refused(self, entry: FeedEntry, reason: str) -> None:
        """The statement that was looked at last is not taken; the next one is to be looked at."""
        ...

    def forget(self, entry: FeedEntry) -> None:
        """Everything is to be stated anew."""
        ...

    def close(self) -> None:
        """Release what is held. Never raises."""
        ...


class StatedPolicy(Protocol):
    """What every kind's options have in common."""

    @property
    def delete_share_max(self) -> float:
        """A statement that takes away a larger share of the rows waits for a person."""
        ...

    @property
    def bad_share_max(self) -> float:
        """A statement of which a larger share cannot be read is refused."""
        ...

    @property
    def accept(self) -> tuple[str, ...]:
        """Tokens of statements that a person accepted as they are."""
        ...

    @property
    def expected_seconds(self) -> float | None:
        """How long after a statement the next one is expected; None where nothing is."""
        ...
