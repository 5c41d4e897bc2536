"""Sink: the port through which a lane hands changes to one subscriber, and what a sink is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from schemas.change import Batch
from schemas.codec import SchemaOf
from schemas.errors import MeshError, Misconfigured
from schemas.subscriber import SinkConfig

Partition = tuple[str, int]
"""Topic and partition number."""

BEGINNING = -2
"""Where a partition is of which a target has nothing: Kafka's own number for its beginning."""

AddressOf = Callable[[str, str], str]
"""Gives the secret `connections/<owner>.<name>`: a database address, a signing key. Raises Misconfigured without one."""


class Sink(Protocol):
    """One subscriber's target. A lane calls it from one thread only.

    `write` takes everything that one fetch brought, one batch per partition, because a target pays per call: at 2,000
    changes/s over 40 partitions a write per partition would cost 40 database commits where one does. It returns only when
    every record is durable (invariant 1). Otherwise it raises, and may then have taken any of them: the same records come
    again, so a sink guards by position. Rejected says that at least one record can never be taken.
    """

    def write(self, batches: Sequence[Batch]) -> None:
        """Make the batches durable; each is in offset order, records of one key are all in one batch."""
        ...

    def close(self) -> None:
        """Let go of connections; never raises for a connection that is already gone."""
        ...


@runtime_checkable
class OffsetKeeper(Protocol):
    """A sink that stores offsets together with the rows; the broker's committed offsets are then only information."""

    def start_offsets(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Where to continue; the broker's offset counts for those it leaves out, BEGINNING says that it has nothing.

        Takes them over: an earlier owner's next write is Fenced.
        """
        ...

    def skip(self, topic: str, partition: int, next_offset: int) -> None:
        """Move the stored offset past a record that went to the dead letters."""
        ...


class Fenced(MeshError):
    """Another process took the partition over: drop everything in hand and join the group again."""


class Moved(Fenced):
    """The target is not where it was left, or a part of it has to be filled anew: begin again where it says it is."""

    def __init__(self, topic: str, problem: str) -> None:
        super().__init__(problem)
        self.topic = topic


@runtime_checkable
class Watchful(Protocol):
    """A sink that can see whether its target is still as it was left. `reasons` say why topics are delivered anew."""

    reasons: dict[str, str]

    def look(self) -> None:
        """Look now. Raises Moved when the target went back or lost something, Fenced when another process took it over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How a lane gathers records before it writes: for `linger_seconds` after the first, at once by default."""

    records_max: int = 10_000
    bytes_max: int = 8_000_000
    linger_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSetup:
    """What a sink is built from."""

    subscriber: str
    sink: SinkConfig
    address_of: AddressOf
    schema_of: SchemaOf

    @property
    def label(self) -> str:
        """The name in logs and errors."""
        return f"sink {self.subscriber}.{self.sink.name}"

    def option(self, name: str, default: Any) -> Any:
        """An option of the same type as its default. Raises Misconfigured for another."""
        value = self.sink.options.get(name, default)
        if isinstance(default, float) and isinstance(value, int):
            value = float(value)
        if not isinstance(value, type(default)) or isinstance(value, bool) != isinstance(default, bool):
            expected = type(default).__name__
            raise Misconfigured(f"{self.label}, {name}", "has the wrong type", fix=f"give a value of type {expected}")
        return value

    def check_options(self, known: Sequence[str]) -> None:
        """Refuse options that this kind does not have: a misspelt one would silently do nothing."""
        unknown = sorted(set(self.sink.options) - set(known))
        if unknown:
            raise Misconfigured(
                f"{self.label}, {', '.join(unknown)}", "unknown option", fix=f"use one of: {', '.join(sorted(known))}"
            )

    def address(self, option: str, default: str) -> str:
        """The secret that the option names."""
        return self.address_of(self.subscriber, self.option(option, default))

    def name_of(self, topic: str) -> str:
        """The feed, and the purpose if it is a second grant, that an `out` topic delivers: what rows are called here."""
        return topic.removeprefix(f"out.{self.subscriber}.")


SinkBuilder = Callable[[SinkSetup], Sink]
PaceOf = Callable[[SinkSetup], Pace]


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkKind:
    """One entry of the table of sinks: how to build it, how its lane gathers, and whether it looks at headers."""

    build: SinkBuilder
    pace: PaceOf = lambda _setup: Pace()
    reads_headers: bool = True
