"""Sink: the port through which a lane hands changes to one subscriber, and what a sink is built from."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeVar, runtime_checkable

from schemas.agreement.subscriber import SinkConfig
from schemas.change import Batch, Partition, Record
from schemas.errors import ContractBroken, Fenced, MeshError, Misconfigured, Rejected, Transient
from schemas.feed import first_edition
from schemas.form import Written, read
from schemas.guard.guard import Guard
from schemas.log.kafka import Kafka
from schemas.wire.schema import SchemaOf
from sinks.network import Network

_Options = TypeVar("_Options")


BEGINNING = -2
"""Where a partition is of which a target has nothing: Kafka's own number for its beginning."""

AddressOf = Callable[[str, str], str]
"""Gives the secret `connections/sink/<owner>.<name>`: a database address, a signing key. Raises Misconfigured without one."""


def _secret_name(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", value) or ".." in value:
        raise ValueError
    return value


SecretName = Annotated[
    str, Written(_secret_name, "the name of a secret (letters, digits, '.', '_', '-'), not the secret itself")
]
"""An option that names a secret. A path would lead to what is somebody else's."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTerms:
    """How a receiver is called: requests at a time, changes in each, and the waits between the tries of a change."""

    concurrency: int
    batch_max: int
    schedule_seconds: Sequence[float]


@runtime_checkable
class AnsweringSink(Protocol):
    """A sink whose receiver answers for each change by itself, perhaps slowly: a webhook. See lane/dispatch/.

    The same change may be sent again: after a crash, or when an answer was lost. Its id is then the same.
    """

    @property
    def terms(self) -> CallTerms:
        """How its receiver is called."""
        ...

    def message(self, topic: str, record: Record) -> Any:
        """What is sent for a change; None for nothing. Raises Rejected. Called from the lane's thread only."""
        ...

    def send(self, messages: Sequence[Any]) -> MeshError | None:
        """Send the messages in one request and wait for the answer; None says that all are durable. Called from many threads.

        Rejected is for these changes, everything else may be for all: Busy, Gone, or another.
        """
        ...

    def close(self) -> None:
        """Break off what is under way and let go of connections."""
        ...


@runtime_checkable
class OfferingSink(AnsweringSink, Protocol):
    """One whose receiver comes for its changes when it likes: what is sent lies ready until then, and no thread waits for it.

    Its terms say one change in each request, and how many may lie ready. `send` stays for what stands on no topic: it gives
    Transient until that was taken.
    """

    def offer(self, place: Partition, offset: int, message: Any) -> Future[MeshError | None]:
        """Lay a message out; the answer is what `send` would give. Cancelled once it may not go out any more."""
        ...


class Busy(Transient):
    """The receiver asks for no requests at all until `retry_after_seconds` have passed."""


class Gone(ContractBroken):
    """The receiver asks never to be called again: only a person resumes this sink."""


class NotYet(Rejected):
    """A change that may be taken once others are: its parent is in another topic, or a row of its partition is in the way.

    It waits with the later changes of its key while all else flows, and is a dead letter after `within_seconds`.
    """

    def __init__(self, topic: str, reason: str, message: str, *, within_seconds: float = 60.0, fix: str = "") -> None:
        super().__init__(reason, message, fix=fix)
        self.topic = topic
        self.within_seconds = within_seconds


class TopicTrouble(MeshError):
    """What is delivered of one topic cannot go on, for this cause; other topics can (invariant 8)."""

    def __init__(self, topic: str, cause: MeshError) -> None:
        super().__init__(cause.problem, fix=cause.fix)
        self.topic = topic
        self.is_passing = isinstance(cause, NotYet)


@runtime_checkable
class LowWatermarkKeeper(Protocol):
    """A keeper of offsets that can keep one back while a change waits: later ones are written, and come again after a restart."""

    def set_low_watermark(self, topic: str, partition: int, offset: int | None) -> None:
        """Keep the partition's stored offset at or below this one, the first that still waits; None when nothing does."""
        ...


class Moved(Fenced):
    """The target is not where it was left, or a part of it has to be filled anew: begin again where it says it is."""

    def __init__(self, topic: str, problem: str) -> None:
        super().__init__(problem)
        self.topic = topic


@runtime_checkable
class CheckableTarget(Protocol):
    """A sink that can see whether its target is still as it was left. `reasons` say why topics are delivered anew."""

    reasons: dict[str, str]

    def check(self) -> None:
        """Check now. Raises Moved when the target went back or lost something, Fenced when another process took it over."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchingPolicy:
    """How much a lane reads before it writes, and for how long after the first record; at once by default."""

    records_max: int = 10_000
    bytes_max: int = 8_000_000
    linger_seconds: float = 0.0


PresentSchema = Callable[[str], int | None]
"""The value schema that a topic's grant names at this moment, asked of the broker; None without one. Raises Transient."""


def no_present_schema(_topic: str) -> int | None:
    """For a sink that runs by itself, without grants."""
    return None


def no_schema(schema_id: int) -> Mapping[str, Any]:
    """For who asks a sink where it would deliver, and reads no record."""
    raise LookupError(f"schema {schema_id} is not asked for here")


Granted = Callable[[], Mapping[str, str]]
"""The topics that a sink's lane delivers at this moment, with the ids of their grants."""


def nothing_granted() -> Mapping[str, str]:
    """For a sink that runs by itself, without grants."""
    return {}


Refused = Callable[[str, str, str], None]
"""Told of an attempt that was refused: of which sink, why, and from which address. Called from a server's loop; never blocks."""


def tell_nobody(_sink: str, _reason: str, _address: str) -> None:
    """For a sink that runs by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkSetup:
    """What a sink is built from. `networks`: what webhooks may call beside public addresses, as the operator says.

    `guard` knows who comes with one of the mesh's own tokens.
    `kafka` and `granted` are for a sink whose subscriber reads on from a place of its own; None where nothing is delivered.
    """

    subscriber: str
    sink: SinkConfig
    address_of: AddressOf
    schema_of: SchemaOf = no_schema
    networks: Sequence[Network] = ()
    present_schema: PresentSchema = no_present_schema
    kafka: Kafka | None = None
    granted: Granted = nothing_granted
    refused: Refused = tell_nobody
    guard: Guard | None = None

    @property
    def label(self) -> str:
        """The name in logs and errors."""
        return f"sink {self.subscriber}.{self.sink.name}"

    def options(self, form: type[_Options]) -> _Options:
        """The options of the sink, by its kind's form. Raises Misconfigured, as `mesh check` would have said."""
        return read(form, self.sink.options, self.label)

    def secret(self, name: str, default: str) -> str:
        """The secret of this name, which an option may give."""
        return self.address_of(self.subscriber, name or default)

    def secrets_in_use(self, option: str, name: str, previous: str) -> Sequence[tuple[str, str]]:
        """A secret of the sink's own, which an option may give, and while it is being replaced the one before; by their names."""
        given = [(name, self.secret(option, f"{self.sink.name}.{name}"))]
        with suppress(Misconfigured):  # where it is not being replaced
            given.append((previous, self.secret("", f"{self.sink.name}.{previous}")))
        return given

    def name_of(self, topic: str) -> str:
        """The feed, and the purpose if it is a second grant, that an `out` topic delivers: what rows are called here."""
        return first_edition(topic).removeprefix(f"out.{self.subscriber}.")
