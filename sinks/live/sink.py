"""Live sink: what a lane hands to a live feed. A change is durable at the subscriber when that acknowledges it (invariant 1)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial

from schemas.change import Partition, Record
from schemas.errors import MeshError, Misconfigured, Transient
from schemas.log.kafka import Kafka
from schemas.log.offsets import extents
from sinks.document import Documents
from sinks.live.access import LiveAccess, tls_of, tokens_of
from sinks.live.options import LiveOptions
from sinks.live.position import FeedPosition
from sinks.live.server import LiveServer
from sinks.live.shelf import LiveMessage, Shelf
from sinks.live.source import LiveSource
from sinks.live.stream import FeedStream
from sinks.sink import CallTerms, SinkSetup


class LiveSink:
    """Lays changes out, and tells the server of them."""

    def __init__(self, *, documents: Documents, shelf: Shelf, server: LiveServer, leases_max: int) -> None:
        # What is not acknowledged lies there again by itself: no try of a change fails.
        self.terms = CallTerms(concurrency=leases_max, batch_max=1, schedule_seconds=(1.0,))
        self._documents = documents
        self._shelf = shelf
        self._server = server

    def message(self, topic: str, record: Record) -> LiveMessage | None:
        """The change as JSON; None for a tombstone. Raises Rejected when it cannot be read."""
        document = self._documents.document(topic, record)
        if document is None:
            return None
        return LiveMessage(topic=topic, feed=document.change.feed, body=document.body())

    def offer(self, place: Partition, offset: int, message: LiveMessage) -> Future[MeshError | None]:
        """See OfferingSink."""
        answer = self._shelf.lay(place, offset, message)
        self._server.tell()
        return answer

    def send(self, messages: Sequence[LiveMessage]) -> MeshError | None:
        """Lay out the end of a grant; Transient until that was acknowledged."""
        are_taken = [self._shelf.lay_ending(message) for message in messages]
        self._server.tell()
        return None if all(are_taken) else Transient("its subscriber has not acknowledged it")

    def close(self) -> None:
        """Listen no more."""
        self._server.close()


def try_live(setup: SinkSetup) -> None:
    """What onboarding tries: the token, and the certificate with its key. Whether the address is free, delivery sees."""
    options = setup.options(LiveOptions)
    tokens_of(setup, options)
    tls_of(setup, options)


def build_live(setup: SinkSetup) -> LiveSink:
    """The sink of kind `live`; it listens. Raises Misconfigured."""
    options = setup.options(LiveOptions)
    if setup.kafka is None:
        raise Misconfigured(setup.label, "is served by delivery alone", fix="`mesh run delivery`")
    shelf = Shelf(
        visibility_seconds=options.visibility_seconds,
        leases_max=options.leases_max,
        deliveries_max=options.deliveries_max,
    )
    source = LiveSource(
        label=setup.label,
        prefix=f"out.{setup.subscriber}.",
        shelf=shelf,
        granted=setup.granted,
        open_stream=partial(_open_stream, setup, setup.kafka, options),
        is_there=partial(_is_there, setup, setup.kafka),
        refused=partial(setup.refused, f"{setup.subscriber}.{setup.sink.name}"),
    )
    tokens = LiveAccess(tokens=tokens_of(setup, options), guard=setup.guard, subscriber=setup.subscriber)
    server = LiveServer(source=source, options=options, access=tokens, tls=tls_of(setup, options))
    server.start()
    documents = Documents(setup.schema_of, setup.subscriber)
    return LiveSink(documents=documents, shelf=shelf, server=server, leases_max=options.leases_max)


def _open_stream(setup: SinkSetup, kafka: Kafka, options: LiveOptions, position: FeedPosition) -> FeedStream:
    return FeedStream(
        kafka=kafka,
        schema_of=setup.schema_of,
        subscriber=setup.subscriber,
        topics=setup.granted(),
        position=position,
        now=time.time(),
        keep_seconds=options.keep_seconds,
    )


def _is_there(setup: SinkSetup, kafka: Kafka, position: FeedPosition) -> bool:
    granted = setup.granted()
    return not position.of(granted).is_beyond(extents(kafka, granted, datetime.now(UTC)))
